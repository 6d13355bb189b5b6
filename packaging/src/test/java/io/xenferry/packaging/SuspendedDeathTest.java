package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A server is killed while a suspended VM moves, at records before and after the commit: the VM is
 * on one side with its memory, goes on there, and nothing of it is on the other.
 */
@Timeout(300)
@Tag("slow")
class SuspendedDeathTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  @Test
  void aSuspendedVmGoesOnOnOneSideWhoeverDies() throws Exception {
    try (Moves moves = new Moves(FaultyServer.class.getName(), "--target", "embedded")) {
      moves.install(16L << 20);
      moves.start();
      for (Fault fault :
          List.of(
              new Fault(Moment.AFTER, "SENDING", Signal.KILL),
              new Fault(Moment.AFTER, "COMMITTING", Signal.KILL),
              new Fault(Moment.AFTER, "GIVEN", Signal.KILL))) {
        survive(moves, true, fault);
      }
      for (Fault fault :
          List.of(
              new Fault(Moment.BEFORE, "READY", Signal.KILL),
              new Fault(Moment.AFTER, "COMMITTED", Signal.KILL),
              new Fault(Moment.AFTER, "RUNNING", Signal.KILL))) {
        survive(moves, false, fault);
      }
    }
  }

  private static void survive(Moves moves, boolean source, Fault fault) throws Exception {
    Site from = moves.owner();
    Site dying = source ? from : moves.other(from);
    suspend(moves, from);
    fault.arm(dying.stateDirectory());
    Xe.Running xe = moves.move(from);
    assertThat(dying.awaitEnd(PATIENCE)).as(fault + ": the server ends").isTrue();
    dying.start();
    moves.awaitRest();
    xe.await();
    List<Site> owners = new ArrayList<>();
    for (Site site : moves.sites()) {
      Optional<String> state = moves.powerState(site);
      if (state.isPresent()) {
        assertThat(state).as(fault + moves.describe()).contains("Suspended");
        owners.add(site);
      }
    }
    assertThat(owners).as(fault + moves.describe()).hasSize(1);
    System.out.println(fault + ": it has " + (owners.contains(from) ? "stayed" : "moved"));
    try (Api api = new Api(owners.getFirst())) {
      api.call(
          "VM.resume",
          Value.of(api.text("VM.get_by_uuid", moves.vm())),
          Value.of(false),
          Value.of(false));
      assertThat(api.texts("VDI.get_all")).as("the memory's disk is gone").hasSize(1);
    }
    assertThat(moves.assertWell()).isSameAs(owners.getFirst());
  }

  private static void suspend(Moves moves, Site site) throws Exception {
    try (Api api = new Api(site)) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      String disk = api.text("VBD.get_VDI", api.texts("VM.get_VBDs", vm).getFirst());
      api.text("VM.set_suspend_SR", vm, api.text("VDI.get_SR", disk));
      api.text("VM.suspend", vm);
    }
  }
}
