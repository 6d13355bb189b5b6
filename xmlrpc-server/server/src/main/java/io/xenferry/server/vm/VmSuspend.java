package io.xenferry.server.vm;

import io.xenferry.block.BlockBackend;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs.VmDisk;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Puts a guest's memory on a disk and lets it go on from there.
 *
 * <p>Suspending: the guest is paused, its memory sent to a socket of this server and from there to
 * the disk; only when all of it is there with its checksum is the VM recorded as suspended, and
 * only then does its process end. Whatever fails before leaves the guest running. Resuming: the
 * disk's content is checked first; once the guest's process has all of it, the VM is recorded as
 * paused and without that disk, so that it can never go on from there twice, and only then does it
 * run. Whatever fails before leaves the disk.
 */
public final class VmSuspend {
  private static final Logger log = LoggerFactory.getLogger(VmSuspend.class);

  private static final Duration SETTLE = Duration.ofMinutes(2);
  private static final Duration LOOK = Duration.ofMillis(20);

  /** In the notes of a resuming's task: the guest is not to run. */
  static final String START_PAUSED = "start_paused";

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final Gate gate;
  private final VmDisks disks;
  private final DiskMaker maker;
  private final VmAdmission admission;
  private final VmLifecycle lifecycle;
  private final GuestMemory memory;

