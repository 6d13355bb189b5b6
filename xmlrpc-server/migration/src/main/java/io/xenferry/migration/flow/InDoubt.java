package io.xenferry.migration.flow;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationPorts.Metadata.Standing;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.State;
import java.util.List;

/**
 * RECEIVING, READY, COMMITTED or STARTING of a ledger that was put back from a copy: the VM may
 * have arrived since, have run here, and be gone again. So the row decides nothing. What is seen
 * here does, and then what the source says; until then nothing runs and nothing is removed.
 *
 * <ul>
 *   <li>A guest that is beyond waiting for its memory, or a record that is shown: RUNNING.
 *   <li>The source has given the VM, and it is here: RUNNING.
 *   <li>The source has the VM: ABORTED or RETURNED.
 *   <li>The source is COMMITTING, and the guest waits here, so that it has never run: as the row
 *       says.
 *   <li>The source is COMMITTING, and there is no guest: it may have run here and died. The
 *       operator decides, by force.
 * </ul>
 */
final class InDoubt extends DestinationStage {
  private static final String SEEN = "the VM had arrived when the ledger was put back from a copy";

  private Standing standing = Standing.HIDDEN;
  private GuestState seen = GuestState.GONE;

  InDoubt(DestinationMigration migration, State state) {
    super(migration, state);
  }

  @Override
  void enter(boolean recovered) {
    look(0);
  }

  private void look(int attempt) {
    step(
        "the ledger was put back: looking whether the VM has arrived",
        () -> ports().metadata().standing(vm()),
        found -> {
          standing = found;
          if (found == Standing.SHOWN) {
            migration.arrived(SEEN, row -> row);
          } else {
            observe(attempt);
          }
        },
        failure -> later(attempt));
  }

  private void observe(int attempt) {
    step(
        "the ledger was put back: looking after the guest",
        () -> ports().guests().observe(vm()),
        found -> {
          seen = found;
          switch (found) {
            case PAUSED -> {
              if (migration.plan().warm()) {
                askSource(); // it is made so, and no client sees it who could have paused it
              } else {
                migration.arrived(SEEN, row -> row);
              }
            }
            case RUNNING, SHUTDOWN, PRE_SWITCHOVER, SENT -> migration.arrived(SEEN, row -> row);
            case INCOMING, RECEIVED, GONE -> askSource();
          }
        },
        failure -> later(attempt));
  }

  private void later(int attempt) {
    retry(attempt, () -> look(attempt + 1));
  }

  private void askSource() {
    Asking.ask(
        migration,
        this,
        "the ledger was put back: who has the VM?",
        new PeerMessage.SourceStatus(),
        answer -> counts(answer) && decided(answer));
  }

  private boolean decided(PeerAnswer answer) {
    if (answer.known().isEmpty()) {
      // It ended its row, which it does only once nothing is hidden here; or an operator did.
      if (standing == Standing.ABSENT) {
        undo("the source knows nothing of it any more", answer);
        return true;
      }
      return false;
    }
    return switch (answer.known().orElseThrow()) {
      case OWNED -> {
        if (answer.forced()) {
          migration.yieldToForce(outcome());
        } else {
          undo("the source has the VM", answer);
        }
        yield true;
      }
      case SENDING, SWITCHING -> {
        undo("the source has the VM", answer);
        yield true;
      }
      case GIVEN -> {
        if (standing == Standing.HIDDEN) {
          migration.arrived(SEEN, row -> row);
        } else {
          undo("the VM arrived, and is not here any more", answer);
        }
        yield true;
      }
      case COMMITTING -> {
        if (seen == GuestState.GONE) {
          yield false;
        }
        migration.note(row -> row.withBoot(host().boot()));
        migration.believe();
        yield true;
      }
      case RECEIVING, READY, COMMITTED, STARTING, RUNNING, ABORTED, RETURNED -> false;
    };
  }

  private State outcome() {
    return state() == State.RECEIVING || state() == State.READY ? State.ABORTED : State.RETURNED;
  }

  private void undo(String sentence, PeerAnswer answer) {
    migration.move(
        new Undoing(migration, outcome()),
        row -> Undoing.acknowledgedBy(answer, row).withOutcome(sentence));
  }

  @Override
  void cancel() {
    String sentence =
        "The ledger of this host was put back from a copy, and the source has not said yet who has"
            + " the VM: what is here may be all that is left of it.";
    throw new MigrationException("OPERATION_NOT_ALLOWED", List.of(sentence), sentence);
  }

  @Override
  void force(String operator) {
    if (state() == State.RECEIVING) {
      String sentence =
          "The ledger of this host was put back from a copy of before the VM was complete here:"
              + " only the source can say whether it is.";
      throw new MigrationException("OPERATION_NOT_ALLOWED", List.of(sentence), sentence);
    }
    host()
        .ledger()
        .audit(
            migration.audit(
                operator,
                "force-commit",
                state()
                    + " in a ledger that was put back; the operator states that "
                    + migration.row().peerUrl()
                    + " is powered off, and knows that the guest may go back in time"));
    if (seen == GuestState.GONE) {
      // It may have run, so that its end proves nothing: the VM is here, halted.
      migration.arrived("shown here, halted, by " + operator, this::forced);
    } else if (state() == State.READY) {
      migration.move(new Committed(migration, false), this::forced);
    } else {
      migration.note(this::forced);
      migration.believe();
    }
  }

  private LedgerRow forced(LedgerRow row) {
    return row.withForced().withBoot(host().boot());
  }
}
