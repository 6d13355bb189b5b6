package io.xenferry.server.migration;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.MemoryProgress;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.ports.RefusedException;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.Plan;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestAgent;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The guests of this host, as the source of a migration moves them. */
final class SourceGuests implements SourcePorts.Guests {
  private static final Logger log = LoggerFactory.getLogger(SourceGuests.class);

  /** The coordinator's own deadlines are shorter or equal; this only ends forgotten threads. */
  private static final Duration DEADLINE = Duration.ofHours(3);

  private static final Duration LOOK = Duration.ofMillis(10);

  /** Of the downtime, what the rest of the memory shall take at first: the disks need the rest. */
  private static final int MEMORY_SHARE = 5;

  /** How long a rest as small as that is waited for before a larger one is good enough. */
  private static final Duration PATIENCE = Duration.ofMillis(500);

  private static final Duration AGENT_DEADLINE = Duration.ofSeconds(10);

  private static final Duration STOPS = Duration.ofSeconds(30);

  private static final Sending ENDED = Sending.ended();

  private final GuestCalls guests;
  private final Duration downtime;
  private final MemoryRelay.Opener opener;
  private final BootAgain bootAgain;
  private final Map<UUID, Sending> sendings = new ConcurrentHashMap<>();
  private final Map<UUID, MemoryProgress> progress = new ConcurrentHashMap<>();

  /** Boots a guest again that has shut down for a warm move; blocking. */
  @FunctionalInterface
  interface BootAgain {
    void boot(UUID vm, boolean seenHere) throws Exception;
  }

  /**
   * @param downtime how long a guest may stand still for the rest of its memory, where its move
   *     does not say
   * @param opener opens the stream to the destination
   */
  SourceGuests(
      Hypervisor hypervisor, Duration downtime, MemoryRelay.Opener opener, BootAgain bootAgain) {
    this.bootAgain = bootAgain;
    this.guests = new GuestCalls(hypervisor);
    this.downtime = downtime;
    this.opener = opener;
  }

  @Override
  public CompletableFuture<GuestState> observe(UUID vm) {
    return Effects.call("observe " + vm, () -> guests.observe(vm));
  }

  @Override
  public CompletableFuture<GuestState> ended(UUID vm) {
    CompletableFuture<GuestState> ended = new CompletableFuture<>();
    Effects.run("watch " + vm, () -> watch(vm, ended))
        .exceptionally(failure -> {
          ended.completeExceptionally(failure);
          return null;
        });
    return ended;
  }

  private void watch(UUID vm, CompletableFuture<GuestState> ended) throws Exception {
    Optional<Guest> found = guests.find(vm);
    if (found.isEmpty()) {
      ended.complete(GuestState.GONE);
      return;
    }
    AutoCloseable watch = found.get().onChange(state -> tell(ended, state));
    ended.whenComplete((state, failure) -> {
      try {
        watch.close();
      } catch (Exception e) {
        log.warn("the guest of VM {} is watched for nobody", vm, e);
      }
    });
    // It may have ended before anybody listened.
    tell(ended, found.get().state());
  }

  private static void tell(CompletableFuture<GuestState> ended, Guest.State state) {
    GuestState seen = GuestCalls.seen(state);
    if (seen.ended()) {
      ended.complete(seen);
    }
  }

  /** Known from here on: whoever cancels later cancels this one, however late its thread runs. */
  @Override
  public CompletableFuture<Void> sendMemory(Plan plan, MemoryTarget target) {
    UUID vm = plan.vm();
    Sending sending = new Sending(MoveLimits.of(plan, downtime));
    Optional<Sending> before = Optional.ofNullable(sendings.put(vm, sending));
    return Effects.run(
        "send memory of " + vm,
        () -> {
          before.ifPresent(Sending::end);
          Guest guest = guests.get(vm);
          sending.begin(guest, () -> opener.open(target));
          awaitNearlySent(guest, sending);
        });
  }

  @Override
  public CompletableFuture<Void> limits(Plan plan) {
    Sending sending = current(plan.vm());
    MoveLimits limits = MoveLimits.of(plan, downtime);
    return Effects.run(
        "limit memory of " + plan.vm(), () -> sending.limit(guests.find(plan.vm()), limits));
  }

