package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Moves that are cancelled, or whose guest ends or is reset, in the middle. */
class InterruptedMoveTest extends BetweenHosts {
  @Test
  void aSecondMoveIsRefusedAndACancelledOneLeavesNothing() throws Exception {
    Traveller t = hosts.traveller("cancelled", 1);
    t.start();
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    String task = t.moveAsync("bandwidth", Integer.toString(256 << 10));
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> TwoHosts.objects(hosts.there).get("VM") > before.get("VM"));
    assertCode("OTHER_OPERATION_IN_PROGRESS", t::move);
    await()
        .atMost(TwoHosts.LONG)
        .until(() ->
            !source.call("task.get_allowed_operations", task).equals(TestServer.value(List.of())));
    source.call("task.cancel", task);
    assertThat(hosts.awaitEnd(task)).isEqualTo("cancelled");
    assertThat(t.powerState()).isEqualTo("Running");
    hosts.awaitNothingLeft(t, before);
    t.awaitWrites();
    t.end();
    t.assertNothingLostHere();
  }

  @Test
  void aMoveCancelledWhileItsDisksAreCopiedEndsAndMayBeTriedAgain() throws Exception {
    Traveller t = hosts.traveller("wavering", 1);
    t.start();
    hosts.cancel(hosts.begin(t, 64 << 10));
    assertThat(source.call("VM.get_current_operations", t.vm())).isEqualTo(Value.EMPTY_STRUCT);
    String moved = t.move();
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid());
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> destination.text("VM.get_power_state", moved).equals("Running"));
    destination.call("VM.hard_shutdown", moved);
  }

  /** How a guest may end that nobody asks the move about. */
  private enum End {
    HARD_SHUTDOWN("stopped while it was being moved") {
      @Override
      void of(Traveller t) throws Exception {
        t.end();
      }
    },
    CLEAN_SHUTDOWN("while it was being moved") {
      @Override
      void of(Traveller t) throws Exception {
        source.call("VM.clean_shutdown", t.vm());
      }
    },
    CRASH("stopped while it was being moved") {
      @Override
      void of(Traveller t) throws Exception {
        Path pid = hosts.here.directory.resolve("guests").resolve(t.uuid()).resolve("pid");
        ProcessHandle.of(Long.parseLong(Files.readString(pid).strip()))
            .orElseThrow()
            .destroyForcibly();
      }
    };

    private final String sentence;

    End(String sentence) {
      this.sentence = sentence;
    }

    abstract void of(Traveller t) throws Exception;
  }

  @ParameterizedTest
  @EnumSource(End.class)
  void aVmThatEndsWhileItMovesStaysHaltedAndTheMoveSaysSo(End end) throws Exception {
    Traveller t = hosts.traveller("quitter-" + end, 1);
    t.start();
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    String task = hosts.begin(t, 64 << 10);
    end.of(t);
    hosts.awaitStatus(task, "failure");
    List<String> error = TestServer.texts(source.call("task.get_error_info", task));
    assertThat(error)
        .startsWith(
            "VM_MIGRATE_FAILED",
            t.uuid(),
            source.text("host.get_uuid", source.only("host")),
            destination.text("host.get_uuid", destination.only("host")))
        .hasSize(5);
    assertThat(error).last().asString().contains(end.sentence);
    await()
        .atMost(TwoHosts.LONG)
        .untilAsserted(() -> assertThat(t.powerState()).isEqualTo("Halted"));
    hosts.awaitNothingLeft(t, before);
    t.assertNothingLostHere();
    t.start();
    t.end();
  }

  @Test
  void aVmThatIsResetWhileItMovesGoesOnMoving() throws Exception {
    Traveller t = hosts.traveller("restless", 1);
    t.start();
    String task = hosts.begin(t, 4 << 20);
    source.call("VM.hard_reboot", t.vm());
    hosts.awaitSuccess(task);
    String moved = destination.text("VM.get_by_uuid", t.uuid());
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    t.endThere(moved);
  }

  @Test
  void movesAgainAfterBeingCancelledAtAnyMoment() throws Exception {
    Traveller t = hosts.traveller("fickle", 1);
    t.start();
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    for (String moment :
        List.of(
            "opening at the destination",
            "connecting to the destination's disks",
            "copying the disks",
            "sending the memory",
            "waiting for the hypervisor to pause the guest",
            "draining the last dirty blocks")) {
      AtomicBoolean done = new AtomicBoolean();
      try (AutoCloseable listener =
          hosts
              .here
              .server
              .coordinator()
              .listen(status -> {
                if (status.vm().toString().equals(t.uuid())
                    && status.phase().equals(moment)
                    && !status.ended()
                    && done.compareAndSet(false, true)) {
                  hosts.here.server.coordinator().cancel(status.migration(), Role.SOURCE);
                }
              })) {
        XenApiException cancelled = assertCode("TASK_CANCELLED", t::move);
        assertThat(cancelled.params()).as(moment).hasSize(1);
      }
      assertThat(t.powerState()).as(moment).isEqualTo("Running");
      assertThat(saved(t)).as(moment).containsOnly(0L);
      // Nothing of it is left on either side, and so the VM is free to move again: at once.
      assertThat(hosts.movesOf(t)).as(moment).isNotEmpty().allMatch(MigrationStatus::ended);
      assertThat(TwoHosts.objects(hosts.there)).as(moment).isEqualTo(before);
      t.awaitWrites();
    }
    String moved = t.move();
    t.endThere(moved);
  }

  /** What is changed while the destination already has the records would be lost. */
  @Test
  void whatMovesIsNotEditedMeanwhile() throws Exception {
    Traveller t = hosts.traveller("inscribed", 1);
    t.start();
    String vbd = TestServer.texts(source.call("VM.get_VBDs", t.vm())).getFirst();
    String vdi = source.text("VBD.get_VDI", vbd);
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    String task = hosts.begin(t, 64 << 10);
    String busy = "OTHER_OPERATION_IN_PROGRESS";
    assertCode(busy, () -> source.call("VM.set_name_label", t.vm(), "renamed"));
    assertCode(busy, () -> source.call("VM.add_tags", t.vm(), "tag"));
    assertCode(busy, () -> source.call("VM.add_to_blocked_operations", t.vm(), "destroy", "no"));
    assertCode(busy, () -> source.call("VDI.set_name_label", vdi, "renamed"));
    assertCode(busy, () -> source.call("VBD.add_to_other_config", vbd, "key", "value"));
    String hidden = destination.text("VM.get_by_uuid", t.uuid());
    assertCode(busy, () -> destination.call("VM.set_other_config", hidden, Map.of()));
    assertCode(busy, () -> destination.call("VM.set_is_a_template", hidden, true));
    hosts.cancel(task);
    hosts.awaitNothingLeft(t, before);
    source.call("VM.set_name_label", t.vm(), "renamed");
    t.end();
  }

  /** What the moves of a VM say that they saved; 0 for one that has no report. */
  private static List<Long> saved(Traveller t) throws Exception {
    List<Long> saved = new ArrayList<>();
    for (MigrationStatus move : hosts.movesOf(t)) {
      saved.add(
          Rest.get(hosts.here, "/v1/migrations/" + move.migration())
              .path("report")
              .path("saved")
              .asLong());
    }
    return saved;
  }
}
