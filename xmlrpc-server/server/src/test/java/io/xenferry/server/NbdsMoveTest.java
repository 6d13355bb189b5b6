package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.guest.Verdict;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Moves whose disks travel over NBD with TLS. */
class NbdsMoveTest extends BetweenHosts {
  private static void assertTransport(TestServer server) throws Exception {
    assertThat(Rest.get(server, "/v1/migrations").toString()).contains("\"transport\":\"nbds\"");
  }

  /** Chosen by the client and, on the way back, by the pool. */
  @Test
  void aRunningVmMovesThereAndBack() throws Exception {
    Traveller t = hosts.traveller("enciphered", 2);
    t.start();
    t.awaitWrites();
    String moved = t.move("transport", "nbds");
    assertTransport(hosts.here);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    assertThat(hosts.there.directory.resolve("nbds")).isEmptyDirectory();
    t.awaitWrites();

    Object[] back = hosts.argumentsBack(moved);
    String pool = destination.only("pool");
    destination.call("pool.add_to_other_config", pool, "xenferry:transport", "pigeons");
    assertThat(
            assertCode("INVALID_VALUE", () -> destination.call("VM.migrate_send", back)).params())
        .containsExactly("xenferry:transport", "pigeons (allowed: iscsi, nbds)");
    destination.call("pool.remove_from_other_config", pool, "xenferry:transport");
    destination.call("pool.add_to_other_config", pool, "xenferry:transport", "nbds");
    String returned = destination.text("VM.migrate_send", back);
    assertTransport(hosts.there);
    assertThat(source.text("VM.get_uuid", returned)).isEqualTo(t.uuid());

    List<Path> images = t.returned();
    source.call("VM.hard_shutdown", returned);
    Verdict verdict = t.assertNothingLost(images);
    assertThat(verdict.handovers()).isEqualTo(2);
  }

  @Test
  void aTransportThatNobodyKnowsIsRefused() throws Exception {
    Traveller t = hosts.traveller("nowhere", 1);
    for (String message : List.of("VM.assert_can_migrate", "VM.migrate_send")) {
      assertThat(
              assertCode(
                      "INVALID_VALUE",
                      () -> source.call(message, t.arguments("transport", "pigeons")))
                  .params())
          .containsExactly("transport", "pigeons (allowed: iscsi, nbds)");
    }
    assertThat(hosts.movesOf(t)).isEmpty();
  }
}