  public VmSuspend(
      ObjectDatabase database,
      Hypervisor hypervisor,
      Gate gate,
      VmDisks disks,
      DiskMaker maker,
      VmAdmission admission,
      VmLifecycle lifecycle,
      GuestMemory memory) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.gate = gate;
    this.disks = disks;
    this.maker = maker;
    this.admission = admission;
    this.lifecycle = lifecycle;
    this.memory = memory;
  }

  /**
   * @throws XenApiException VM_NO_SUSPEND_SR, SR_FULL and what else the SR driver says,
   *     VM_SUSPEND_TIMEOUT, VM_FAILED_SUSPEND_ACKNOWLEDGMENT when the hypervisor does not do it
   */
  public void suspend(Ref<VM> vm, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    UUID uuid = UUID.fromString(db.get(vm, VM.UUID));
    try (var operation = admission.begin(vm, VmOperations.SUSPEND, task);
        Gate.Permit permit = gate.enter(uuid, Operation.PAUSE)) {
      Guest guest = guest(vm, uuid);
      Ref<SR> sr = memory.suspendSr(vm);
      discard(vm);
      Ref<VDI> vdi = memory.create(sr, guest, 1);
      database.change(tx -> tx.set(vm, VM.SUSPEND_VDI, vdi));
      try {
        guest.pause();
        memory.save(guest, vdi, () -> {}, () -> {});
      } catch (XenApiException e) {
        discard(vm);
        throw e;
      } catch (IOException | HypervisorException | InterruptedException | RuntimeException e) {
        discard(vm);
        throw failed(vm, e);
      }
      lifecycle.records().gone(vm, VmPowerState.SUSPENDED);
      end(guest);
    } catch (HypervisorException | InterruptedException e) {
      throw failed(vm, e);
    }
  }

  private static XenApiException failed(Ref<VM> vm, Exception e) {
    if (e instanceof InterruptedException) {
      Thread.currentThread().interrupt();
    }
    log.warn("{} is not suspended", vm, e);
    boolean late =
        e instanceof HypervisorException h && h.kind() == HypervisorException.Kind.TIMEOUT;
    return (late
            ? new XenApiException(
                "VM_SUSPEND_TIMEOUT", vm.opaque(), Long.toString(GuestMemory.DEADLINE.toSeconds()))
            : new XenApiException("VM_FAILED_SUSPEND_ACKNOWLEDGMENT", vm.opaque()))
        .withCause(e);
  }

  /** The image is complete: a process that does not end now is ended by the next look at it. */
  private static void end(Guest guest) throws InterruptedException {
    try {
      guest.destroy();
    } catch (HypervisorException e) {
      log.warn("the process of the suspended VM {} did not end", guest.vm(), e);
    }
  }

  /**
   * @throws XenApiException HOST_NOT_ENOUGH_FREE_MEMORY, INVALID_VALUE, VM_HAS_NO_SUSPEND_VDI,
   *     SUSPEND_IMAGE_NOT_ACCESSIBLE when the image is damaged or does not fit the VM any more,
   *     what the SR driver or the hypervisor says
   */
  public void resume(Ref<VM> vm, boolean paused, Task task) throws XenApiException {
    Snapshot db = database.snapshot();
    UUID uuid = UUID.fromString(db.get(vm, VM.UUID));
    if (paused) {
      task.note(START_PAUSED, "true");
    }
    try (var operation = admission.begin(vm, VmOperations.RESUME, task.ref());
        Gate.Permit permit = gate.enter(uuid, Operation.RESUME);
        HostMemory.Promise promise = lifecycle.memory().promise(vm)) {
      Ref<VDI> vdi = database.snapshot().get(vm, VM.SUSPEND_VDI);
      if (vdi.isNull() || db.row("VDI", vdi.opaque()).isEmpty()) {
        throw new XenApiException("VM_HAS_NO_SUSPEND_VDI", vm.opaque());
      }
      Guest guest = restore(vm, uuid, vdi);
      lifecycle.records().running(vm, VmPowerState.PAUSED, guest);
      database.change(tx -> tx.set(vm, VM.SUSPEND_VDI, Ref.nullRef()));
      lifecycle.watch().follow(guest);
      destroy(vdi);
      if (!paused) {
        guest.resume();
        lifecycle.records().state(vm, VmPowerState.RUNNING);
      }
    } catch (HypervisorException e) {
      throw VmLifecycle.failed(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
    }
  }

  private Guest restore(Ref<VM> vm, UUID uuid, Ref<VDI> vdi)
      throws XenApiException, HypervisorException, InterruptedException {
    List<VmDisk> attached = new ArrayList<>();
    Optional<Guest> started = Optional.empty();
    boolean done = false;
    try (BlockBackend disk = maker.open(vdi, false)) {
      SuspendImage.Opened image = SuspendImage.open(disk);
      image.verify();
      Snapshot db = database.snapshot();
      for (VmDisk one : GuestSpecs.disks(db, vm)) {
        DiskSharing.check(db, one.vbd());
        attached.add(one);
        disks.attach(one.vdi(), uuid, one.writable());
        disks.activate(one.vdi(), uuid);
      }
      GuestSpec spec = image.shape().applyTo(lifecycle.resuming(vm, image.shape().machine()));
      Guest guest = hypervisor.startIncoming(spec);
      started = Optional.of(guest);
      try (SocketChannel stream =
          SocketChannel.open(UnixDomainSocketAddress.of(guest.incomingSocket()))) {
        OutputStream out = Channels.newOutputStream(stream);
        image.copyTo(out);
        stream.shutdownOutput();
        awaitReceived(guest);
      }
      guest.activate();
      done = true;
      return guest;
    } catch (IOException e) {
      log.warn("{} cannot go on from its memory", vm, e);
      throw new XenApiException("SUSPEND_IMAGE_NOT_ACCESSIBLE", vdi.opaque()).withCause(e);
    } finally {
      if (!done) {
        if (started.isPresent()) {
          started.get().destroy();
        }
        lifecycle.records().giveBack(vm, attached);
      }
    }
  }

  private static void awaitReceived(Guest guest)
      throws IOException, HypervisorException, InterruptedException {
    long end = System.nanoTime() + SETTLE.toNanos();
    Guest.State state = guest.state();
    while (state != Guest.State.RECEIVED) {
      if (GuestWatch.hasEnded(state)) {
        throw new IOException("the hypervisor refuses the guest's memory");
      }
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            HypervisorException.Kind.TIMEOUT, "the guest is " + state + " after " + SETTLE);
      }
      Thread.sleep(LOOK);
      state = guest.state();
    }
  }

  /** Gives the memory of a suspended VM up. */
  void discard(Ref<VM> vm) throws XenApiException {
    Ref<VDI> vdi = database.snapshot().get(vm, VM.SUSPEND_VDI);
    if (!vdi.isNull()) {
      database.change(tx -> tx.set(vm, VM.SUSPEND_VDI, Ref.nullRef()));
      // A client may have destroyed it.
      if (database.snapshot().row("VDI", vdi.opaque()).isPresent()) {
        destroy(vdi);
      }
    }
  }

  /** Hard shutdown of a suspended VM: it is halted, and what it had not saved is lost. */
  public void shutDown(Ref<VM> vm, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    try (var operation = admission.begin(vm, VmOperations.HARD_SHUTDOWN, task);
        Gate.Permit permit =
            gate.enter(UUID.fromString(db.get(vm, VM.UUID)), Operation.DESTROY_DISK)) {
      discard(vm);
      lifecycle.records().state(vm, VmPowerState.HALTED);
    }
  }

  private void destroy(Ref<VDI> vdi) {
    try {
      maker.destroy(vdi);
    } catch (XenApiException e) {
      log.warn("the suspend image {} is left behind", vdi, e);
    }
  }

  private Guest guest(Ref<VM> vm, UUID uuid)
      throws XenApiException, HypervisorException, InterruptedException {
    return hypervisor
        .find(uuid)
        .orElseThrow(
            () -> new XenApiException("VM_BAD_POWER_STATE", vm.opaque(), "running", "halted"));
  }
}
