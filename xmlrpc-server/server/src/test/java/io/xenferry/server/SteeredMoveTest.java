package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.Verdict;
import io.xenferry.model.Value;
import io.xenferry.xe.client.Xe;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Moves that an operator carries on otherwise while they run, by REST and by xe. */
class SteeredMoveTest extends BetweenHosts {
  private static String id(Traveller t) {
    return hosts.movesOf(t).getFirst().migration().toString();
  }

  private static JsonNode status(Traveller t) throws Exception {
    return Rest.get(hosts.here, "/v1/migrations/" + id(t));
  }

  private static Rest.Answer patch(Traveller t, String body) throws Exception {
    return Rest.patch(hosts.here, "/v1/migrations/" + id(t), body);
  }

  /** What a command prints that must not fail, without the line's end. */
  private static String xe(String... words) throws Exception {
    List<String> args = new ArrayList<>(List.of(words));
    args.addAll(List.of("-s", hosts.here.address, "--nossl", "-p", "" + hosts.here.httpPort()));
    args.addAll(List.of("-u", "root", "-pw", hosts.here.password));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int status = new Xe(Map.of(), InputStream.nullInputStream(), out, err).run(args);
    assertThat(err.toString(StandardCharsets.UTF_8)).as(String.join(" ", words)).isEmpty();
    assertThat(status).as(String.join(" ", words)).isZero();
    return out.toString(StandardCharsets.UTF_8).strip();
  }

  private static void assertMoved(Traveller t, String task) throws Exception {
    hosts.awaitSuccess(task);
    String moved = destination.text("VM.get_by_uuid", t.uuid());
    Verdict verdict = t.endThere(moved);
    assertThat(verdict.handovers()).isEqualTo(1);
  }

  /** At 64 KiB a second its disk would take two minutes, and its memory four. */
  @Test
  void aLimitIsLiftedWhileItHolds() throws Exception {
    Traveller t = hosts.traveller("lifted", 1);
    t.start();
    String task = hosts.begin(t, 64 << 10);
    assertThat(status(t).path("bandwidth").asLong()).isEqualTo(64 << 10);
    assertThat(status(t).path("cutover").asText()).isEqualTo("auto");
    Rest.Answer answer = patch(t, "{\"bandwidth\": 0, \"max-downtime\": 500}");
    assertThat(answer.status()).isEqualTo(200);
    assertThat(answer.json().path("bandwidth").asLong(-1)).isZero();
    assertThat(answer.json().path("max-downtime").asLong()).isEqualTo(500);
    assertMoved(t, task);
    assertThat(status(t).has("bandwidth")).as("of what is past").isFalse();
    assertThat(patch(t, "{\"bandwidth\": 1}").status()).isEqualTo(409);
    assertReported(t, task);
  }

  /** Each by itself: together they may have twice of it. */
  @Test
  void theLimitOfEachDiskHoldsAndIsLifted() throws Exception {
    Traveller t = hosts.traveller("each", 2);
    t.start();
    String task = t.moveAsync("disk-bandwidth", Integer.toString(64 << 10));
    hosts.awaitPhase(t, "copying the disks");
    assertThat(status(t).path("disk-bandwidth").asLong()).isEqualTo(64 << 10);
    assertThat(status(t).has("bandwidth")).isFalse();
    assertThat(xe("migration-list", "params=disk-bandwidth", "--minimal")).contains("65536");
    assertThat(patch(t, "{\"disk-bandwidth\": 0}").status()).isEqualTo(200);
    assertMoved(t, task);
  }

  private static void assertReported(Traveller t, String task) throws Exception {
    JsonNode report = status(t).path("report");
    long sent = report.path("sent").asLong();
    assertThat(report.path("logical").asLong()).isEqualTo(TwoHosts.SIZE);
    assertThat(report.path("allocated").asLong()).isBetween(1L, TwoHosts.SIZE);
    assertThat(sent).isPositive();
    assertThat(report.path("saved").asLong()).isEqualTo(Math.max(0, TwoHosts.SIZE - sent));
    assertThat(report.path("memory-sent").asLong()).isPositive();
    assertThat(report.path("downtime-ms").asDouble()).isPositive();
    // Which of them depends on what else this machine does.
    String bottleneck = report.path("bottleneck").asText();
    assertThat(bottleneck)
        .isIn(
            "source_read",
            "destination_write",
            "network",
            "encryption",
            "cpu",
            "rate_limit",
            "buffers");
    assertThat(report.path("waits").path("source_read").asDouble()).isPositive();
    JsonNode phases = report.path("phases");
    assertThat(phases.properties().stream().map(Map.Entry::getKey))
        .contains("opening at the destination", "copying the disks", "sending the memory")
        .doesNotContain("ended");
    double all = phases.properties().stream().mapToDouble(e -> e.getValue().asDouble()).sum();
    assertThat(report.path("seconds").asDouble()).isCloseTo(all, within(0.001));
    assertThat(status(t).path("report")).as("of what has ended").isEqualTo(report);
    Map<String, Value> told = ((Value.Struct) source.call("task.get_other_config", task)).members();
    assertThat(told)
        .containsEntry("xenferry:migration", Value.of(id(t)))
        .containsEntry("xenferry:sent", Value.of(Long.toString(sent)))
        .containsEntry("xenferry:bottleneck", Value.of(bottleneck));
    assertThat(xe("migration-report", "uuid=" + id(t)))
        .contains("sent: " + sent, "bottleneck: " + bottleneck, "copying the disks");
  }

