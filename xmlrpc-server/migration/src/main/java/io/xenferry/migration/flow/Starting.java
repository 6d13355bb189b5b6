package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.RefusedException;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;

/**
 * STARTING: written just before the guest may run. From here the VM is this host's unless the run
 * was refused, provably without effect, and the process was destroyed before it ran.
 */
final class Starting extends Deciding {
  /** Whether some attempt to run it may have had an effect that we do not know of. */
  private boolean mayHaveRun;

  Starting(DestinationMigration migration) {
    super(migration, State.STARTING);
  }

  @Override
  void enter(boolean recovered) {
    if (!migration.plan().running()) {
      migration.move(new Running(migration));
      return;
    }
    if (migration.neverRan().isPresent()) {
      migration.giveBack(migration.neverRan().get());
      return;
    }
    mayHaveRun = recovered;
    if (recovered) {
      look(0);
    } else {
      run(0);
    }
  }

  private void look(int attempt) {
    step(
        "looking after the guest",
        () -> ports().guests().observe(vm()),
        seen -> {
          switch (seen) {
            case RUNNING -> migration.move(new Running(migration));
            case GONE, SHUTDOWN ->
                migration.move(
                    new Running(migration),
                    row ->
                        row.withOutcome(
                            "the guest's process ended while it was started: the VM is here,"
                                + " halted"));
            case PAUSED, RECEIVED, INCOMING, PRE_SWITCHOVER, SENT ->
                withSourcesConsent(() -> run(attempt));
          }
        },
        failure -> later(attempt));
  }

  private void run(int attempt) {
    try (var permit = host().gate().enterFor(migration.id(), Role.DESTINATION, Operation.RESUME)) {
      step(
          "running the guest",
          () -> ports().guests().resume(vm()),
          done -> migration.move(new Running(migration)),
          failure -> {
            if (failure instanceof RefusedException && !mayHaveRun) {
              destroy(attempt);
            } else {
              mayHaveRun = true;
              later(attempt);
            }
          });
    } catch (XenApiException e) {
      throw new IllegalStateException("STARTING is durable, and the gate refuses", e);
    }
  }

  private void destroy(int attempt) {
    step(
        "ending the guest that could not run",
        () -> ports().guests().destroy(vm()),
        done -> verify(attempt),
        failure -> destroyLater(attempt));
  }

  private void verify(int attempt) {
    step(
        "checking that it is gone",
        () -> ports().guests().observe(vm()),
        seen -> {
          if (seen == GuestState.GONE) {
            migration.giveBack("the guest could not be run, and never ran");
          } else {
            destroyLater(attempt);
          }
        },
        failure -> destroyLater(attempt));
  }

  /** The refusal stands, however often it takes to see the process gone. */
  private void destroyLater(int attempt) {
    retry(attempt, () -> destroy(attempt + 1));
  }

  private void later(int attempt) {
    retry(attempt, () -> look(attempt + 1));
  }

  @Override
  void consented() {
    run(0);
  }
}
