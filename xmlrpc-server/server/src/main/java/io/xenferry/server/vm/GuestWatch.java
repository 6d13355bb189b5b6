package io.xenferry.server.vm;

import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Follows what guests do by themselves and keeps the records in step. A guest that ends is dealt
 * with as its VM's actions say, unless an operation on the VM is under way, which then sees it, or
 * its ownership is not settled.
 */
public final class GuestWatch {
  private static final Logger log = LoggerFactory.getLogger(GuestWatch.class);

  private static final Duration OPERATION_LOOK = Duration.ofMillis(200);

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final GuestRecords records;
  private final Predicate<UUID> migrating;
  private final AfterEnd afterEnd;
  private final Map<UUID, Guest> watched = new ConcurrentHashMap<>();
  private final List<Consumer<Guest>> followers = new CopyOnWriteArrayList<>();
  private final List<Consumer<Ref<VM>>> crashListeners = new CopyOnWriteArrayList<>();
  private final ReentrantLock ending = new ReentrantLock();

  /**
   * @param migrating whether the ledger has an unended row of a VM; its guest is then the
   *     coordinator's alone
   */
  GuestWatch(
      ObjectDatabase database,
      Hypervisor hypervisor,
      GuestRecords records,
      Predicate<UUID> migrating,
      AfterEnd afterEnd) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.records = records;
    this.migrating = migrating;
    this.afterEnd = afterEnd;
  }

  /** Calls somebody once for each guest that is followed from now on. */
  public void alsoFor(Consumer<Guest> follower) {
    followers.add(follower);
  }

  /** Tells of each VM whose guest has crashed while this server was there, once it is recorded. */
  public void onCrash(Consumer<Ref<VM>> listener) {
    crashListeners.add(listener);
  }

  /** After a start of the server: finds the guests, and brings every VM's record up to date. */
  void reconcileAll() throws HypervisorException, InterruptedException {
    for (Guest guest : hypervisor.guests()) {
      follow(guest);
    }
    for (Row row : database.snapshot().rows("VM")) {
      reconcile(new Ref<>(row.ref()), AfterEnd.Seen.LATER);
    }
  }

  /**
   * Brings the record of a VM up to date with its guest. One whose ownership the ledger has not
   * settled is left alone.
   */
  public void reconcile(Ref<VM> vm) {
    reconcile(vm, AfterEnd.Seen.AT_ONCE);
  }

  private void reconcile(Ref<VM> vm, AfterEnd.Seen seen) {
    try {
      Snapshot db = database.snapshot();
      if (db.row("VM", vm.opaque()).isEmpty()
          || db.get(vm, VM.IS_CONTROL_DOMAIN)
          || db.get(vm, VM.IS_A_TEMPLATE)
          || migrating.test(uuid(vm))) {
        return;
      }
      if (seen == AfterEnd.Seen.LATER && !db.get(vm, VM.CURRENT_OPERATIONS).isEmpty()) {
        // What goes on from a server before this one may be changing it just now.
        UUID uuid = uuid(vm);
        Thread.ofVirtual().name("look at the guest of " + uuid).start(() -> look(uuid));
        return;
      }
      Optional<Guest> guest = hypervisor.find(uuid(vm));
      Guest.State state = guest.isPresent() ? guest.get().state() : Guest.State.GONE;
      switch (state) {
        case RUNNING -> seenThere(vm, guest.orElseThrow(), VmPowerState.RUNNING);
        case SENT -> {
          if (db.get(vm, VM.POWER_STATE) == VmPowerState.SUSPENDED) {
            // A server died between the record and the end of the process; all is on the disk.
            guest.orElseThrow().destroy();
          } else {
            seenThere(vm, guest.orElseThrow(), VmPowerState.PAUSED);
          }
        }
        case PAUSED, PRE_SWITCHOVER, RECEIVED ->
            seenThere(vm, guest.orElseThrow(), VmPowerState.PAUSED);
        case INCOMING -> log.info("the guest of {} still waits for a memory stream", vm);
        case SHUTDOWN, CRASHED, GONE -> {
          if (ended(vm, guest, state, seen) == AfterEnd.Then.RESTART) {
            afterEnd.restart(vm);
          }
        }
      }
    } catch (XenApiException | HypervisorException e) {
      log.warn("the record of {} could not be brought up to date", vm, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void seenThere(Ref<VM> vm, Guest guest, VmPowerState seen) throws XenApiException {
    switch (database.snapshot().get(vm, VM.POWER_STATE)) {
      case HALTED, SUSPENDED -> records.running(vm, seen, guest);
      case RUNNING, PAUSED -> {
        records.state(vm, seen);
        records.align(vm, guest.hardware().spec());
      }
    }
  }

  /**
   * A move has come to nothing and the VM is this host's: if its guest ended meanwhile, it is dealt
   * with now, but for a restart, which waits until the operation is over. Its migration may still
   * be telling the destination.
   *
   * @param begunHere whether this server began the move; else the guest may have ended long ago,
   *     and the host been restarted in between
   */
  public void stayed(Ref<VM> vm, boolean begunHere) {
    try {
      if (database.snapshot().row("VM", vm.opaque()).isEmpty()) {
        return;
      }
      Optional<Guest> guest = hypervisor.find(uuid(vm));
      Guest.State state = guest.isPresent() ? guest.get().state() : Guest.State.GONE;
      AfterEnd.Seen seen = begunHere ? AfterEnd.Seen.AT_ONCE : AfterEnd.Seen.LATER;
      if (hasEnded(state) && ended(vm, guest, state, seen) == AfterEnd.Then.RESTART) {
        Thread.ofVirtual().name("restart of " + vm).start(() -> restartWhenFree(vm));
      }
    } catch (XenApiException | HypervisorException e) {
      log.warn("whether the guest of {} still runs is not known", vm, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void restartWhenFree(Ref<VM> vm) {
    try {
      awaitFree(vm);
      if (database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.HALTED) {
        afterEnd.restart(vm);
      }
    } catch (XenApiException e) {
      log.debug("{} is gone", vm, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void awaitFree(Ref<VM> vm) throws XenApiException, InterruptedException {
    while (!database.snapshot().get(vm, VM.CURRENT_OPERATIONS).isEmpty()) {
      Thread.sleep(OPERATION_LOOK);
    }
  }

  static boolean hasEnded(Guest.State state) {
    return switch (state) {
      case SHUTDOWN, CRASHED, GONE -> true;
      case RUNNING, PAUSED, INCOMING, RECEIVED, PRE_SWITCHOVER, SENT -> false;
    };
  }

  /** Records the end; what is left to be done. */
  private AfterEnd.Then ended(
      Ref<VM> vm, Optional<Guest> guest, Guest.State state, AfterEnd.Seen seen)
      throws XenApiException, HypervisorException, InterruptedException {
    // Two notices of one end must not lead to two restarts.
    ending.lockInterruptibly();
    try {
      VmPowerState recorded = database.snapshot().get(vm, VM.POWER_STATE);
      if (recorded != VmPowerState.RUNNING && recorded != VmPowerState.PAUSED) {
        if (guest.isPresent()) {
          guest.get().destroy();
        }
        return AfterEnd.Then.HALT;
      }
      AfterEnd.Then then = afterEnd.decide(vm, state, seen);
      if (then == AfterEnd.Then.PRESERVE && state == Guest.State.CRASHED) {
        records.state(vm, VmPowerState.PAUSED);
      } else {
        halt(vm, guest);
      }
      // A process that a new server does not find may have gone with its host.
      if (state == Guest.State.CRASHED
          || state == Guest.State.GONE && seen == AfterEnd.Seen.AT_ONCE) {
        crashListeners.forEach(listener -> listener.accept(vm));
      }
      return then;
    } finally {
      ending.unlock();
    }
  }

  private void halt(Ref<VM> vm, Optional<Guest> guest)
      throws XenApiException, HypervisorException, InterruptedException {
    if (guest.isPresent()) {
      guest.get().destroy();
    }
    VmPowerState recorded = database.snapshot().get(vm, VM.POWER_STATE);
    if (recorded == VmPowerState.RUNNING || recorded == VmPowerState.PAUSED) {
      records.gone(vm, VmPowerState.HALTED);
    }
  }

  /** Follows what the guest does by itself; repeating it is no error. */
  void follow(Guest guest) {
    if (watched.put(guest.vm(), guest) == guest) {
      return;
    }
    guest.onChange(state -> {
      if (state == Guest.State.GONE) {
        watched.remove(guest.vm(), guest);
      }
      if (hasEnded(state)) {
        Thread.ofVirtual().name("guest of " + guest.vm() + " ended").start(() -> look(guest.vm()));
      }
    });
    followers.forEach(follower -> follower.accept(guest));
  }

  private void look(UUID uuid) {
    Optional<Row> row = database.snapshot().byUuid("VM", uuid.toString());
    if (row.isEmpty()) {
      return;
    }
    Ref<VM> vm = new Ref<>(row.get().ref());
    try {
      // Whoever does something with the VM sees the end, too, and may have wanted it.
      awaitFree(vm);
      reconcile(vm);
    } catch (XenApiException e) {
      log.debug("{} is gone", vm, e);
    } catch (LedgerException e) {
      log.info("the end of {} is dealt with by the next server: {}", vm, e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** A VM that has just become this host's: records whether its guest runs, and follows it. */
  void arrived(Ref<VM> vm) throws XenApiException, HypervisorException, InterruptedException {
    Optional<Guest> guest = hypervisor.find(uuid(vm));
    Guest.State state = guest.isPresent() ? guest.get().state() : Guest.State.GONE;
    if (hasEnded(state)) {
      if (guest.isPresent()) {
        guest.get().destroy();
      }
      boolean suspended = database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.SUSPENDED;
      records.gone(vm, suspended ? VmPowerState.SUSPENDED : VmPowerState.HALTED);
    } else {
      records.running(
          vm,
          state == Guest.State.RUNNING ? VmPowerState.RUNNING : VmPowerState.PAUSED,
          guest.orElseThrow());
      follow(guest.orElseThrow());
    }
  }

  private UUID uuid(Ref<VM> vm) throws XenApiException {
    return UUID.fromString(database.snapshot().get(vm, VM.UUID));
  }
}
