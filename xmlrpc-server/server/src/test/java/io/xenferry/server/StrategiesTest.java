package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.Verdict;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Moves by each strategy, and where it is chosen. */
class StrategiesTest extends BetweenHosts {
  @ParameterizedTest
  @ValueSource(strings = {"log-dirty", "mirror", "auto"})
  void losesNoWrite(String strategy) throws Exception {
    Traveller t = hosts.traveller(strategy, 2);
    t.start();
    t.awaitWrites();
    String moved = t.move("strategy", strategy);
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
    t.awaitWrites();
    Verdict verdict = t.endThere(moved);
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
    t.start();
    try {
      assertThat(assertCode("INVALID_VALUE", t::check).params())
          .containsExactly(downtime, "short (allowed: a number of milliseconds, 1 to 86400000)");
      String moved = t.move("bandwidth", "0", "max-downtime", "500");
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
    assertThat(assertCode("INVALID_VALUE", t::check).params())
        .containsExactly(
            "xenferry:strategy", "sometimes (allowed: log-dirty, mirror, auto, snapshot)");
    source.text("pool.remove_from_other_config", pool, "xenferry:strategy");
    assertCode("INVALID_VALUE", () -> t.check("strategy", "sometimes"));

    source.text("pool.add_to_other_config", pool, "xenferry:strategy", "snapshot");
    t.start();
    try {
      assertThat(assertCode("OPERATION_NOT_ALLOWED", t::check).params())
          .containsExactly(
              "strategy=snapshot is not to be had for disk xvda (VDI "
                  + t.uuids().getFirst()
                  + "): its SR takes no snapshots of it while the VM writes it, as of a raw image or"
                  + " one that rests on very many others; auto, log-dirty and mirror copy it.");
      assertCode("OPERATION_NOT_ALLOWED", t::move);
      assertThat(hosts.movesOf(t)).as("nothing has begun").isEmpty();
      t.check("strategy", "mirror");
      source.text("VM.add_to_other_config", t.vm(), "xenferry:strategy", "mirror");
      t.move();
      assertThat(status(t).path("disks").path(0).path("strategy-asked").asText())
          .isEqualTo("mirror");
    } finally {
      source.text("pool.remove_from_other_config", pool, "xenferry:strategy");
    }
  }
}
