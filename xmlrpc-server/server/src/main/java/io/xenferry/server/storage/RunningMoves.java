package io.xenferry.server.storage;

import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyException;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Moves of disks that a guest has: it goes on with the new one, and its machine is told so once.
 *
 * <p>While the guest stands still, both disks are made the same and flushed; so until it runs again
 * either is right, and whoever is asked in doubt may say which: the guest's machine, as long as it
 * is there, else the database. The records change before the guest runs again. That the guest is
 * paused by us is noted before it is, so that the next server lets it go on.
 */
final class RunningMoves {
  private static final Logger log = LoggerFactory.getLogger(RunningMoves.class);

  private static final Duration LOOK = Duration.ofMillis(50);
  private static final Duration ASK_AGAIN = Duration.ofSeconds(1);

  private final ObjectDatabase database;
  private final HostStorage storage;
  private final Hypervisor hypervisor;
  private final VmAdmission admission;
  private final Gate gate;
  private final CopyEngine engine;
  private final MoveNotes notes;

  RunningMoves(
      ObjectDatabase database,
      HostStorage storage,
      Hypervisor hypervisor,
      VmAdmission admission,
      Gate gate,
      CopyEngine engine,
      MoveNotes notes) {
    this.database = database;
    this.storage = storage;
    this.hypervisor = hypervisor;
    this.admission = admission;
    this.gate = gate;
    this.engine = engine;
    this.notes = notes;
  }

  /** The transaction in which the records follow. */
  @FunctionalInterface
  interface Commit {
    void run() throws XenApiException;
  }

  /** From which disk to which other. */
  private record Switch(DiskMove move, Ref<VDI> made, GuestSpec.Disk before, GuestSpec.Disk next) {}

  private Guest guest(DiskMove.Running of) throws XenApiException, InterruptedException {
    try {
      Optional<Guest> found = hypervisor.find(of.vm());
      if (found.isPresent()) {
        return found.get();
      }
      throw ended(of);
    } catch (HypervisorException e) {
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
    }
  }

  private XenApiException ended(DiskMove.Running of) {
    String vm = database.snapshot().byUuid("VM", of.vm().toString()).map(Row::ref).orElse("");
    return new XenApiException("VM_BAD_POWER_STATE", vm, "running", "halted");
  }

  /**
   * Copies the disk and lets the guest go on with the copy; fails with the guest on the old one.
   */
  void copyAndSwitch(
      DiskMove move, Ref<VDI> made, GuestDiskCopy.Target target, Commit commit, Task task)
      throws XenApiException, InterruptedException {
    DiskMove.Running of = move.guest().orElseThrow();
    Guest guest = guest(of);
    GuestSpec.Disk before;
    try {
      before = disk(guest, of.device());
    } catch (HypervisorException e) {
      throw failed(of, e);
    }
    // So that its SR is not unplugged meanwhile.
    GuestSpec.Disk next = attach(move, made, before);
    // The permit comes first: who pauses must be able to resume.
    try (Gate.Permit mayRun = gate.enter(of.vm(), Operation.UNPAUSE);
        Gate.Permit mayPause = gate.enter(of.vm(), Operation.PAUSE);
        GuestDiskCopy copy = new GuestDiskCopy(engine, guest, of.device(), target)) {
      try {
        task.cancellable(true);
        copy.awaitConverged(task);
        switchTo(copy, guest, new Switch(move, made, before, next), commit, task);
      } catch (CopyException e) {
        task.throwIfCancelled();
        if (copy.guestEnded() || e.kind() == CopyException.Kind.CANCELLED) {
          throw ended(of).withCause(e);
        }
        storage.migrationDisks().checkRoom(List.of(move.to()));
        throw new XenApiException("VDI_COPY_FAILED", String.valueOf(e.getMessage())).withCause(e);
      } finally {
        task.cancellable(false);
      }
    } catch (HypervisorException e) {
      throw failed(of, e);
    }
  }

  private void switchTo(GuestDiskCopy copy, Guest guest, Switch to, Commit commit, Task task)
      throws XenApiException, CopyException, HypervisorException, InterruptedException {
    DiskMove.Running of = to.move().guest().orElseThrow();
    task.cancellable(true);
    awaitAlone(of, task);
    task.cancellable(false);
    notes.write(to.move().pausing());
    boolean same = false;
    try {
      guest.pause();
      requireStill(guest, of);
      copy.finish();
      storage.activate(to.made(), of.vm());
      same = true;
    } finally {
      if (!same) {
        goOn(guest);
      }
    }
    exchange(guest, to, commit);
  }

