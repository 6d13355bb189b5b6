package io.xenferry.server.vm;

import io.xenferry.model.OnCrashBehaviour;
import io.xenferry.model.OnNormalExit;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.Guest;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a guest's end leads to: {@code actions_after_shutdown} when it has shut down, {@code
 * actions_after_crash} when it has panicked or its process died.
 */
final class AfterEnd {
  private static final Logger log = LoggerFactory.getLogger(AfterEnd.class);

  /** A guest that crashes as soon as it runs must not keep the host busy for ever. */
  static final Duration BETWEEN_RESTARTS = Duration.ofMinutes(2);

  /** What is done. */
  enum Then {
    HALT,
    RESTART,
    /** The guest stands still for whoever wants to look at it. */
    PRESERVE
  }

  /** When the end was noticed. */
  enum Seen {
    AT_ONCE,
    /** By a server that was not there then: the host may have been restarted in between. */
    LATER
  }

  /** Starts a VM again. */
  @FunctionalInterface
  interface Restart {
    void restart(Ref<VM> vm) throws XenApiException;
  }

  private final ObjectDatabase database;
  private final Restart restart;
  private final LongSupplier nanoTime;
  private final Map<String, Long> restarted = new ConcurrentHashMap<>();

  /**
   * @param nanoTime as {@link System#nanoTime}
   */
  AfterEnd(ObjectDatabase database, Restart restart, LongSupplier nanoTime) {
    this.database = database;
    this.restart = restart;
    this.nanoTime = nanoTime;
  }

  /**
   * @param state SHUTDOWN, CRASHED or GONE
   */
  Then decide(Ref<VM> vm, Guest.State state, Seen seen) throws XenApiException {
    Snapshot db = database.snapshot();
    if (state == Guest.State.SHUTDOWN) {
      return db.get(vm, VM.ACTIONS_AFTER_SHUTDOWN) == OnNormalExit.RESTART
          ? Then.RESTART
          : Then.HALT;
    }
    log.warn(
        "VM {} {}",
        db.get(vm, VM.UUID),
        state == Guest.State.CRASHED ? "has panicked" : "has lost its process");
    OnCrashBehaviour action = db.get(vm, VM.ACTIONS_AFTER_CRASH);
    return switch (action) {
      case DESTROY, COREDUMP_AND_DESTROY -> Then.HALT;
      case PRESERVE -> Then.PRESERVE;
      case RESTART, COREDUMP_AND_RESTART, RENAME_RESTART ->
          seen == Seen.LATER && state == Guest.State.GONE ? Then.HALT : restartUnlessTooSoon(vm);
    };
  }

  private Then restartUnlessTooSoon(Ref<VM> vm) {
    long now = nanoTime.getAsLong();
    Long last = restarted.put(vm.opaque(), now);
    if (last != null && now - last < BETWEEN_RESTARTS.toNanos()) {
      log.warn("{} crashed again within {}: it is left halted", vm, BETWEEN_RESTARTS);
      return Then.HALT;
    }
    return Then.RESTART;
  }

  void restart(Ref<VM> vm) {
    try {
      restart.restart(vm);
    } catch (XenApiException e) {
      log.warn("{} could not be started again", vm, e);
    }
  }
}
