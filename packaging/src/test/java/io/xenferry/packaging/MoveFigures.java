package io.xenferry.packaging;

import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.StreamSupport;

/** What a site tells of the moves it takes part in, and waiting for it. */
final class MoveFigures {
  private MoveFigures() {}

  /** Waits until the move from the site is where its phase, or its state, is so called. */
  static void awaitPhase(Site from, String phase) {
    try (Rest rest = new Rest(from)) {
      await()
          .atMost(Moves.PATIENCE)
          .until(() -> {
            for (JsonNode status : rest.get("/v1/migrations")) {
              if (!status.path("ended").asBoolean()
                  && (status.path("phase").asText().contains(phase)
                      || status.path("state").asText().equals(phase))) {
                return true;
              }
            }
            return false;
          });
    }
  }

  /** Waits until every disk that the site sends is mirrored. */
  static void awaitMirrored(Site from) {
    try (Rest rest = new Rest(from)) {
      await()
          .atMost(Moves.PATIENCE)
          .pollInterval(Duration.ofMillis(20))
          .until(() -> {
            JsonNode disks = rest.get("/v1/migrations").path(0).path("disks");
            boolean all = !disks.isEmpty();
            for (JsonNode disk : disks) {
              all &= disk.path("strategy").asText().equals("mirror");
            }
            return all;
          });
    }
  }

  /** Waits until some of the disks has been sent, by the first move that the site makes. */
  static void awaitSent(Site from) {
    try (Rest rest = new Rest(from)) {
      await()
          .atMost(Moves.PATIENCE)
          .until(() -> {
            long sent = 0;
            for (JsonNode disk : rest.get("/v1/migrations").path(0).path("disks")) {
              sent += disk.path("sent").asLong();
            }
            return sent > 0;
          });
    }
  }

  /** The migrations of a site by their ids: role, state, and whether it has ended. */
  static Map<String, String> migrations(Site site) throws IOException, InterruptedException {
    Map<String, String> all = new TreeMap<>();
    try (Rest rest = new Rest(site)) {
      for (JsonNode status : rest.get("/v1/migrations")) {
        all.put(
            status.path("migration").asText(),
            status.path("role").asText()
                + " "
                + status.path("state").asText()
                + (status.path("ended").asBoolean() ? " ended" : ""));
      }
    }
    return all;
  }

  /** The last move that began at the site, as it shows it. */
  static JsonNode lastMove(Site from) throws IOException, InterruptedException {
    try (Rest rest = new Rest(from)) {
      return StreamSupport.stream(rest.get("/v1/migrations").spliterator(), false)
          .filter(move -> move.path("role").asText().equals("source"))
          .max(Comparator.comparing(move -> Instant.parse(move.path("started").asText())))
          .orElseThrow();
    }
  }
}