  @Test
  void aPausedMoveSendsNothingWhileItsGuestRunsOn() throws Exception {
    Traveller t = hosts.traveller("paused", 1);
    t.start();
    String task = hosts.begin(t, 256 << 10);
    xe("migration-pause", "uuid=" + id(t));
    hosts.awaitPhase(t, "paused");
    assertThat(xe("migration-list", "uuid=" + id(t), "params=paused", "--minimal"))
        .isEqualTo("true");
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> status(t).path("disks").path(0).path("phase").asText().equals("paused"));
    long sent = status(t).path("disks").path(0).path("sent").asLong();
    t.awaitWrites();
    long left = status(t).path("disks").path(0).path("sent").asLong();
    // What was in flight may have arrived meanwhile: one request of a disk so slow.
    assertThat(left - sent).isBetween(0L, 512L << 10);
    assertThat(status(t).path("paused").asBoolean()).isTrue();
    xe("migration-param-set", "uuid=" + id(t), "bandwidth=0");
    t.awaitWrites();
    assertThat(status(t).path("state").asText()).isEqualTo("SENDING");
    xe("migration-resume", "uuid=" + id(t));
    assertMoved(t, task);
  }

  @Test
  void aHeldMoveFollowsItsGuestUntilItIsToldToCutOver() throws Exception {
    Traveller t = hosts.traveller("held", 2);
    t.start();
    String task = t.moveAsync("cutover", "hold");
    hosts.awaitPhase(t, "following the guest's writes");
    int pass = status(t).path("disks").path(0).path("pass").asInt();
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> status(t).path("disks").path(0).path("pass").asInt() > pass + 2);
    assertThat(status(t).path("memory-sent").asLong()).isZero();
    assertForeseen(t, task);
    assertThat(patch(t, "{\"cutover\": \"2999-01-01T00:00:00Z\"}").status()).isEqualTo(200);
    hosts.awaitPhase(t, "following the guest's writes until 2999-01-01T00:00:00Z");
    xe("migration-cut-over", "uuid=" + id(t));
    assertMoved(t, task);
  }

  /** A guest that writes slowly enough: to REST, xe, and whoever looks at the task. */
  private static void assertForeseen(Traveller t, String task) throws Exception {
    await().atMost(TwoHosts.LONG).until(() -> status(t).path("converges").asBoolean());
    await().atMost(TwoHosts.LONG).until(() -> status(t).has("predicted-remaining-ms"));
    JsonNode now = status(t);
    assertThat(now.path("predicted-downtime-ms").asDouble(-1)).isBetween(0.0, 60_000.0);
    assertThat(now.path("predicted-remaining-ms").asDouble(-1)).isNotNegative();
    for (String column : List.of("predicted-downtime", "time-left")) {
      assertThat(xe("migration-list", "uuid=" + id(t), "params=" + column, "--minimal"))
          .as(column)
          .matches("\\d+\\.\\d{3} s");
    }
    // Every five seconds.
    await()
        .atMost(TwoHosts.LONG)
        .untilAsserted(() -> {
          Map<String, Value> told =
              ((Value.Struct) source.call("task.get_other_config", task)).members();
          assertThat(told).containsEntry("xenferry:converges", Value.of("true"));
          for (String key : List.of("predicted-downtime-ms", "predicted-remaining-ms")) {
            assertThat(((Value.Text) told.get("xenferry:" + key)).text()).as(key).matches("\\d+");
          }
        });
  }

  @Test
  void xeCancelsAMove() throws Exception {
    Traveller t = hosts.traveller("given-up", 1);
    t.start();
    String task = hosts.begin(t, 64 << 10);
    xe("migration-cancel", "uuid=" + id(t));
    hosts.awaitEnd(task);
    assertThat(t.powerState()).isEqualTo("Running");
    t.end();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"bandwidth\": -1}       | 400 | INVALID_VALUE",
        "{\"bandwidth\": 1.5}      | 400 | INVALID_VALUE",
        "{\"bandwidth\": null}     | 400 | INVALID_VALUE",
        "{\"max-downtime\": 0}     | 400 | INVALID_VALUE",
        "{\"cutover\": \"soon\"}   | 400 | INVALID_VALUE",
        "{\"paused\": \"maybe\"}   | 400 | INVALID_VALUE",
        "{\"colour\": \"red\"}     | 400 | INVALID_VALUE",
        "{\"cutover\": [\"now\"]}  | 400 | INVALID_VALUE",
        "[]                        | 400 | INVALID_VALUE",
        "nonsense                  | 400 | INVALID_VALUE",
        "{\"paused\": false}       | 409 | OPERATION_NOT_ALLOWED",
        "{}                        | 409 | OPERATION_NOT_ALLOWED"
      })
  void whatMakesNoSenseOrComesTooLateIsRefused(String body, int status, String code)
      throws Exception {
    if (ended == null) {
      ended = hosts.traveller("ended", 1);
      ended.move();
    }
    Rest.Answer answer = patch(ended, body);
    assertThat(answer.status()).isEqualTo(status);
    assertThat(answer.json().path("code").asText()).isEqualTo(code);
  }

  private static Traveller ended;

  @Test
  void whoMayNotDecideIsRefused() throws Exception {
    String any = "/v1/migrations/00000000-0000-4000-8000-000000000000";
    assertThat(Rest.patch(hosts.here, any, "{}").status()).isEqualTo(404);
    assertThat(Rest.patch(hosts.here, any, "{}", "root:wrong").status()).isEqualTo(401);
  }
}
