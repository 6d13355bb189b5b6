package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * GIVEN: the VM is the destination's. Clean-up is a job that is repeated and cannot undo: guest
 * memory first, then what the copy left, then the record, the disks last; and the acknowledgement
 * is repeated until the destination says that nothing of the migration is left there.
 */
final class Given extends SourceStage {

  Given(SourceMigration migration) {
    super(migration, State.GIVEN);
  }

  @Override
  void enter(boolean recovered) {
    after(host().deadlines().step(), this::tell);
    Asking.ask(
        migration,
        this,
        "acknowledge",
        new PeerMessage.Acknowledge(),
        answer -> {
          if (!counts(answer) || answer.refused() || !answer.gone()) {
            return false;
          }
          migration.note(LedgerRow::withSettled);
          settle();
          return true;
        });
    if (!migration.row().cleaned() && !migration.row().forced()) {
      whenQuiet(() -> persist(this::cleanUp, this::cleaned));
    }
  }

  private void cleaned() {
    migration.note(LedgerRow::withCleaned);
    settle();
  }

  private void settle() {
    if (migration.row().settled() && (migration.row().cleaned() || migration.row().forced())) {
      migration.progress(1);
      tell();
    }
    migration.settleIf(State.GIVEN);
  }

  /**
   * Whoever waits hears of it when the VM is shown at the destination and nothing is left here, so
   * that the next call finds both hosts as they will stay. That is not waited for without end: the
   * VM is the destination's already.
   */
  private void tell() {
    migration.publish();
    migration.outcome().complete(migration.status());
  }

  private List<Effect> cleanUp() {
    Plan plan = migration.plan();
    SourcePorts ports = host().source();
    List<Effect> effects = new ArrayList<>();
    if (plan.running()) {
      effects.add(permitted("ending the guest's process", this::endGuest));
    }
    var job = migration.job();
    if (job != null) {
      effects.add(new Effect("closing the copy", job::close));
    }
    effects.add(
        new Effect(
            "removing what the copy left", () -> ports.copies().cleanUp(migration.id(), plan)));
    if (plan.copy()) {
      return effects;
    }
    if (plan.keepSource()) {
      effects.add(
          permitted(
              "locking the kept VM",
              () -> ports.objects().keep(migration.id(), plan, migration.id().keptVm())));
      return effects;
    }
    effects.add(
        permitted(
            "removing the VM's record", () -> ports.objects().removeVm(migration.id(), plan)));
    for (Plan.Disk disk : plan.disks()) {
      effects.add(
          permitted(
              "destroying disk " + disk.device(),
              () -> ports.objects().destroyDisk(migration.id(), plan.vm(), disk)));
    }
    return effects;
  }

  /**
   * What was sent stands still. One that runs has come back since, and this row is of a ledger that
   * was put back from a copy: nothing of it is touched, until an operator releases the row.
   */
  private CompletableFuture<Void> endGuest() {
    SourcePorts.Guests guests = host().source().guests();
    UUID vm = migration.plan().vm();
    return guests
        .observe(vm)
        .thenCompose(seen ->
            seen == GuestState.RUNNING
                ? CompletableFuture.failedFuture(
                    new IllegalStateException("the guest runs: it is not the one that was sent"))
                : guests.destroy(vm));
  }

  /**
   * What stays here must not be taken for the VM, which runs at the destination: it is locked, as
   * one that was to be kept. Not by a row that was put back from a copy: the VM may have returned.
   */
  @Override
  CompletableFuture<Void> giveUp() {
    Plan plan = migration.plan();
    if (plan.copy() || migration.row().doubtful()) {
      return super.giveUp();
    }
    return (plan.running() ? endGuest() : super.giveUp())
        .thenCompose(done ->
            host()
                .source()
                .objects()
                // For no limited time: after an operator's word nothing is deleted by itself.
                .keep(migration.id(), plan.withoutOptions(), migration.id().keptVm()));
  }

  private Effect permitted(String what, Supplier<CompletableFuture<Void>> effect) {
    return new Effect(
        what,
        () -> {
          try (var permit =
              host().gate().enterFor(migration.id(), Role.SOURCE, Operation.DESTROY_DISK)) {
            return effect.get();
          } catch (XenApiException e) {
            return CompletableFuture.failedFuture(e);
          }
        });
  }
}
