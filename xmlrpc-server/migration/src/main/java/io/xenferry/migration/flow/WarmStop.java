package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.WarmMove;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * How a guest that moves with a reboot is stopped, at the end of SENDING, in place of the sending
 * of its memory: it is asked to shut down, while the copy follows what it still writes; then what
 * is left is sent, and the switch begins.
 *
 * <p>That it was asked is durable first: a guest whose end was this server's wish is booted again
 * in {@link Owned}, should the move come to nothing, and no other one is. From the request on no
 * client's operation passes the gate, so that nobody else's shutdown is taken for it.
 */
final class WarmStop {
  /** Between two looks whether a client has let go of the VM, or the destination is back. */
  static final Duration LOOK = Duration.ofSeconds(1);

  /** A phase. */
  static final String BUSY = "waiting until nothing else goes on with the VM";

  /** Most systems have shut down by then; one that does not heed its power button has an agent. */
  private static final Duration DEAF = Duration.ofSeconds(60);

  private final SourceMigration migration;
  private final Sending owner;
  private final CopyJob job;
  private final WarmMove warm;
  private final Runnable notYet;
  private Gate.@Nullable Permit alone;
  private boolean asked;
  private boolean stopped;

  /**
   * @param notYet is run when something else goes on with the VM, and it is to be seen anew whether
   *     it may be stopped
   */
  WarmStop(SourceMigration migration, Sending owner, CopyJob job, WarmMove warm, Runnable notYet) {
    this.migration = migration;
    this.owner = owner;
    this.job = job;
    this.warm = warm;
    this.notYet = notYet;
  }

  private Host host() {
    return migration.host();
  }

  private UUID vm() {
    return migration.plan().vm();
  }

  void begin() {
    if (migration.peerLost()) {
      later("waiting for the destination, which does not answer, before the guest is shut down");
      return;
    }
    try {
      alone = host().gate().claim(vm(), "it is being shut down for its move");
    } catch (XenApiException e) {
      later(BUSY);
      return;
    }
    migration.guestToldToStop();
    asked = true;
    ask(false);
    owner.after(deafAfter(), this::askAgain);
    owner.after(warm.shutdown(), this::overdue);
  }

  private Duration deafAfter() {
    Duration half = warm.shutdown().dividedBy(2);
    return half.compareTo(DEAF) < 0 ? half : DEAF;
  }

  private void later(String phase) {
    migration.phase(phase);
    notYet.run();
  }

  private void ask(boolean byAgent) {
    owner.step(
        byAgent ? "asking the guest's agent to shut it down" : "asking the guest to shut down",
        host().deadlines().step(),
        () -> migration.asked(host().source().guests().shutDown(vm(), byAgent)),
        done -> {
          if (!stopped) {
            migration.phase("waiting for the guest to shut down");
          }
        },
        failure -> {
          if (!stopped && !byAgent) {
            migration.failed(owner, "the guest could not be asked to shut down", failure);
          }
        });
  }

  private void askAgain() {
    if (!stopped) {
      ask(true);
    }
  }

  /** The guest has ended, by whoever's doing; whether that was awaited. */
  boolean ended(GuestState seen) {
    if (!asked || seen != GuestState.SHUTDOWN) {
      return false;
    }
    if (!stopped) {
      standsStill();
    }
    return true;
  }

  private void overdue() {
    if (stopped) {
      return;
    }
    if (!warm.hard()) {
      // One that is stopped instead may have begun to shut down, and goes on with that if resumed.
      migration.guestIsDeaf();
      migration.backToOwned(
          migration.failure(
              "the guest did not shut down within "
                  + warm.shutdown().toSeconds()
                  + " s; "
                  + WarmMove.TIMEOUT
                  + "= gives it more time, "
                  + WarmMove.HARD
                  + "=true stops it then as if its power failed"));
      return;
    }
    owner.step(
        "stopping the guest, which did not shut down",
        () -> host().source().guests().stop(vm()),
        done -> {
          if (!stopped) {
            standsStill();
          }
        },
        failure -> migration.failed(owner, "the guest could not be stopped", failure));
  }

  /** What it wrote last is sent before the switch, whose deadline would not be enough for much. */
  private void standsStill() {
    stopped = true;
    migration.guestPaused();
    migration.phase("sending what the guest wrote last");
    watchDestination();
    owner.after(
        host().deadlines().resumeWindow(),
        () ->
            migration.backToOwned(
                migration.failure(
                    "what the guest wrote last could not be sent within "
                        + host().deadlines().resumeWindow().toSeconds()
                        + " s")));
    owner.hear(
        "sending what the guest wrote last",
        SourceMigration.UNBOUNDED,
        job::prepareSwitch,
        prepared -> look(),
        failure -> migration.failed(owner, "the copy failed", failure));
  }

  /** While the guest stands still a destination that is lost is not waited for. */
  private void watchDestination() {
    owner.after(
        LOOK,
        () -> {
          if (migration.peerLost()) {
            migration.backToOwned(
                migration.failure("the destination was lost while the guest stood still"));
          } else {
            watchDestination();
          }
        });
  }

  private void look() {
    owner.step(
        "checking that the guest stands still",
        () -> host().source().guests().observe(vm()),
        seen -> {
          if (Switching.standsStill(migration.plan(), seen)) {
            migration.move(new Switching(migration));
          } else {
            migration.backToOwned(
                migration.failure("the guest is " + seen + " instead of shut down"));
          }
        },
        failure -> owner.fail("the guest cannot be seen", failure));
  }

  /** The state is another, durably, which now says what clients may do. */
  void leave() {
    Gate.Permit held = alone;
    if (held != null) {
      alone = null;
      held.close();
    }
  }
}
