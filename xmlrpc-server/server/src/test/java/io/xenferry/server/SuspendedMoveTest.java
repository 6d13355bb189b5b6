package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.TwoHosts.Traveller;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Suspended VMs go with their memory, and go on where they arrive. */
class SuspendedMoveTest {
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

  /** A VM that has written something and is suspended. */
  private static Traveller sleeper(String name) throws Exception {
    Traveller t = hosts.traveller(name, 1);
    source.call("VM.set_suspend_SR", t.vm(), hosts.from);
    source.call("VM.start", t.vm(), false, false);
    awaitWrites(t);
    source.call("VM.suspend", t.vm());
    assertThat(source.text("VM.get_power_state", t.vm())).isEqualTo("Suspended");
    return t;
  }

  private static void awaitWrites(Traveller t) throws Exception {
    long written = Files.exists(t.ledger()) ? Files.size(t.ledger()) : 0;
    await().atMost(TwoHosts.LONG).until(() -> Files.size(t.ledger()) > written + 64 * 50);
  }

  private static List<String> disks(TestServer.Calls server, String sr) throws XenApiException {
    return TestServer.texts(server.call("SR.get_VDIs", sr));
  }

  @Test
  void itGoesOnAtTheDestinationAndNothingStays() throws Exception {
    Traveller t = sleeper("sleeper");
    String image = source.text("VM.get_suspend_VDI", t.vm());
    String imageUuid = source.text("VDI.get_uuid", image);
    source.call("VM.assert_can_migrate", t.arguments(hosts.token(), to, Map.of()));

    String moved = source.text("VM.migrate_send", t.arguments(hosts.token(), to, Map.of()));

    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid());
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Suspended");
    String arrived = destination.text("VM.get_suspend_VDI", moved);
    Map<String, Value> record = destination.record("VDI", arrived);
    assertThat(record.get("SR")).isEqualTo(Value.of(to));
    assertThat(record.get("type")).isEqualTo(Value.of("suspend"));
    assertThat(record.get("name_label")).isEqualTo(Value.of("Suspend image"));
    assertThat(((Value.Struct) record.get("sm_config")).members())
        .doesNotContainKey("xenferry:migration");
    assertCode("UUID_INVALID", () -> source.text("VM.get_by_uuid", t.uuid()));
    assertCode("UUID_INVALID", () -> source.text("VDI.get_by_uuid", imageUuid));
    assertThat(disks(source, hosts.from)).doesNotContain(image);
    assertThat(TestServer.texts(destination.call("VM.get_allowed_operations", moved)))
        .contains("resume", "migrate_send");

    destination.call("VM.resume", moved, false, false);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    awaitWrites(t);
    destination.call("VM.hard_shutdown", moved);
    assertThat(disks(destination, to)).doesNotContain(arrived);
    Verdict verdict = Verifier.verify(t.ledger(), t.arrived());
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
  }

  @Test
  @Tag("slow")
  void aCopyIsMadeByForceOnlyAndTheOriginalGoesOn() throws Exception {
    Traveller t = sleeper("original");
    assertCode(
        "VM_BAD_POWER_STATE",
        () ->
            source.call("VM.migrate_send", t.arguments(hosts.token(), to, Map.of("copy", "true"))));
    String image = source.text("VM.get_suspend_VDI", t.vm());

    String copy =
        source.text(
            "VM.migrate_send",
            t.arguments(hosts.token(), to, Map.of("copy", "true", "force", "true")));

    assertThat(destination.text("VM.get_uuid", copy)).isNotEqualTo(t.uuid());
    assertThat(destination.text("VM.get_power_state", copy)).isEqualTo("Suspended");
    assertThat(source.text("VM.get_power_state", t.vm())).isEqualTo("Suspended");
    assertThat(source.text("VM.get_suspend_VDI", t.vm())).isEqualTo(image);
    destination.call("VM.resume", copy, true, false);
    assertThat(destination.text("VM.get_power_state", copy)).isEqualTo("Paused");
    destination.call("VM.hard_shutdown", copy);
    source.call("VM.resume", t.vm(), false, false);
    awaitWrites(t);
    source.call("VM.hard_shutdown", t.vm());
    assertThat(Verifier.verify(t.ledger(), List.of(hosts.image(t.uuids().getFirst()))).good())
        .isTrue();
  }

  @Test
  void oneThatIsCancelledIsWhereItWas() throws Exception {
    Traveller t = sleeper("cancelled");
    int there = disks(destination, to).size();
    String task = hosts.begin(t, 256 << 10);
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> source.call("VM.resume", t.vm(), false, false));
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> source.call("VM.hard_shutdown", t.vm()));
    source.call("task.cancel", task);
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> source.text("task.get_status", task), "cancelled"::equals);
    assertThat(source.text("VM.get_power_state", t.vm())).isEqualTo("Suspended");
    await().atMost(TwoHosts.LONG).until(() -> disks(destination, to).size() == there);
    source.call("VM.resume", t.vm(), false, false);
    awaitWrites(t);
    source.call("VM.hard_shutdown", t.vm());
    assertThat(Verifier.verify(t.ledger(), List.of(hosts.image(t.uuids().getFirst()))).good())
        .isTrue();
  }

  @Test
  void oneWithoutItsMemoryStays() throws Exception {
    Traveller t = sleeper("forgetful");
    String image = source.text("VM.get_suspend_VDI", t.vm());
    source.call("VDI.destroy", image);
    assertCode(
        "VM_HAS_NO_SUSPEND_VDI",
        () -> source.call("VM.migrate_send", t.arguments(hosts.token(), to, Map.of())));
    source.call("VM.hard_shutdown", t.vm());
  }

  @Test
  @Tag("slow")
  void theKeptOneIsLocked() throws Exception {
    Traveller t = sleeper("kept");
    source.text("VM.migrate_send", t.arguments(hosts.token(), to, Map.of("keep-source", "true")));
    await().until(() -> !source.text("VM.get_uuid", t.vm()).equals(t.uuid()));
    assertCode("VM_BAD_POWER_STATE", () -> source.call("VM.resume", t.vm(), false, false));
    assertCode("OPERATION_BLOCKED", () -> source.call("VM.start", t.vm(), false, false));
  }
}
