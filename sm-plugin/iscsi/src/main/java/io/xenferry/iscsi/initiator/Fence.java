package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.iscsi.initiator.Command.Direction;
import io.xenferry.iscsi.scsi.Cdb;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The end of a session's effects.
 *
 * <ol>
 *   <li>New commands are refused; those in flight may end within the close timeout. If all did, the
 *       session logs out: nothing can change the disk.
 *   <li>Else a LOGICAL UNIT RESET on the same connection; its answer means that the target has
 *       nothing of ours under way.
 *   <li>Else, the connection being gone, the same through a new session in the old one's place.
 *   <li>Else it is unknown, and said so.
 * </ol>
 */
final class Fence {
  private static final Logger log = LoggerFactory.getLogger(Fence.class);

  /** Makes the session that takes the place of a lost one. */
  interface Replacement {
    Session open() throws BlockException;
  }

  private final Session session;
  private final IscsiOptions options;
  private final String name;

  Fence(Session session, IscsiOptions options, String name) {
    this.session = session;
    this.options = options;
    this.name = name;
  }

  /**
   * @return whether the fence is certain
   */
  boolean raise(Replacement replacement) {
    if (!within(session.drain())) {
      session.giveUp();
    }
    Boolean uncertain = answer(session.uncertain());
    if (Boolean.FALSE.equals(uncertain)) {
      answer(session.logout());
      return true;
    }
    if (reset(session)) {
      answer(session.logout());
      return true;
    }
    session.drop();
    return through(replacement);
  }

  /** Resets the unit through a session in the old one's place, which the target thereby ends. */
  boolean through(Replacement replacement) {
    try {
      Session fresh = replacement.open();
      try {
        // Takes the unit attention, so that nothing else stands between us and the reset.
        answer(fresh.submit(Cdb.testUnitReady(), Direction.NONE, null, false, false));
        boolean ended = reset(fresh);
        answer(fresh.logout());
        return ended;
      } finally {
        fresh.drop();
      }
    } catch (BlockException e) {
      log.info("{}: no session to fence through: {}", name, e.getMessage());
      return false;
    }
  }

  private boolean reset(Session through) {
    Integer response = answer(through.resetUnit());
    return response != null && response == 0;
  }

  private boolean within(CompletableFuture<Boolean> idle) {
    return answer(idle) != null;
  }

  private <T> @org.jspecify.annotations.Nullable T answer(CompletableFuture<T> future) {
    try {
      return future.get(options.closeTimeout().toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return null;
    } catch (ExecutionException | TimeoutException e) {
      return null;
    }
  }
}