  private Guest.MemoryProgress note(Guest guest) throws HypervisorException, InterruptedException {
    Guest.MemoryProgress now = guest.memoryProgress();
    progress.put(guest.vm(), new MemoryProgress(now.sent(), now.remaining()));
    return now;
  }

  /** Of no consequence but for who looks at figures. */
  private void noteLast(Guest guest) throws InterruptedException {
    try {
      note(guest);
    } catch (HypervisorException e) {
      log.debug("how much memory was sent is not known", e);
    }
  }

  private void awaitNearlySent(Guest guest, Sending sending) throws Exception {
    long end = System.nanoTime() + DEADLINE.toNanos();
    Guest.MemoryProgress before = guest.memoryProgress();
    long since = System.nanoTime();
    while (true) {
      Thread.sleep(LOOK);
      sending.requireWhole();
      Guest.State state = guest.state();
      if (state == Guest.State.PRE_SWITCHOVER) {
        note(guest);
        // Nothing at all was left; QEMU then pauses the guest whatever its downtime limit says.
        return;
      }
      if (state != Guest.State.RUNNING && state != Guest.State.PAUSED) {
        throw new IOException("the guest is " + state + " while its memory is being sent");
      }
      Guest.MemoryProgress now = note(guest);
      double seconds = (System.nanoTime() - since) / 1e9;
      double rate = Math.max(0, now.sent() - before.sent()) / seconds;
      double allowed = sending.limits.downtime().toMillis() / 1e3;
      if (now.sent() > 0 && now.remaining() <= Math.max(1 << 20, rate * allowed)) {
        // What is still to be made ready may take a while, and the guest is to run meanwhile.
        sending.commandLast(guest::holdMemory);
        return;
      }
      if (System.nanoTime() - end > 0) {
        throw new IOException("the memory did not converge within " + DEADLINE);
      }
    }
  }

  @Override
  public CompletableFuture<Void> pause(Plan plan) {
    UUID vm = plan.vm();
    Duration allowed = MoveLimits.of(plan, downtime).downtime();
    Sending sending = current(vm);
    return Effects.run(
        "pause " + vm,
        () -> {
          Guest guest = guests.get(vm);
          Set<GuestState> paused = EnumSet.of(GuestState.PRE_SWITCHOVER, GuestState.SENT);
          sending.commandLast(() -> guest.pauseForSwitch(allowed.dividedBy(MEMORY_SHARE)));
          try {
            sending.await(guests, vm, paused, PATIENCE);
          } catch (HypervisorException e) {
            if (e.kind() != HypervisorException.Kind.TIMEOUT) {
              throw e;
            }
            sending.command(() -> guest.pauseForSwitch(allowed));
            sending.await(guests, vm, paused, Duration.ofSeconds(60));
          }
        });
  }

  @Override
  public CompletableFuture<Void> finishMemory(UUID vm) {
    Sending sending = current(vm);
    return Effects.run(
        "finish memory of " + vm,
        () -> {
          Guest guest = guests.get(vm);
          sending.command(guest::finishMemory);
          // The destination says itself when it has all of it.
          sending.await(guests, vm, EnumSet.of(GuestState.SENT), Duration.ofSeconds(60));
          noteLast(guest);
        });
  }

  /** What is being sent now; without any, one that takes no commands. */
  private Sending current(UUID vm) {
    return sendings.getOrDefault(vm, ENDED);
  }

  @Override
  public CompletableFuture<Void> cancelMemory(UUID vm) {
    Sending sending = current(vm);
    return Effects.run(
        "cancel memory of " + vm,
        () -> {
          sending.end();
          Optional<Guest> guest = guests.find(vm);
          if (guest.isPresent()) {
            guest.get().cancelSend();
          }
          sendings.remove(vm, sending);
        });
  }

  @Override
  public MemoryProgress memoryProgress(UUID vm) {
    return progress.getOrDefault(vm, MemoryProgress.NONE);
  }

  @Override
  public CompletableFuture<Void> shutDown(UUID vm, boolean byAgent) {
    return Effects.run(
        "ask " + vm + " to shut down",
        () -> {
          Guest guest = guests.get(vm);
          if (guest.state() == Guest.State.SHUTDOWN) {
            return;
          }
          Optional<GuestAgent> agent = byAgent ? guest.agent() : Optional.empty();
          if (agent.isPresent() && agent.get().present()) {
            agent.get().shutdown(AGENT_DEADLINE);
          } else {
            guest.shutdown();
          }
        });
  }

