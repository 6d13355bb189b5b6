package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.PeerStanding;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.TreeSet;

/**
 * The source's heartbeat, while a stage lasts: says to the destination that this server is there,
 * and learns how promptly it is answered. One that is not answered in time is sent again beside it,
 * on another connection, since the first may have gone down with its own; but an answer that comes
 * late still counts, so that a slow peer is not taken for a lost one.
 */
final class Heartbeat {
  private final SourceMigration migration;
  private final Stage owner;
  private final Pulse pulse;

  /** When those were sent that are not answered yet; the scheduler's clock, each another. */
  private final TreeSet<Long> unanswered = new TreeSet<>();

  private long sentAt;

  Heartbeat(SourceMigration migration, Stage owner, Pulse pulse) {
    this.migration = migration;
    this.owner = owner;
    this.pulse = pulse;
  }

  void begin() {
    pulse.heard(now());
    send();
    owner.after(host().deadlines().heartbeat(), this::next);
  }

  private void next() {
    judge();
    if (!owner.active()) {
      return;
    }
    if (unanswered.isEmpty() || now() - sentAt >= again().toNanos()) {
      send();
    }
    owner.after(host().deadlines().heartbeat(), this::next);
  }

  /** The destination must hear us as often as ever, however slowly it answers. */
  private Duration again() {
    Duration slow = pulse.slowAfter();
    Duration most = host().deadlines().lost();
    return slow.compareTo(most) < 0 ? slow : most;
  }

  private void send() {
    long at = now();
    if (!unanswered.add(at)) {
      return;
    }
    sentAt = at;
    Duration patience = pulse.longest();
    owner.hear(
        "heartbeat",
        patience,
        () ->
            host()
                .peers()
                .send(
                    migration.peer(),
                    migration.id(),
                    migration.row().token(),
                    migration.row().key(),
                    new PeerMessage.Heartbeat(),
                    patience),
        answer -> {
          unanswered.remove(at);
          answered(answer, at);
        },
        failed -> {
          unanswered.remove(at);
          judge();
        });
  }

  private void answered(PeerAnswer answer, long asked) {
    if (answer.refused() || !answer.incarnation().equals(migration.row().peerIncarnation())) {
      judge();
      return;
    }
    if (answer.in(State.ABORTED)) {
      migration.backToOwned(
          migration.failure("the destination gave the migration up: " + answer.sentence()));
      return;
    }
    pulse.heard(now());
    pulse.delayed(Duration.ofNanos(now() - asked));
    // Those before it have gone another way; what they would still say is known.
    unanswered.headSet(asked).clear();
    judge();
  }

  private void judge() {
    Duration silent = pulse.silence(now());
    if (silent.compareTo(patience()) >= 0) {
      migration.backToOwned(
          migration.failure("the destination did not answer for " + silent.toSeconds() + " s"));
      return;
    }
    Duration awaited =
        unanswered.isEmpty() ? Duration.ZERO : Duration.ofNanos(now() - unanswered.first());
    PeerStanding standing = pulse.standing(now(), awaited);
    migration.peerSeen("the destination", standing);
    migration.peerAway(standing.kind() == PeerStanding.Kind.LOST);
  }

  /** A guest that stands still is not kept waiting as long as a copy. */
  private Duration patience() {
    Duration window = host().deadlines().resumeWindow();
    Duration pause = host().deadlines().switchOver();
    return migration.row().state() == State.SWITCHING && pause.compareTo(window) < 0
        ? pause
        : window;
  }

  private Host host() {
    return migration.host();
  }

  private long now() {
    return host().scheduler().nanoTime();
  }
}
