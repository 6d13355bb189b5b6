package io.xenferry.packaging;

import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.packaging.Death.Side;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.awaitility.core.ConditionTimeoutException;

/**
 * A move in which something goes wrong: where both sides are in that instant, by their ledgers'
 * stable storage, and what an operator sees until it is mended.
 */
final class Sighting {
  /** For a server to find out that its peer is gone, and say so. */
  private static final Duration A_WHILE = Duration.ofSeconds(3);

  private final String source;
  private final String destination;
  private final Crash crash;
  private final Set<Side> silent;
  private final List<String> seen = new ArrayList<>();

  private Sighting(String source, String destination, Crash crash, Set<Side> silent) {
    this.source = source;
    this.destination = destination;
    this.crash = crash;
    this.silent = silent;
  }

  /**
   * @param crash what goes wrong now
   * @param silent whose server answers nobody then
   */
  static Sighting of(Site from, Site to, Crash crash, Set<Side> silent) {
    return new Sighting(
        state(from, Side.SOURCE), state(to, Side.DESTINATION), crash, Set.copyOf(silent));
  }

  /** That of the unended row; a dash where there is none. */
  private static String state(Site site, Side side) {
    return await()
        .atMost(A_WHILE)
        // A server that is not held may write while its ledger is copied.
        .ignoreExceptions()
        .until(() -> read(site, side), state -> !state.isEmpty());
  }

  private static String read(Site site, Side side) throws IOException, SQLException {
    Path copy = Files.createTempDirectory("xf-ledger");
    try {
      for (String file : List.of("ledger.db", "ledger.db-wal")) {
        if (Files.exists(site.stateDirectory().resolve(file))) {
          Files.copy(site.stateDirectory().resolve(file), copy.resolve(file));
        }
      }
      try (Connection sql =
              DriverManager.getConnection("jdbc:sqlite:" + copy.resolve("ledger.db"));
          Statement s = sql.createStatement();
          ResultSet r =
              s.executeQuery(
                  "SELECT state FROM migration WHERE ended = 0 AND role = '" + side + "'")) {
        return r.next() ? r.getString(1) : "–";
      }
    } finally {
      try (Stream<Path> files = Files.list(copy)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(copy);
    }
  }

  /**
   * Looks at both sides through the REST interface, as {@code xe migration-list} does, when they
   * have had a while to find out that they wait for somebody.
   */
  void look(Site from, Site to) throws Exception {
    List<Side> telling = Stream.of(Side.values()).filter(side -> !silent.contains(side)).toList();
    for (Side side : telling) {
      Site site = side == Side.SOURCE ? from : to;
      try {
        await()
            .atMost(A_WHILE)
            .pollInterval(Duration.ofMillis(50))
            .ignoreExceptions()
            .until(() -> unended(site, side).map(m -> m.has("waiting")).orElse(true));
      } catch (ConditionTimeoutException e) {
        // It has nobody to wait for.
      }
    }
    for (Side side : telling) {
      unended(side == Side.SOURCE ? from : to, side)
          .ifPresent(move -> seen.add(word(side) + ": " + words(move)));
    }
  }

  private static String word(Side side) {
    return side.name().toLowerCase(Locale.ROOT);
  }

  private static String words(JsonNode move) {
    String waiting = move.path("waiting").path("what").asText();
    return move.path("state").asText() + (waiting.isEmpty() ? "" : ", asks for " + waiting);
  }

  private static Optional<JsonNode> unended(Site site, Side side) throws Exception {
    try (Rest rest = new Rest(site)) {
      for (JsonNode move : rest.get("/v1/migrations")) {
        if (move.path("role").asText().equals(word(side)) && !move.path("ended").asBoolean()) {
          return Optional.of(move);
        }
      }
      return Optional.empty();
    }
  }

  String source() {
    return source;
  }

  String destination() {
    return destination;
  }

  Crash crash() {
    return crash;
  }

  /** In words. */
  String seen() {
    if (silent.size() == Side.values().length) {
      return "no server answers";
    }
    return seen.isEmpty() ? "nothing is under way" : String.join("; ", new TreeSet<>(seen));
  }
}