  /** A disk that the guest only reads is copied already. */
  void switchReader(DiskMove move, Ref<VDI> made, Commit commit)
      throws XenApiException, InterruptedException {
    DiskMove.Running of = move.guest().orElseThrow();
    Guest guest = guest(of);
    try {
      GuestSpec.Disk before = disk(guest, of.device());
      GuestSpec.Disk next = attach(move, made, before);
      storage.activate(made, of.vm());
      exchange(guest, new Switch(move, made, before, next), commit);
    } catch (HypervisorException e) {
      throw failed(of, e);
    }
  }

  private XenApiException failed(DiskMove.Running of, HypervisorException e) {
    return e.kind() == HypervisorException.Kind.GONE
        ? ended(of).withCause(e)
        : new XenApiException(
                "VDI_COPY_FAILED", "the guest does not take the new disk: " + e.getMessage())
            .withCause(e);
  }

  /**
   * A guest that is just being rebooted would run again while it is to stand still: so nothing else
   * may be done with the VM from now on.
   */
  private void awaitAlone(DiskMove.Running of, Task task)
      throws XenApiException, InterruptedException {
    Optional<Row> row = database.snapshot().byUuid("VM", of.vm().toString());
    if (row.isEmpty()) {
      throw ended(of);
    }
    Ref<VM> vm = new Ref<>(row.get().ref());
    while (!admission.alone(vm, VmOperations.POOL_MIGRATE, task.ref())) {
      task.throwIfCancelled();
      Thread.sleep(LOOK);
    }
  }

  /** Paused, or at its end: its process waits until we are done. */
  private static void requireStill(Guest guest, DiskMove.Running of)
      throws HypervisorException, InterruptedException {
    Guest.State state = guest.state();
    switch (state) {
      case PAUSED, SHUTDOWN, CRASHED -> {}
      case RUNNING, INCOMING, RECEIVED, PRE_SWITCHOVER, SENT, GONE ->
          throw new HypervisorException(
              state == Guest.State.GONE
                  ? HypervisorException.Kind.GONE
                  : HypervisorException.Kind.PROTOCOL,
              "the guest of VM " + of.vm() + " is " + state + " instead of paused");
    }
  }

  private static GuestSpec.Disk disk(Guest guest, String device) throws HypervisorException {
    return guest.hardware().spec().disks().stream()
        .filter(disk -> disk.device().equals(device))
        .findFirst()
        .orElseThrow(() ->
            new HypervisorException(
                HypervisorException.Kind.REFUSED, "the guest has no disk " + device));
  }

  private GuestSpec.Disk attach(DiskMove move, Ref<VDI> made, GuestSpec.Disk before)
      throws XenApiException {
    UUID vm = move.guest().orElseThrow().vm();
    Path image = storage.attach(made, vm, !before.readOnly());
    return new GuestSpec.Disk(
        before.device(),
        move.to(),
        image,
        GuestSpecs.format(image),
        before.readOnly(),
        before.serial());
  }

  /** Returns when the guest has the disk, for certain; fails when it has not, for certain. */
  private static void replace(Guest guest, GuestSpec.Disk next)
      throws HypervisorException, InterruptedException {
    try {
      guest.replaceImage(next);
    } catch (HypervisorException e) {
      log.warn("VM {}: it did not say which disk it has; it is asked", guest.vm(), e);
      if (!has(guest, next)) {
        throw e;
      }
    }
  }

  /** Asks until there is an answer, or nobody left to ask. */
  private static boolean has(Guest guest, GuestSpec.Disk disk)
      throws HypervisorException, InterruptedException {
    while (true) {
      try {
        return guest.image(disk.device()).equals(disk.file());
      } catch (HypervisorException e) {
        if (isGone(guest, e)) {
          throw new HypervisorException(
              HypervisorException.Kind.GONE, "the guest's process is gone", e);
        }
        log.warn("VM {}: which disk it has is still not known", guest.vm(), e);
        Thread.sleep(ASK_AGAIN);
      }
    }
  }

