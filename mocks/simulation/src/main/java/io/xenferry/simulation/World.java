package io.xenferry.simulation;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Two hosts, a network and one VM; the truth about its guest; and the invariants, which look at
 * guests and disks only.
 */
final class World {
  static final int DISKS = 2;
  static final int BLOCKS = 24;
  private static final Duration GUEST_TICK = Duration.ofMillis(40);

  /** While nothing moves: what a guest writes then is of no interest. */
  private static final Duration IDLE_TICK = Duration.ofMillis(400);

  final long seed;
  final SimulatedScheduler scheduler;
  final Random random;
  final Faults faults;
  final Variant variant;
  final List<SimHost> hosts = new ArrayList<>();
  final UUID vm;
  final Map<String, Integer> counts = new TreeMap<>();
  private final @Nullable List<String> trace;

  /** What the guest has written and been told is written. */
  final long[][] truth = new long[DISKS][BLOCKS];

  /** The last record that the guest has written. */
  long sequence;

  /** No process holds the guest's newest memory, through a fault and not through us. */
  boolean memoryLost;

  /** Sees each ledger record once it is durable; for directed scenarios. */
  java.util.function.BiConsumer<SimHost, String> onDurable = (host, what) -> {};

  /** Sees what befalls hosts and guests; for whoever compares a run with something else. */
  java.util.function.BiConsumer<SimHost, SimHost.Happening> onHappening = (host, what) -> {};

  /** Faults have stopped. */
  boolean quiet;

  private long cutUntil;

  /** Messages, effects and blocks on their way. */
  private int underWay;

  World(long seed, Faults faults, Variant variant, @Nullable List<String> trace) {
    this.seed = seed;
    this.scheduler = new SimulatedScheduler(seed);
    this.random = scheduler.random();
    this.faults = faults;
    this.variant = variant;
    this.trace = trace;
    this.vm = uuid();
    hosts.add(new SimHost(this, "A"));
    hosts.add(new SimHost(this, "B"));
  }

  UUID uuid() {
    return new UUID(
        (random.nextLong() & ~0xF000L) | 0x4000L, (random.nextLong() >>> 2) | 0x8000000000000000L);
  }

  boolean chance(double probability) {
    return probability > 0 && !quiet && random.nextDouble() < probability;
  }

  /** A few milliseconds. */
  Duration latency(int about) {
    return Duration.ofNanos((long) (about * 1_000_000L * (0.5 + random.nextDouble())));
  }

  /** Something that is on its way and comes about after the delay, whoever dies meanwhile. */
  void later(Duration delay, Runnable arrival) {
    underWay++;
    scheduler.schedule(
        delay,
        () -> {
          underWay--;
          arrival.run();
        });
  }

  /** Both servers are there, no migration goes on, and nothing that began one comes late. */
  boolean calm() {
    return underWay == 0 && hosts.stream().allMatch(host -> host.serverUp() && host.allEnded());
  }

  void count(String what) {
    counts.merge(what, 1, Integer::sum);
  }

  void trace(String line) {
    if (trace != null) {
      trace.add(String.format("%10.4f %s", scheduler.nanoTime() / 1e9, line));
    }
  }

  /** For what happens often: a line that nobody reads is not made. */
  void trace(Supplier<String> line) {
    if (trace != null) {
      trace(line.get());
    }
  }

  void cutNetwork(Duration duration) {
    count("network cuts");
    trace("the network is cut for " + duration.toMillis() + " ms");
    cutUntil = scheduler.nanoTime() + duration.toNanos();
  }

  boolean cut() {
    return !quiet && scheduler.nanoTime() < cutUntil;
  }

  SimHost host(String url) {
    return hosts.stream().filter(host -> host.url().equals(url)).findFirst().orElseThrow();
  }

  SimHost other(SimHost host) {
    return hosts.get(0) == host ? hosts.get(1) : hosts.get(0);
  }

  /** The guest writes its next record to a random place, if it runs anywhere. */
  void tick() {
    for (SimHost host : hosts) {
      SimGuest guest = host.guests.get(vm);
      if (guest != null && guest.state == GuestState.RUNNING) {
        int disk = random.nextInt(DISKS);
        int block = random.nextInt(BLOCKS);
        SimHost.Vdi vdi = host.diskOf(vm, disk);
        check(vdi != null, "a disk of the running guest exists", host.name);
        if (vdi == null) {
          return;
        }
        sequence++;
        guest.memory = sequence;
        truth[disk][block] = sequence;
        vdi.disk.guestWrite(block, sequence);
      }
    }
    scheduler.schedule(
        hosts.stream().allMatch(SimHost::allEnded) ? IDLE_TICK : GUEST_TICK, this::tick);
  }

  // ---- the invariants

  void check(boolean holds, String invariant, String detail) {
    if (!holds) {
      trace("VIOLATION: " + invariant + ": " + detail);
      throw new InvariantViolation(invariant + ": " + detail);
    }
  }

  /** Lets a guest run, wherever it is; everything that must hold then is checked here. */
  void run(SimHost host, SimGuest guest) {
    if (guest.state == GuestState.RUNNING) {
      return;
    }
    trace(host.name + ": the guest runs, memory " + guest.memory + " of " + sequence);
    SimGuest elsewhere = other(host).guests.get(vm);
    check(
        elsewhere == null || elsewhere.state != GuestState.RUNNING,
        "at most one side runs the guest",
        host.name + " runs it too");
    check(guest.memory == sequence, "the guest never goes back in time", host.name);
    for (int i = 0; i < DISKS; i++) {
      SimHost.Vdi vdi = host.diskOf(vm, i);
      check(vdi != null, "the guest's disks exist where it runs", host.name + " disk " + i);
      if (vdi != null) {
        check(
            vdi.disk.same(truth[i]),
            "the disks are complete where the guest runs",
            host.name + " disk " + i);
        check(!host.exported(vdi), "a disk that a guest has open is not exported", host.name);
      }
    }
    guest.state = GuestState.RUNNING;
    onHappening.accept(host, SimHost.Happening.GUEST_RUNS);
  }

  /** After something was destroyed: the VM must still be somewhere, whole. */
  void checkCompleteCopy(String after) {
    boolean complete = hosts.stream().anyMatch(this::complete);
    check(complete, "at least one complete copy exists", "after " + after);
  }

  private boolean complete(SimHost host) {
    for (int i = 0; i < DISKS; i++) {
      SimHost.Vdi vdi = host.diskOf(vm, i);
      if (vdi == null || !vdi.disk.same(truth[i])) {
        return false;
      }
    }
    return true;
  }

  /** After a guest's process ended by a command of ours. */
  void checkMemory(String after) {
    check(
        memoryLost || newestMemory(), "the guest's memory exists while it must", "after " + after);
  }

  /** After a guest's process ended by a fault. */
  void guestLost() {
    if (!newestMemory()) {
      memoryLost = true;
    }
  }

  /** A guest that died, whichever copy of it, may legitimately be halted afterwards. */
  void guestDied() {
    count("guest processes died");
    memoryLost = true;
  }

  private boolean newestMemory() {
    return hosts.stream()
        .map(host -> host.guests.get(vm))
        .anyMatch(guest ->
            guest != null && guest.state != GuestState.INCOMING && guest.memory == sequence);
  }
}