  @Override
  public CompletableFuture<Void> stop(UUID vm) {
    return Effects.run(
        "stop " + vm,
        () -> {
          guests.get(vm).pause();
          guests.await(vm, EnumSet.of(GuestState.PAUSED, GuestState.SHUTDOWN), STOPS);
        });
  }

  @Override
  public CompletableFuture<Void> boot(UUID vm, boolean seenHere) {
    return Effects.run("boot " + vm + " again", () -> bootAgain.boot(vm, seenHere));
  }

  @Override
  public CompletableFuture<Void> resume(UUID vm) {
    Sending sending = current(vm);
    return Effects.run(
        "resume " + vm,
        () -> {
          sending.end();
          Guest guest = guests.get(vm);
          guest.cancelSend();
          if (guest.state() != Guest.State.RUNNING) {
            guest.resume();
          }
        });
  }

  @Override
  public CompletableFuture<Void> destroy(UUID vm) {
    Sending sending = current(vm);
    return Effects.run(
        "destroy " + vm,
        () -> {
          sending.end();
          guests.destroy(vm);
          sendings.remove(vm, sending);
          progress.remove(vm);
        });
  }

  /**
   * One sending of a guest's memory. Its commands reach the guest one at a time, and none does once
   * {@link #end} has returned: a thread that comes late must not start or pause anything when the
   * guest has gone back to running for good.
   */
  private static final class Sending {
    private final ReentrantLock lock = new ReentrantLock();
    private volatile MoveLimits limits;
    private boolean begun;

    /** What the guest was told last is not to be undone by another limit. */
    private boolean beyondLimits;

    private boolean ended;
    private @Nullable MemoryRelay relay;

    Sending(MoveLimits limits) {
      this.limits = limits;
    }

    /** A command to the hypervisor; at most seconds, by the driver's own deadlines. */
    @FunctionalInterface
    interface Command {
      void run() throws Exception;
    }

    void command(Command command) throws Exception {
      lock.lock();
      try {
        requireGoingOn();
        command.run();
      } finally {
        lock.unlock();
      }
    }

    void begin(Guest guest, MemoryRelay.RemoteOpener opener) throws Exception {
      command(() -> {
        guest.cancelSend();
        MemoryRelay opened = MemoryRelay.listen(guest, opener);
        relay = opened;
        guest.sendMemory(opened.socket(), limits.bytesPerSecond());
        begun = true;
      });
    }

    /** A command after which limits are of no use any more. */
    void commandLast(Command command) throws Exception {
      command(() -> {
        beyondLimits = true;
        command.run();
      });
    }

    /** Does nothing for one that has ended, or is beyond limits. */
    void limit(Optional<Guest> guest, MoveLimits next) throws Exception {
      lock.lock();
      try {
        limits = next;
        if (begun && !beyondLimits && !ended && guest.isPresent()) {
          guest.get().limitMemory(next.bytesPerSecond());
        }
      } finally {
        lock.unlock();
      }
    }

    private void requireGoingOn() {
      if (ended) {
        throw new RefusedException("the sending of the memory has been ended");
      }
    }

    void requireWhole() throws IOException {
      Optional<IOException> failure;
      lock.lock();
      try {
        requireGoingOn();
        failure = Optional.ofNullable(relay).flatMap(MemoryRelay::failure);
      } finally {
        lock.unlock();
      }
      if (failure.isPresent()) {
        throw failure.get();
      }
    }

    /** Looks until the guest is in one of the states; one that was cancelled never will be. */
    void await(GuestCalls guests, UUID vm, Set<GuestState> wanted, Duration deadline)
        throws Exception {
      guests.await(vm, wanted, deadline, this::requireWhole);
    }

    /** Waits for a command under way, and lets none follow. */
    void end() {
      lock.lock();
      try {
        ended = true;
        if (relay != null) {
          relay.close();
        }
      } finally {
        lock.unlock();
      }
    }

    private static Sending ended() {
      Sending none = new Sending(new MoveLimits(Duration.ZERO, 0, 0));
      none.end();
      return none;
    }
  }
}
