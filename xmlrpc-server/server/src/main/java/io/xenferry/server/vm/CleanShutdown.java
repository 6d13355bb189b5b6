package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.task.Task;
import io.xenferry.spi.Guest;
import io.xenferry.spi.HypervisorException;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Waits for guests that were asked to shut down. A guest may take its time or not heed its power
 * button at all, so the waiting ends when the task is cancelled, or when a hard shutdown or reboot
 * overrules it; that one then waits until the waiting has ended, so that the two never act on the
 * guest at once.
 */
final class CleanShutdown {
  private static final Logger log = LoggerFactory.getLogger(CleanShutdown.class);

  /** How long a guest may take to shut down when asked; the published server's default. */
  private static final Duration LIMIT = Duration.ofMinutes(20);

  /** Most systems have shut down by then. */
  private static final Duration DEAF = Duration.ofSeconds(60);

  private static final Duration AGENT_DEADLINE = Duration.ofSeconds(10);

  private static final Duration LOOK = Duration.ofMillis(50);

  private final ObjectDatabase database;

  /** Of which somebody does not want to wait for the guest any longer. */
  private final Set<Ref<VM>> overruled = ConcurrentHashMap.newKeySet();

  CleanShutdown(ObjectDatabase database) {
    this.database = database;
  }

  /**
   * Returns when the guest has shut down; its process still exists then, and the task cannot be
   * cancelled any more.
   *
   * @throws XenApiException TASK_CANCELLED when the task was, or when a hard shutdown or reboot
   *     overrules it; the guest may still heed what it was asked. VM_CRASHED; VM_SHUTDOWN_TIMEOUT.
   */
  void await(Ref<VM> vm, Guest guest, Task task)
      throws XenApiException, HypervisorException, InterruptedException {
    long begin = System.nanoTime();
    long end = begin + LIMIT.toNanos();
    boolean asked = false;
    Guest.State state = guest.state();
    while (state != Guest.State.SHUTDOWN) {
      if (GuestWatch.hasEnded(state)) {
        throw new XenApiException("VM_CRASHED", vm.opaque());
      }
      task.throwIfCancelled();
      if (overruled.contains(vm)) {
        throw new XenApiException("TASK_CANCELLED", task.ref());
      }
      if (!asked && System.nanoTime() - begin > DEAF.toNanos()) {
        asked = true;
        askAgent(guest);
      }
      if (System.nanoTime() - end > 0) {
        throw new XenApiException(
            "VM_SHUTDOWN_TIMEOUT", vm.opaque(), Long.toString(LIMIT.toSeconds()));
      }
      Thread.sleep(LOOK);
      state = guest.state();
    }
    // Whoever cancels now comes too late: the guest does not run any more.
    task.cancellable(false);
  }

  /** A system that does not heed its power button may heed its agent. */
  private static void askAgent(Guest guest) throws InterruptedException {
    try {
      if (guest.agent().isPresent() && guest.agent().get().present()) {
        log.info("VM {} does not heed its power button: its agent is asked", guest.vm());
        guest.agent().get().shutdown(AGENT_DEADLINE);
      }
    } catch (HypervisorException e) {
      log.info("VM {} cannot be asked to shut down by its agent", guest.vm(), e);
    }
  }

  /**
   * For a hard shutdown or reboot that has begun, of which there is one of a VM at a time, and that
   * nothing stands against any more: returns when nobody waits for the guest any more.
   *
   * @return the VM's power state then: a guest that shut down at the last moment is HALTED
   */
  VmPowerState overrule(Ref<VM> vm) throws XenApiException, InterruptedException {
    overruled.add(vm);
    try {
      while (VmAdmission.isWaitedFor(database.snapshot(), vm)) {
        Thread.sleep(LOOK);
      }
    } finally {
      overruled.remove(vm);
    }
    return database.snapshot().get(vm, VM.POWER_STATE);
  }
}
