package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.Tasks;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.XmlRpcCodec;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sees to it that no guest is left standing when a server dies in the midst of an operation; {@code
 * current_operations} says of which one.
 *
 * <ul>
 *   <li>Checkpoint and suspend: the guest goes on, and what there is of its memory is given up. One
 *       that is recorded as suspended stays so: all of its memory is on its disk.
 *   <li>Resume: a guest that has all of its memory runs, unless it was to stay paused. One that is
 *       still recorded as suspended has never run; its process ends, and its image is as it was.
 *   <li>Clean reboot: the guest runs again once it has shut down.
 * </ul>
 */
public final class InterruptedOperations {
  private static final Logger log = LoggerFactory.getLogger(InterruptedOperations.class);

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final Gate gate;
  private final VmAdmission admission;
  private final VmSuspend suspend;
  private final VmLifecycle lifecycle;
  private final Tasks tasks;
  private final Predicate<UUID> migrating;
  private final Predicate<UUID> standing;
  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);

  /**
   * @param migrating whether the ledger has an unended row of a VM; that its guest runs and ends is
   *     then the coordinator's affair
   * @param standing whether that is so for a guest that stands still, too; else it goes on at its
   *     source, where a client may have stopped it since
   */
  public InterruptedOperations(
      ObjectDatabase database,
      Hypervisor hypervisor,
      Gate gate,
      VmAdmission admission,
      VmSuspend suspend,
      VmLifecycle lifecycle,
      Tasks tasks,
      Predicate<UUID> migrating,
      Predicate<UUID> standing) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.gate = gate;
    this.admission = admission;
    this.suspend = suspend;
    this.lifecycle = lifecycle;
    this.tasks = tasks;
    this.migrating = migrating;
    this.standing = standing;
  }

  /** At start-up, before operations are forgotten and guests are looked at. */
  public void recover() throws XenApiException, InterruptedException {
    Set<String> startPaused = tasks.pendingWith(VmSuspend.START_PAUSED).keySet();
    for (Row row : List.copyOf(database.snapshot().rows("VM"))) {
      Ref<VM> vm = new Ref<>(row.ref());
      Snapshot db = database.snapshot();
      UUID uuid = UUID.fromString(db.get(vm, VM.UUID));
      Map<String, VmOperations> current = db.get(vm, VM.CURRENT_OPERATIONS);
      if (current.isEmpty() || standing.test(uuid)) {
        continue;
      }
      for (Map.Entry<String, VmOperations> one : current.entrySet()) {
        try {
          switch (one.getValue()) {
            case CHECKPOINT -> giveUpSending(vm, uuid);
            case SUSPEND -> giveUpSuspending(vm, uuid);
            case RESUME -> finishResume(vm, uuid, startPaused.contains(one.getKey()));
            case CLEAN_REBOOT -> {
              if (!migrating.test(uuid)) {
                goOnRebooting(vm, uuid, one.getKey());
              }
            }
            default -> {
              // The guest is as its state says; nobody waits for it.
            }
          }
        } catch (XenApiException | HypervisorException e) {
          log.error(
              "the guest of VM {} may stand still: {} was interrupted",
              uuid,
              one.getValue().wire(),
              e);
        }
      }
    }
  }

  private void giveUpSuspending(Ref<VM> vm, UUID uuid)
      throws XenApiException, HypervisorException, InterruptedException {
    if (database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.SUSPENDED) {
      return;
    }
    Optional<Guest> guest = hypervisor.find(uuid);
    if (guest.isPresent() && guest.get().state() == Guest.State.SENT) {
      // They are given back before the record says that it is suspended.
      lifecycle.arriving(vm);
      lifecycle.activateDisks(vm);
    }
    giveUpSending(vm, uuid);
  }

  private void giveUpSending(Ref<VM> vm, UUID uuid)
      throws XenApiException, HypervisorException, InterruptedException {
    try (Gate.Permit mayRun = gate.enter(uuid, Operation.UNPAUSE)) {
      Optional<Guest> guest = hypervisor.find(uuid);
      if (guest.isPresent()) {
        guest.get().cancelSend();
        switch (guest.get().state()) {
          case PAUSED, SENT -> guest.get().resume();
          case RUNNING, INCOMING, RECEIVED, PRE_SWITCHOVER, SHUTDOWN, CRASHED, GONE -> {}
        }
      }
    } finally {
      suspend.discard(vm);
    }
  }

  private void finishResume(Ref<VM> vm, UUID uuid, boolean startPaused)
      throws XenApiException, HypervisorException, InterruptedException {
    Optional<Guest> guest = hypervisor.find(uuid);
    if (guest.isEmpty() || GuestWatch.hasEnded(guest.get().state())) {
      return;
    }
    switch (database.snapshot().get(vm, VM.POWER_STATE)) {
      case SUSPENDED -> {
        // The record comes first, so it has never run.
        guest.get().destroy();
        lifecycle.records().giveBack(vm, GuestSpecs.disks(database.snapshot(), vm));
      }
      case PAUSED -> {
        suspend.discard(vm);
        if (!startPaused) {
          try (Gate.Permit mayRun = gate.enter(uuid, Operation.RESUME)) {
            guest.get().resume();
          }
        }
      }
      case RUNNING, HALTED -> {}
    }
  }

  private static boolean isPastRebooting(Guest.State state) {
    return switch (state) {
      case CRASHED, GONE -> true;
      case RUNNING, PAUSED, SHUTDOWN, INCOMING, RECEIVED, PRE_SWITCHOVER, SENT -> false;
    };
  }

  /** The guest may take its time to shut down. */
  private void goOnRebooting(Ref<VM> vm, UUID uuid, String ref)
      throws XenApiException, HypervisorException, InterruptedException {
    Optional<Guest> guest = hypervisor.find(uuid);
    if (guest.isEmpty() || isPastRebooting(guest.get().state()) || tasks.cancelAsked(ref)) {
      return;
    }
    Optional<Task> adopted = tasks.adopt(ref);
    Task task =
        adopted.isPresent()
            ? adopted.get()
            : tasks.start("VM.clean_reboot", "", Ref.nullRef(), "", Ref.nullRef(), true);
    VmAdmission.InProgress operation = admission.goesOn(vm, VmOperations.CLEAN_REBOOT, task.ref());
    Thread.ofVirtual().name("reboot of VM " + uuid).start(() -> reboot(vm, task, operation));
  }

  private void reboot(Ref<VM> vm, Task task, VmAdmission.InProgress operation) {
    try {
      try (operation) {
        lifecycle.finishReboot(vm, task);
      } catch (XenApiException | RuntimeException e) {
        log.warn("the reboot of {} does not go on", vm, e);
        tasks.fail(task.ref(), VmLifecycle.translated(e, task.ref()));
        return;
      }
      tasks.succeed(task.ref(), codec.valueElement(Content.of(Value.VOID)));
    } catch (XenApiException | RuntimeException e) {
      log.error("the reboot of {} could not be completed", vm, e);
    }
  }
}