  private static boolean isGone(Guest guest, HypervisorException failure)
      throws InterruptedException {
    try {
      return failure.kind() == HypervisorException.Kind.GONE || guest.state() == Guest.State.GONE;
    } catch (HypervisorException e) {
      return e.kind() == HypervisorException.Kind.GONE;
    }
  }

  /**
   * Both disks are the same. A guest of which it cannot be known which disk it has stands still
   * until the next server has found out.
   */
  private static void exchange(Guest guest, Switch to, Commit commit)
      throws XenApiException, HypervisorException, InterruptedException {
    try {
      replace(guest, to.next());
    } catch (HypervisorException e) {
      goOn(guest);
      throw e;
    }
    boolean committed = false;
    try {
      commit.run();
      committed = true;
    } finally {
      if (!committed) {
        // Records that cannot follow are worse than a disk that has not moved.
        replace(guest, to.before());
        goOn(guest);
      }
    }
    goOn(guest);
  }

  /** A guest that does not answer is told again. */
  private static void goOn(Guest guest) throws InterruptedException {
    while (true) {
      try {
        if (guest.state() == Guest.State.PAUSED) {
          guest.resume();
        }
        return;
      } catch (HypervisorException e) {
        if (e.kind() == HypervisorException.Kind.REFUSED || isGone(guest, e)) {
          log.error("the guest of VM {} does not go on", guest.vm(), e);
          return;
        }
        log.warn("the guest of VM {} does not answer yet", guest.vm(), e);
        Thread.sleep(ASK_AGAIN);
      }
    }
  }

  /** Whether a guest has one of the disks, or may have it. */
  boolean mayUse(DiskMove move, UUID vdi) {
    if (move.guest().isEmpty()) {
      return false;
    }
    try {
      Optional<Guest> guest = hypervisor.find(move.guest().get().vm());
      if (guest.isEmpty() || guest.get().state() == Guest.State.GONE) {
        return false;
      }
      Path image = guest.get().image(move.guest().get().device());
      Optional<HostStorage.Place> place = storage.find(vdi);
      return place.isPresent() && image.equals(storage.image(vdi));
    } catch (HypervisorException | XenApiException e) {
      log.warn("which disk the guest of VM {} has is not known", move.guest().get().vm(), e);
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return true;
    }
  }

  /** Either disk tells, should the other one's SR not be attached. */
  private boolean isNew(DiskMove move, Path image) throws XenApiException {
    try {
      return image.equals(storage.image(move.to()));
    } catch (XenApiException e) {
      log.warn("VDI {} of a disk's move is not to be had", move.to(), e);
      return !image.equals(storage.image(move.from()));
    }
  }

  /**
   * After another server's death: lets the guest go on, if there is one, and finds out which disk
   * it has.
   *
   * @param recorded which one the database says: the new one
   * @param commit for a guest that has the new disk; may have been done
   * @return whether the move has happened
   * @throws XenApiException when that cannot be known: then nothing may be destroyed
   */
  boolean settle(DiskMove move, boolean recorded, Commit commit)
      throws XenApiException, InterruptedException {
    if (move.guest().isEmpty()) {
      return recorded;
    }
    DiskMove.Running of = move.guest().get();
    try {
      Optional<Guest> found = hypervisor.find(of.vm());
      if (found.isEmpty() || found.get().state() == Guest.State.GONE) {
        return recorded;
      }
      Guest guest = found.get();
      Path image = guest.image(of.device());
      Optional<HostStorage.Place> made = storage.find(move.to());
      boolean moved = made.isPresent() && isNew(move, image);
      if (moved) {
        commit.run();
        // It has it already: this is for the books of the SR, the guest's and ours.
        Ref<VDI> to = made.get().ref();
        GuestSpec.Disk now = attach(move, to, disk(guest, of.device()));
        storage.activate(to, of.vm());
        guest.replaceImage(now);
      } else if (recorded) {
        throw new XenApiException(
            "INTERNAL_ERROR",
            "VM " + of.vm() + " has " + image + ", which is not what is recorded");
      }
      // What the other server has left of its copy.
      guest.throttle(0);
      if (!disk(guest, of.device()).readOnly()) {
        guest.source(of.device()).close();
      }
      if (of.paused()) {
        try (Gate.Permit mayRun = gate.enter(of.vm(), Operation.UNPAUSE)) {
          goOn(guest);
        }
      }
      return moved;
    } catch (HypervisorException e) {
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
    }
  }
}
