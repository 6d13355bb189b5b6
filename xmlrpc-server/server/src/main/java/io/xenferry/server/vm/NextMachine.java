package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VbdType;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.vm.GuestSpecs.VmDisk;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.MachineOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The machine that a VM is to have from its next boot on: whether it is another one than its guest
 * has, and whether it can be had, which is found out before the guest is ended.
 */
final class NextMachine {
  private static final Logger log = LoggerFactory.getLogger(NextMachine.class);

  /** The one that the guest has. */
  static final Prepared THE_SAME =
      new Prepared() {
        @Override
        public boolean isAnother() {
          return false;
        }

        @Override
        public void close() {}
      };

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final VmDisks disks;
  private final HostMemory memory;
  private final BootFiles bootFiles;
  private final Predicate<UUID> migrating;

  /**
   * @param migrating whether the ledger has an unended row of a VM
   */
  NextMachine(
      ObjectDatabase database,
      Hypervisor hypervisor,
      VmDisks disks,
      HostMemory memory,
      BootFiles bootFiles,
      Predicate<UUID> migrating) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.disks = disks;
    this.memory = memory;
    this.bootFiles = bootFiles;
    this.migrating = migrating;
  }

  /** What the next boot needs: the memory and the new disks of another machine are kept for it. */
  interface Prepared extends AutoCloseable {
    /** Whether the machine is to be made anew. */
    boolean isAnother();

    /** From here on memory and disks are the VM's only as far as its records say so. */
    @Override
    void close();
  }

  /** Keeps with the VM, from its first start on, what its machine is; what is set stays. */
  void choose(Ref<VM> vm) throws XenApiException, HypervisorException, InterruptedException {
    Map<String, String> machine = hypervisor.newMachine();
    if (!database.snapshot().get(vm, VM.PLATFORM).keySet().containsAll(machine.keySet())) {
      database.change(tx -> {
        Map<String, String> platform = new LinkedHashMap<>(machine);
        platform.putAll(tx.get(vm, VM.PLATFORM));
        tx.set(vm, VM.PLATFORM, platform);
      });
    }
  }

  /**
   * Finds what a start would fail with, in the same way, and makes nothing.
   *
   * @throws XenApiException as {@link VmLifecycle#start}, {@link HypervisorException} likewise
   */
  void require(Ref<VM> vm) throws XenApiException, HypervisorException, InterruptedException {
    choose(vm);
    Snapshot db = database.snapshot();
    GuestSpecs.requireNewMachine(db, vm);
    GuestSpec spec =
        GuestSpecs.of(db, vm, (vdi, writable) -> Path.of(vdi.opaque()), bootFiles.untouched());
    Optional<String> refusal = hypervisor.refusal(spec.machine());
    if (refusal.isPresent()) {
      throw new XenApiException("INVALID_VALUE", "platform", refusal.get());
    }
  }

  /**
   * Finds out whether the VM's machine is to be made anew, and sees to it that it can be.
   *
   * @throws XenApiException as {@link VmLifecycle#start}, {@link HypervisorException} likewise: a
   *     machine that cannot be made must not end the one that there is
   */
  Prepared prepare(Ref<VM> vm, Guest guest)
      throws XenApiException, HypervisorException, InterruptedException {
    if (!isOutdated(vm, guest)) {
      return THE_SAME;
    }
    require(vm);
    Another another = new Another(vm, uuid(vm), memory.promise(vm));
    boolean prepared = false;
    try {
      another.attachNewDisks();
      prepared = true;
      return another;
    } finally {
      if (!prepared) {
        another.close();
      }
    }
  }

  /**
   * Whether the VM's machine is to be made anew when it reboots; never while it moves: whoever
   * moves it or its disks depends on its process.
   *
   * @throws XenApiException INVALID_VALUE, INVALID_DEVICE for what no machine can have
   */
  boolean isOutdated(Ref<VM> vm, Guest guest) throws XenApiException {
    return !moves(vm) && (lacksDrives(vm, guest) || hasOtherOptions(vm, guest));
  }

  private boolean hasOtherOptions(Ref<VM> vm, Guest guest) throws XenApiException {
    try {
      return !MachineOptions.of(database.snapshot().get(vm, VM.PLATFORM))
          .equals(guest.hardware().spec().machine().options());
    } catch (HypervisorException e) {
      throw VmLifecycle.failed(e);
    }
  }

  private boolean moves(Ref<VM> vm) throws XenApiException {
    Snapshot db = database.snapshot();
    return migrating.test(uuid(vm))
        || db.get(vm, VM.CURRENT_OPERATIONS).containsValue(VmOperations.MIGRATE_SEND)
        || db.get(vm, VM.CURRENT_OPERATIONS).containsValue(VmOperations.POOL_MIGRATE);
  }

  /**
   * Whether the VM has CD drives that its machine has not: none can be added to one that is.
   *
   * @throws XenApiException INVALID_DEVICE for one that no machine has a place for
   */
  private boolean lacksDrives(Ref<VM> vm, Guest guest) throws XenApiException {
    Snapshot db = database.snapshot();
    Set<String> there =
        guest.hardware().spec().drives().stream()
            .map(GuestSpec.CdDrive::device)
            .collect(Collectors.toSet());
    boolean lacks = false;
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      if (db.get(vbd, VBD.TYPE) == VbdType.CD) {
        lacks |= !there.contains(GuestSpecs.drive(db, vbd));
      }
    }
    return lacks;
  }

  private UUID uuid(Ref<VM> vm) throws XenApiException {
    return UUID.fromString(database.snapshot().get(vm, VM.UUID));
  }

  /** One that is to be made. */
  private final class Another implements Prepared {
    private final Ref<VM> vm;
    private final UUID uuid;
    private final HostMemory.Promise promise;
    private final List<VmDisk> attached = new ArrayList<>();

    Another(Ref<VM> vm, UUID uuid, HostMemory.Promise promise) {
      this.vm = vm;
      this.uuid = uuid;
      this.promise = promise;
    }

    /** Those that the guest has not yet. */
    void attachNewDisks() throws XenApiException {
      Snapshot db = database.snapshot();
      for (VmDisk disk : GuestSpecs.disks(db, vm)) {
        if (!db.get(disk.vbd(), VBD.CURRENTLY_ATTACHED)) {
          DiskSharing.check(db, disk.vbd());
          attached.add(disk);
          disks.attach(disk.vdi(), uuid, disk.writable());
        }
      }
    }

    @Override
    public boolean isAnother() {
      return true;
    }

    @Override
    public void close() {
      try {
        attached.forEach(this::giveBack);
      } finally {
        promise.close();
      }
    }

    private void giveBack(VmDisk disk) {
      try {
        if (!isUsed(disk.vdi())) {
          disks.detach(disk.vdi(), uuid);
        }
      } catch (XenApiException | RuntimeException e) {
        log.warn("disk {} of {} could not be given back", disk.vdi(), vm, e);
      }
    }

    /** By any drive of the VM: to the disk's SR they are one. */
    private boolean isUsed(Ref<VDI> vdi) throws XenApiException {
      Snapshot db = database.snapshot();
      if (db.row("VDI", vdi.opaque()).isEmpty()) {
        return false;
      }
      for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
        if (db.get(vbd, VBD.VM).equals(vm) && db.get(vbd, VBD.CURRENTLY_ATTACHED)) {
          return true;
        }
      }
      return false;
    }
  }
}
