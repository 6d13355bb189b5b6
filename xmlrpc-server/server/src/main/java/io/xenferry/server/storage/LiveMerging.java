package io.xenferry.server.storage;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.Tasks;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.StillDisks;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.StorageRepository;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Merges images that nobody needs any more below the disks of running guests, one merge at a time
 * on this host. It gives way to whoever wants one of the disks, and to operations on their VM.
 */
public final class LiveMerging implements StillDisks, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(LiveMerging.class);

  /** In an SR's other_config, as published: {@code false} leaves images as they are. */
  private static final String COALESCE_KEY = "coalesce";

  /** In an SR's other_config: bytes per second; 0 for no limit. */
  private static final String BANDWIDTH_KEY = "xenferry:merge-bandwidth";

  /** Reads and writes of a merge are some tenth of what one SATA disk does. */
  private static final long BANDWIDTH = 32L << 20;

  /** What nobody tells of is seen in this time. */
  private static final Duration LOOK = Duration.ofSeconds(30);

  private static final Duration PATIENCE = Duration.ofSeconds(60);

  /** For whom it was given up to go first. */
  private static final Duration GIVE_WAY = Duration.ofMillis(200);

  /** After a merge that failed, or that somebody cancelled. */
  private static final Duration BACK_OFF = Duration.ofMinutes(10);

  private final ObjectDatabase database;
  private final HostStorage storage;
  private final Hypervisor hypervisor;
  private final Gate gate;
  private final Tasks tasks;
  private final Predicate<UUID> moving;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Map<Ref<VM>, Integer> kept = new HashMap<>();
  private @Nullable Ref<VM> current;
  private boolean woken;
  private volatile boolean closed;
  private Optional<Thread> thread = Optional.empty();

  /** When to try a disk again, by the nanosecond clock; only the thread's. */
  private final Map<Ref<VDI>, Long> notBefore = new HashMap<>();

  /**
   * @param moving whether a VM moves, or what its move has left here is still being removed
   */
  public LiveMerging(
      ObjectDatabase database,
      HostStorage storage,
      Hypervisor hypervisor,
      Gate gate,
      Tasks tasks,
      Predicate<UUID> moving) {
    this.database = database;
    this.storage = storage;
    this.hypervisor = hypervisor;
    this.gate = gate;
    this.tasks = tasks;
    this.moving = moving;
  }

  /** Begins to merge; what a server before this one has left is settled. */
  public void start() {
    storage.mux().onMergeable(this::wake);
    thread = Optional.of(Thread.ofVirtual().name("merges under guests").start(this::work));
  }

  /** Looks soon whether there is something to merge. Any thread; returns at once. */
  public void wake() {
    // Called with locks of SRs held, which the thread wants while it holds none of ours.
    lock.lock();
    try {
      woken = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public VmAdmission.InProgress keep(Ref<VM> vm) throws XenApiException {
    lock.lock();
    try {
      kept.merge(vm, 1, Integer::sum);
      boolean free = false;
      try {
        long nanos = PATIENCE.toNanos();
        while (vm.equals(current)) {
          if (nanos <= 0) {
            throw new XenApiException(
                "OTHER_OPERATION_IN_PROGRESS",
                "VM",
                vm.opaque(),
                "coalesce",
                "images of its disks are being merged");
          }
          nanos = changed.awaitNanos(nanos);
        }
        free = true;
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new XenApiException("TASK_CANCELLED", vm.opaque()).withCause(e);
      } finally {
        if (!free) {
          release(vm);
        }
      }
    } finally {
      lock.unlock();
    }
    return () -> release(vm);
  }

  private void release(Ref<VM> vm) {
    lock.lock();
    try {
      kept.computeIfPresent(vm, (key, count) -> count == 1 ? null : count - 1);
      woken = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void free(Ref<VM> vm) {
    wake();
  }

  private boolean isKept(Ref<VM> vm) {
    lock.lock();
    try {
      return kept.containsKey(vm);
    } finally {
      lock.unlock();
    }
  }

  /** Gives up what is under way; guests go on with the images that they have. */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    try {
      if (thread.isPresent() && !thread.get().join(PATIENCE)) {
        log.warn("a merge of images is left to the next server");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void work() {
    try {
      while (!closed) {
        try {
          settleLeft();
          while (!closed && mergeOne()) {
            log.debug("looking for more");
          }
        } catch (XenApiException | SmapiException | RuntimeException e) {
          log.warn("images under guests stay as they are for now", e);
        }
        awaitWoken();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void awaitWoken() throws InterruptedException {
    lock.lock();
    try {
      long nanos = LOOK.toNanos();
      while (!woken && !closed && nanos > 0) {
        nanos = changed.awaitNanos(nanos);
      }
      woken = false;
    } finally {
      lock.unlock();
    }
  }

  // ---- what is there to be merged

  private boolean mergeOne() throws XenApiException, SmapiException, InterruptedException {
    Snapshot db = database.snapshot();
    for (Row row : db.rows("VM")) {
      Ref<VM> vm = new Ref<>(row.ref());
      if (db.get(vm, VM.POWER_STATE) == VmPowerState.RUNNING
          && db.get(vm, VM.CURRENT_OPERATIONS).isEmpty()) {
        for (GuestSpecs.VmDisk disk : GuestSpecs.disks(db, vm)) {
          if (isEligible(db, disk) && merge(db, vm, disk)) {
            return true;
          }
        }
      }
    }
    return false;
  }

  private boolean isEligible(Snapshot db, GuestSpecs.VmDisk disk) throws XenApiException {
    Ref<SR> sr = db.get(disk.vdi(), VDI.SR);
    Long next = notBefore.get(disk.vdi());
    return disk.writable()
        && !disk.cd()
        && db.get(disk.vbd(), VBD.CURRENTLY_ATTACHED)
        && (next == null || System.nanoTime() - next > 0)
        && !"false".equals(db.get(sr, SR.OTHER_CONFIG).get(COALESCE_KEY))
        && storage.mux().list().contains(db.get(sr, SR.UUID));
  }

  private boolean merge(Snapshot db, Ref<VM> vm, GuestSpecs.VmDisk disk)
      throws XenApiException, SmapiException, InterruptedException {
    lock.lock();
    try {
      if (kept.containsKey(vm)) {
        return false;
      }
      current = vm;
    } finally {
      lock.unlock();
    }
    try {
      UUID uuid = UUID.fromString(db.get(vm, VM.UUID));
      Optional<Gate.Permit> permit = permit(uuid);
      if (permit.isEmpty()) {
        return false;
      }
      try (Gate.Permit held = permit.get()) {
        // The copy may still read the disk, and its snapshots may still be there.
        return !moving.test(uuid) && merge(uuid, vm, disk);
      }
    } finally {
      lock.lock();
      try {
        current = null;
        changed.signalAll();
      } finally {
        lock.unlock();
      }
    }
  }

  /** As long as it is held no migration of the VM begins; empty while there is one. */
  private Optional<Gate.Permit> permit(UUID vm) {
    try {
      return Optional.of(gate.enter(vm, Operation.CHANGE_DEVICE));
    } catch (XenApiException e) {
      log.debug("disks of VM {} are left alone: {}", vm, e.getMessage());
      return Optional.empty();
    }
  }

  private boolean merge(UUID uuid, Ref<VM> vm, GuestSpecs.VmDisk disk)
      throws XenApiException, SmapiException, InterruptedException {
    Snapshot db = database.snapshot();
    Ref<SR> sr = db.get(disk.vdi(), VDI.SR);
    Optional<Guest> guest = find(uuid);
    if (guest.isEmpty()) {
      return false;
    }
    Optional<StorageRepository.GuestMerge> begun =
        storage
            .mux()
            .repository(db.get(sr, SR.UUID))
            .beginGuestMerge(db.get(disk.vdi(), VDI.LOCATION));
    if (begun.isEmpty()) {
      return false;
    }
    Task task =
        tasks.start(
            "SR.coalesce",
            "Merging images of VDI " + db.get(disk.vdi(), VDI.UUID),
            Ref.nullRef(),
            "",
            Ref.nullRef(),
            true);
    LiveMerge merge = new LiveMerge(begun.get(), disk.device(), guest.get());
    long limit = bandwidth(db.get(sr, SR.OTHER_CONFIG));
    try {
      boolean merged = merge.run(limit, task, () -> closed || isKept(vm));
      task.cancellable(false);
      if (merged) {
        log.info("{} is part of {} now", begun.get().upper(), begun.get().lower());
        refresh(sr);
        tasks.succeed(task.ref(), "");
        return true;
      }
      if (task.cancelled()) {
        backOff(disk);
      }
      tasks.fail(task.ref(), new XenApiException("TASK_CANCELLED", task.ref()));
      Thread.sleep(GIVE_WAY);
    } catch (HypervisorException | SmapiException e) {
      log.info("{} stays for now: {}", begun.get().upper(), e.getMessage());
      backOff(disk);
      tasks.fail(task.ref(), new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())));
    }
    return false;
  }

  private void refresh(Ref<SR> sr) {
    try {
      storage.use().ofAllIn(sr);
    } catch (XenApiException e) {
      log.warn("what disks of {} take up now is not recorded", sr, e);
    }
  }

  private Optional<Guest> find(UUID vm) throws InterruptedException {
    try {
      return hypervisor.find(vm);
    } catch (HypervisorException e) {
      log.info("the guest of VM {} cannot be asked now: {}", vm, e.getMessage());
      return Optional.empty();
    }
  }

  private void backOff(GuestSpecs.VmDisk disk) {
    notBefore.values().removeIf(time -> System.nanoTime() - time > 0);
    notBefore.put(disk.vdi(), System.nanoTime() + BACK_OFF.toNanos());
  }

  private static long bandwidth(Map<String, String> config) {
    try {
      return Math.max(
          0, Long.parseLong(config.getOrDefault(BANDWIDTH_KEY, Long.toString(BANDWIDTH))));
    } catch (NumberFormatException e) {
      log.warn("other_config:{} of an SR is no number", BANDWIDTH_KEY);
      return BANDWIDTH;
    }
  }

  // ---- what is left over

  /** After another server's death: asks the guests, before anything is done with their disks. */
  public void recover() throws InterruptedException {
    try {
      settleLeft();
    } catch (XenApiException | SmapiException e) {
      log.error("merges of images that were interrupted are not ended now", e);
    }
  }

  /** None is under way here when this is called. */
  private void settleLeft() throws XenApiException, SmapiException, InterruptedException {
    for (String sr : storage.mux().list()) {
      for (StorageRepository.GuestMerge left : storage.mux().repository(sr).guestMerges()) {
        try {
          settle(sr, left);
        } catch (HypervisorException e) {
          log.error("{} cannot be ended now; both images are kept", left.upper(), e);
        }
      }
    }
  }

  private void settle(String sr, StorageRepository.GuestMerge left)
      throws XenApiException, SmapiException, HypervisorException, InterruptedException {
    Snapshot db = database.snapshot();
    Ref<SR> ref = storage.sr(sr);
    boolean merged = false;
    boolean known = false;
    boolean asked = false;
    for (Ref<VDI> vdi : db.get(ref, SR.VDIS)) {
      if (db.get(vdi, VDI.LOCATION).equals(left.vdi())) {
        known = true;
        for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
          UUID vm = UUID.fromString(db.get(db.get(vbd, VBD.VM), VM.UUID));
          String device = GuestSpecs.device(db.get(vbd, VBD.DEVICE), db.get(vbd, VBD.USERDEVICE));
          Optional<Guest> guest = hypervisor.find(vm);
          if (guest.isPresent() && guest.get().devices().contains(device)) {
            merged = new LiveMerge(left, device, guest.get()).settle();
            asked = true;
          }
        }
      }
    }
    if (!known) {
      throw new HypervisorException(
          HypervisorException.Kind.REFUSED, "it is not known which guest has VDI " + left.vdi());
    }
    if (!asked) {
      merged = LiveMerge.settleWithoutGuest(left);
    }
    log.info("a merge of {} was interrupted: it is {}", left.upper(), merged ? "done" : "undone");
    refresh(ref);
  }
}
