package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.model.Value;
import io.xenferry.server.TwoHosts.Traveller;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Moves whose disks travel over NBD with TLS. */
class NbdsMoveTest {
  private static TwoHosts hosts;
  private static TestServer.Calls source;
  private static TestServer.Calls destination;

  @BeforeAll
  static void start() throws Exception {
    hosts = TwoHosts.start();
    source = hosts.source;
    destination = hosts.destination;
  }

  @AfterAll
  static void stop() throws Exception {
    hosts.close();
  }

  private static void assertTransport(TestServer server) throws Exception {
    assertThat(Rest.get(server, "/v1/migrations").toString()).contains("\"transport\":\"nbds\"");
  }

  /** Chosen by the client and, on the way back, by the pool. */
  @Test
  void aRunningVmMovesThereAndBack() throws Exception {
    Traveller t = hosts.traveller("enciphered", 2);
    source.call("VM.start", t.vm(), false, false);
    await().atMost(TwoHosts.LONG).until(() -> Files.size(t.ledger()) > 64 * 50);
    String moved =
        source.text(
            "VM.migrate_send", t.arguments(hosts.token(), hosts.to, Map.of("transport", "nbds")));
    assertTransport(hosts.here);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    assertThat(hosts.there.directory.resolve("nbds")).isEmptyDirectory();
    long written = Files.size(t.ledger());
    await().atMost(TwoHosts.LONG).until(() -> Files.size(t.ledger()) > written + 64 * 50);

    Map<String, String> disks = new LinkedHashMap<>();
    for (String vbd : TestServer.texts(destination.call("VM.get_VBDs", moved))) {
      disks.put(destination.text("VBD.get_VDI", vbd), hosts.from);
    }
    String vif = TestServer.texts(destination.call("VM.get_VIFs", moved)).getFirst();
    Map<String, String> networks = Map.of(vif, source.only("network"));
    Value home =
        source.call("host.migrate_receive", source.only("host"), source.only("network"), Map.of());
    Object[] back = {moved, home, true, disks, networks, Map.of()};
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

    Map<String, Path> images = new TreeMap<>();
    for (String vbd : TestServer.texts(source.call("VM.get_VBDs", returned))) {
      String vdi = source.text("VDI.get_uuid", source.text("VBD.get_VDI", vbd));
      images.put(source.text("VBD.get_userdevice", vbd), hosts.image(vdi));
    }
    source.call("VM.hard_shutdown", returned);
    Verdict verdict = Verifier.verify(t.ledger(), List.copyOf(images.values()));
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
    assertThat(verdict.handovers()).isEqualTo(2);
  }

  @Test
  void aTransportThatNobodyKnowsIsRefused() throws Exception {
    Traveller t = hosts.traveller("nowhere", 1);
    for (String message : List.of("VM.assert_can_migrate", "VM.migrate_send")) {
      assertThat(
              assertCode(
                      "INVALID_VALUE",
                      () ->
                          source.call(
                              message,
                              t.arguments(hosts.token(), hosts.to, Map.of("transport", "pigeons"))))
                  .params())
          .containsExactly("transport", "pigeons (allowed: iscsi, nbds)");
    }
    assertThat(hosts.movesOf(t)).isEmpty();
  }
}
