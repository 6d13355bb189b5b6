package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.model.Value;
import io.xenferry.server.TwoHosts.Traveller;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Moves by each strategy, and where it is chosen. */
class StrategiesTest {
  private static TwoHosts hosts;
  private static TestServer.Calls source;
  private static TestServer.Calls destination;
  private static String to;

  @BeforeAll
  static void start() throws Exception {
    hosts = TwoHosts.start();
    source = hosts.source;
    destination = hosts.destination;
    to = hosts.to;
  }

  @AfterAll
  static void stop() throws Exception {
    hosts.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"log-dirty", "mirror", "auto"})
  void losesNoWrite(String strategy) throws Exception {
    Traveller t = hosts.traveller(strategy, 2);
    source.call("VM.start", t.vm(), false, false);
    await().atMost(TwoHosts.LONG).until(() -> Files.size(t.ledger()) > 64 * 50);
    String moved =
        source.text(
            "VM.migrate_send", t.arguments(hosts.token(), to, Map.of("strategy", strategy)));
    JsonNode status = status(t);
    assertThat(status.path("memory-sent").asLong()).isPositive();
    assertThat(status.path("memory-remaining").asLong(-1)).isZero();
    for (JsonNode disk : status.path("disks")) {
      assertThat(disk.path("strategy-asked").asText()).isEqualTo(strategy);
      if (strategy.equals("log-dirty")) {
        assertThat(disk.path("mirrored-seconds").asDouble()).isZero();
      } else {
        assertThat(disk.path("mirrored-seconds").asDouble()).as(disk.toString()).isPositive();
      }
    }
    long written = Files.size(t.ledger());
    await().atMost(TwoHosts.LONG).until(() -> Files.size(t.ledger()) > written + 64 * 50);
    List<Path> images = t.arrived();
    destination.call("VM.hard_shutdown", moved);
    Verdict verdict = Verifier.verify(t.ledger(), images);
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
    assertThat(verdict.handovers()).isEqualTo(1);
  }

  private static JsonNode status(Traveller t) throws Exception {
    return Rest.get(hosts.here, "/v1/migrations/" + hosts.movesOf(t).getFirst().migration());
  }

  /** The memory, 16 MiB, would take more than an hour by the pool's word. */
  @Test
  void aMoveLiftsThePoolsLimitAndIsNotConcernedWithWhatItDoesNotFollow() throws Exception {
    Traveller t = hosts.traveller("hurried", 1);
    String pool = source.only("pool");
    String downtime = "xenferry:max-downtime";
    String bandwidth = "xenferry:bandwidth";
    source.text("pool.add_to_other_config", pool, downtime, "short");
    source.text("pool.add_to_other_config", pool, bandwidth, "4096");
    source.call("VM.start", t.vm(), false, false);
    try {
      Value token = hosts.token();
      assertThat(
              assertCode(
                      "INVALID_VALUE",
                      () -> source.call("VM.assert_can_migrate", t.arguments(token, to, Map.of())))
                  .params())
          .containsExactly(downtime, "short (allowed: a number of milliseconds, 1 or more)");
      String moved =
          source.text(
              "VM.migrate_send",
              t.arguments(token, to, Map.of("bandwidth", "0", "max-downtime", "500")));
      assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
      destination.call("VM.hard_shutdown", moved);
    } finally {
      source.text("pool.remove_from_other_config", pool, downtime);
      source.text("pool.remove_from_other_config", pool, bandwidth);
    }
  }

  @Test
  void isChosenForTheMoveOrTheVmOrThePool() throws Exception {
    Traveller t = hosts.traveller("chosen", 1);
    String pool = source.only("pool");
    source.text("pool.add_to_other_config", pool, "xenferry:strategy", "sometimes");
    Value token = hosts.token();
    String assertion = "VM.assert_can_migrate";
    assertThat(
            assertCode(
                    "INVALID_VALUE", () -> source.call(assertion, t.arguments(token, to, Map.of())))
                .params())
        .containsExactly(
            "xenferry:strategy", "sometimes (allowed: log-dirty, mirror, auto, snapshot)");
    source.text("pool.remove_from_other_config", pool, "xenferry:strategy");
    assertCode(
        "INVALID_VALUE",
        () -> source.call(assertion, t.arguments(token, to, Map.of("strategy", "sometimes"))));

    source.text("pool.add_to_other_config", pool, "xenferry:strategy", "snapshot");
    source.call("VM.start", t.vm(), false, false);
    try {
      assertThat(
              assertCode(
                      "OPERATION_NOT_ALLOWED",
                      () -> source.call(assertion, t.arguments(token, to, Map.of())))
                  .params())
          .containsExactly(
              "strategy=snapshot is not to be had for disk xvda (VDI "
                  + t.uuids().getFirst()
                  + "): its SR takes no snapshots of it while the VM writes it, as of a raw image or"
                  + " one that rests on very many others; auto, log-dirty and mirror copy it.");
      assertCode(
          "OPERATION_NOT_ALLOWED",
          () -> source.text("VM.migrate_send", t.arguments(token, to, Map.of())));
      assertThat(hosts.movesOf(t)).as("nothing has begun").isEmpty();
      source.call(assertion, t.arguments(token, to, Map.of("strategy", "mirror")));
      source.text("VM.add_to_other_config", t.vm(), "xenferry:strategy", "mirror");
      source.text("VM.migrate_send", t.arguments(token, to, Map.of()));
      assertThat(status(t).path("disks").path(0).path("strategy-asked").asText())
          .isEqualTo("mirror");
    } finally {
      source.text("pool.remove_from_other_config", pool, "xenferry:strategy");
    }
  }
}
