package io.xenferry.migration.flow;

import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/** The destination's side of one migration. */
public final class DestinationMigration extends Migration {
  private final Pulse pulse;
  private long beatAt;
  private Optional<String> neverRan = Optional.empty();
  private boolean doubted;

  public DestinationMigration(Host host, LedgerRow row) {
    super(host, row);
    beatAt = host.scheduler().nanoTime();
    pulse = new Pulse(host.deadlines(), beatAt);
  }

  public void start() {
    begin(new Receiving(this), false);
  }

  @Override
  void recover() {
    if (row().doubtful() && !row().state().outcome()) {
      doubted = true;
      begin(new InDoubt(this, row().state()), true);
    } else {
      believe();
    }
  }

  /** Not with a ledger that was put back: the source goes on with the one that is lost only. */
  @Override
  boolean mayGoOn() {
    return super.mayGoOn() && !doubted;
  }

  /** Goes on as the row says. */
  void believe() {
    begin(
        switch (row().state()) {
          case RECEIVING -> new Receiving(this);
          case READY -> new Ready(this);
          case COMMITTED -> new Committed(this, true);
          case STARTING -> new Starting(this);
          case RUNNING -> new Running(this);
          case ABORTED -> new Undoing(this, State.ABORTED);
          case RETURNED -> new Undoing(this, State.RETURNED);
          case OWNED, SENDING, SWITCHING, COMMITTING, GIVEN ->
              throw new IllegalStateException("not the destination's: " + row());
        },
        true);
  }

  @Override
  void heard(PeerMessage message) {
    long now = host().scheduler().nanoTime();
    pulse.heard(now);
    if (message instanceof PeerMessage.Heartbeat) {
      pulse.delayed(Duration.ofNanos(now - beatAt).minus(host().deadlines().heartbeat()));
      beatAt = now;
    }
  }

  /** Shows how the source stands, and says for how long it has been silent. */
  Duration watchSource() {
    long now = host().scheduler().nanoTime();
    Duration silence = pulse.silence(now);
    peerSeen("the source", pulse.standing(now, silence.minus(host().deadlines().heartbeat())));
    return silence;
  }

  /** Something that is about to be made. */
  JournalEntry intent(JournalEntry.Kind kind, String name, String detail) {
    return new JournalEntry(id(), kind, name, detail, JournalEntry.Standing.OPEN);
  }

  /** Nothing has run here, and nothing will. */
  void abort(String sentence) {
    move(new Undoing(this, State.ABORTED), row -> row.withOutcome(sentence));
  }

  /**
   * Committed, and the guest provably never ran. When that cannot be written at once, the stage
   * that is taken up later must not take the process, which is gone, for one that ran.
   */
  void giveBack(String sentence) {
    neverRan = Optional.of(sentence);
    move(new Undoing(this, State.RETURNED), row -> row.withOutcome(sentence));
  }

  /**
   * The VM is here, as is seen or the source says: what lies between was written to the ledger that
   * is lost. Each state is written once more, since a row goes no other way.
   */
  void arrived(String sentence, UnaryOperator<LedgerRow> with) {
    for (State next : List.of(State.READY, State.COMMITTED, State.STARTING)) {
      if (row().state().mayBecome(next)) {
        note(row -> row.withState(next));
      }
    }
    move(new Running(this), row -> with.apply(row).withOutcome(sentence));
  }

  /** Why the guest never ran, if that is known and could not be written yet. */
  Optional<String> neverRan() {
    return neverRan;
  }

  /** The source's operator has forced the VM back: nothing is deleted here by itself. */
  void yieldToForce(State outcome) {
    move(
        new Undoing(this, outcome),
        row -> row.withForced().withOutcome("an operator forced the VM back at the source"));
  }
}
