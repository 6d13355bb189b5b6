package io.xenferry.simulation;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.State;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Two hosts, a network and one VM; the truth about its guest; and the invariants, which look at
 * guests and disks only.
 */
final class World {
  /** While nothing moves: what a guest writes then is of no interest. */
  private static final Duration IDLE_TICK = Duration.ofMillis(400);

  final long seed;
  final SimulatedScheduler scheduler;
  final Random random;
  final Faults faults;
  final Variant variant;
  final List<SimHost> hosts = new ArrayList<>();
  final Scale scale;
  final List<SimVm> vms = new ArrayList<>();

  /** The first VM, which faults happen to. */
  final SimVm first;

  /** Its uuid. */
  final UUID vm;

  /** Whether invariants are looked at: not where time is measured. */
  boolean inspecting = true;

  /** Whether all moves go through their host's queue. */
  boolean placesCount;

  final Map<String, Integer> counts = new TreeMap<>();
  private final @Nullable List<String> trace;

  /** Sees each ledger record once it is durable; for directed scenarios. */
  java.util.function.BiConsumer<SimHost, String> onDurable = (host, what) -> {};

  /** Sees what befalls hosts and guests; for whoever compares a run with something else. */
  java.util.function.BiConsumer<SimHost, SimHost.Happening> onHappening = (host, what) -> {};

  /** Faults have stopped. */
  boolean quiet;

  final Coverage coverage = new Coverage();

  /** What is aimed at a state; null for none. */
  @Nullable Aim aim;

  /** What befalls a ledger; null for nothing. */
  @Nullable ReplacedLedger replacement;

  /** A ledger was replaced: who has the VM may be for an operator to say. */
  boolean operated;

  /** Faults that the next message, effect or block meets. */
  private final EnumSet<Fault> next = EnumSet.noneOf(Fault.class);

  private long slowUntil;

  private @Nullable InvariantViolation violation;

  private long cutUntil;

  /** Commits that have been looked at. */
  private final Set<String> committed = new HashSet<>();

  /** Messages, effects and blocks on their way. */
  private int underWay;

  private long messages;

  /** By how much each message takes longer. */
  Duration slowMessages = Duration.ZERO;

  World(long seed, Faults faults, Variant variant, @Nullable List<String> trace) {
    this(seed, faults, variant, trace, Scale.SMALL);
  }

  World(long seed, Faults faults, Variant variant, @Nullable List<String> trace, Scale scale) {
    this.seed = seed;
    this.scheduler = new SimulatedScheduler(seed);
    this.random = scheduler.random();
    this.faults = faults;
    this.variant = variant;
    this.trace = trace;
    this.scale = scale;
    for (int i = 0; i < scale.vms(); i++) {
      vms.add(new SimVm(uuid(), scale.disks(), scale.blocks()));
    }
    this.first = vms.getFirst();
    this.vm = first.uuid;
    hosts.add(new SimHost(this, "A"));
    hosts.add(new SimHost(this, "B"));
  }

  UUID uuid() {
    return new UUID(
        (random.nextLong() & ~0xF000L) | 0x4000L, (random.nextLong() >>> 2) | 0x8000000000000000L);
  }

  /** Whether a fault comes about now, by its rate. */
  boolean chance(Fault fault) {
    double probability = faults.rate(fault);
    return probability > 0 && !quiet && random.nextDouble() < probability;
  }

  /** Whether a fault comes about now, by its rate or because it was asked for. */
  boolean due(Fault fault) {
    boolean asked = !quiet && next.remove(fault);
    return asked || chance(fault);
  }

  /** Whether a fault comes about now, which then counts for a migration's states. */
  boolean due(Fault fault, MigrationId migration) {
    boolean due = due(fault);
    if (due) {
      met(fault, migration);
    }
    return due;
  }

  /** The next message, effect or block meets a fault. */
  void next(Fault fault) {
    next.add(fault);
  }

  /** A fault counts for all migrations there are. */
  void met(Fault fault) {
    hosts.forEach(host -> host.ledgerDisk.unended().forEach(row -> hit(row, fault)));
  }

  /**
   * A ledger that was put back does not say how it stands. It is the first VM's states that count;
   * and beside another VM nobody says whose copy met a fault.
   */
  private void hit(LedgerRow row, Fault fault) {
    boolean unclear = vms.size() > 1 && Coverage.ofTheCopy(fault);
    if (!operated && !unclear && row.vm().equals(vm)) {
      coverage.hit(row.state(), fault);
    }
  }

  /** A fault counts for the states of one migration. */
  void met(Fault fault, MigrationId migration) {
    for (SimHost host : hosts) {
      for (LedgerRow row : host.ledgerDisk.unended()) {
        if (row.migration().equals(migration)) {
          hit(row, fault);
        }
      }
    }
  }

  /** A fault of a host counts for the migrations that it takes part in, on both sides. */
  void met(Fault fault, SimHost host) {
    host.ledgerDisk.unended().stream()
        .map(LedgerRow::migration)
        .distinct()
        .forEach(migration -> met(fault, migration));
  }

  /** Effects take their time for a while: what else there is finds them under way. */
  void slowEffects(Duration time) {
    slowUntil = scheduler.nanoTime() + time.toNanos();
  }

  /** How long an effect takes to come about. */
  Duration effectTime() {
    if (!quiet && scheduler.nanoTime() < slowUntil && random.nextBoolean()) {
      return Duration.ofMillis(500 + random.nextInt(2_400));
    }
    return latency(chance(Fault.MESSAGE_DELAYED) ? 2_000 : 6);
  }

  /** A few milliseconds. */
  Duration latency(int about) {
    return Duration.ofNanos((long) (about * 1_000_000L * (0.5 + random.nextDouble())));
  }

  /** Numbers messages in the order in which they are sent. */
  long nextMessage() {
    return ++messages;
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

  /**
   * Both servers are there, no migration nor call goes on, and nothing that began one comes late.
   */
  boolean calm() {
    return underWay == 0
        && hosts.stream()
            .allMatch(host -> host.serverUp() && host.allEnded() && host.server().api.idle());
  }

  /** Ends what blocks in it. */
  void end() {
    hosts.forEach(SimHost::end);
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
    met(Fault.CONNECTION_CUT);
    trace("the network is cut for " + duration.toMillis() + " ms");
    cutUntil = scheduler.nanoTime() + duration.toNanos();
  }

  /** How everything stands, for whoever looks into a failure. */
  void describe() {
    if (trace == null) {
      return;
    }
    trace(
        "the guest has written "
            + first.sequence
            + " records"
            + (first.memoryLost ? ", memory lost" : ""));
    for (SimHost host : hosts) {
      SimGuest guest = host.guests.get(vm);
      trace(
          host.name
              + ": server "
              + (host.serverUp() ? "up" : "down")
              + ", guest "
              + (guest == null ? "none" : guest.state + " with memory " + guest.memory.newest())
              + ", exports "
              + host.tgtd.whole()
              + ", VMs "
              + host.vms.keySet());
      for (int i = 0; i < scale.disks(); i++) {
        SimHost.Vdi vdi = host.diskOf(vm, i);
        if (vdi != null) {
          trace(host.name + ": disk " + i + " differs in " + vdi.disk.differences(first.truth[i]));
        }
      }
      host.ledgerDisk.rows().forEach(row -> trace(host.name + ": " + row));
    }
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

  /** From now on guests write, wherever they run. */
  void tick() {
    vms.stream().filter(each -> each == first || !each.memoryLost).forEach(this::tick);
  }

  /** A guest writes its next record to a random place, if it runs anywhere. */
  private void tick(SimVm guestOf) {
    for (SimHost host : hosts) {
      SimGuest guest = host.guests.get(guestOf.uuid);
      if (guest != null
          && guest.state == GuestState.RUNNING
          && scheduler.nanoTime() >= guest.bootsUntil) {
        int disk = random.nextInt(scale.disks());
        int block = random.nextInt(scale.blocks());
        SimHost.Vdi vdi = host.diskOf(guestOf.uuid, disk);
        check(vdi != null, Invariant.COMPLETE_WHERE_IT_RUNS, host.name + " has no disk " + disk);
        if (vdi == null) {
          return;
        }
        guestOf.write(guest, disk, block);
        vdi.disk.guestWrite(block, guestOf.sequence);
      }
    }
    boolean idle = inspecting && hosts.stream().allMatch(SimHost::allEnded);
    scheduler.schedule(idle ? IDLE_TICK : scale.tick(), () -> tick(guestOf));
  }

  // ---- the invariants

  void check(boolean holds, Invariant invariant, String detail) {
    if (!holds) {
      trace("VIOLATION: " + invariant.words() + ": " + detail);
      InvariantViolation found = new InvariantViolation(invariant.words() + ": " + detail);
      if (violation == null) {
        violation = found;
      }
      throw found;
    }
  }

  /** What must hold after every step, also if a future has kept a violation to itself. */
  void inspect() {
    InvariantViolation kept = violation;
    if (kept != null) {
      throw kept;
    }
    if (!inspecting) {
      return;
    }
    SimHost one = hosts.get(0);
    SimHost other = hosts.get(1);
    for (SimVm each : vms) {
      check(!runs(one, each) || !runs(other, each), Invariant.ONE_RUNS, "both do");
      inspectWriters(one, each);
      inspectWriters(other, each);
      check(
          runnable(one, each) || runnable(other, each),
          Invariant.COMPLETE_COPY,
          "neither host has one");
    }
    one.inspectCopies();
    other.inspectCopies();
  }

  private static boolean runs(SimHost host, SimVm of) {
    SimGuest guest = host.guests.get(of.uuid);
    return guest != null && guest.state == GuestState.RUNNING;
  }

  /** A guest that has its disks open is the only one that may write them. */
  private void inspectWriters(SimHost host, SimVm of) {
    SimGuest guest = !host.exports() ? null : host.guests.get(of.uuid);
    SimHost.VmRecord record = host.vms.get(of.uuid);
    if (guest != null && guest.active && record != null) {
      for (UUID vdi : host.reachable()) {
        check(
            !record.vdis.contains(vdi),
            Invariant.ONE_WRITES,
            host.name + " exports a disk that its guest has open");
      }
    }
  }

  /** Whether the host has all disks and, while a process must have it, the newest memory. */
  private static boolean runnable(SimHost host, SimVm of) {
    return complete(host, of) && (of.memoryLost || hasNewestMemory(host, of));
  }

  /** A destination has committed, or a source is about to let it: once for each migration. */
  void inspectCommits(SimHost at, State state, SimHost destination) {
    for (LedgerRow row : at.ledgerDisk.unended()) {
      if (row.state() == state && committed.add(row.migration() + " " + state)) {
        vms.stream()
            .filter(each -> each.uuid.equals(row.vm()))
            .forEach(each -> inspectCommit(destination, each));
      }
    }
  }

  void inspectCommit(SimHost destination, SimVm of) {
    if (!inspecting || operated) {
      return;
    }
    if (hosts.stream()
        .flatMap(host -> host.ledgerDisk.unended().stream())
        .anyMatch(LedgerRow::forced)) {
      return; // an operator has taken the blame
    }
    Invariant invariant = Invariant.EQUAL_AT_THE_COMMIT;
    for (int i = 0; i < scale.disks(); i++) {
      SimHost.Vdi vdi = destination.diskOf(of.uuid, i);
      check(
          vdi != null && vdi.disk.same(of.truth[i]) && vdi.disk.flushed(),
          invariant,
          destination.name + " disk " + i);
    }
    check(
        of.memoryLost || hasNewestMemory(destination, of),
        invariant,
        destination.name + "'s memory");
  }

  /** Lets a guest run, wherever it is; everything that must hold then is checked here. */
  void run(SimHost host, UUID uuid, SimGuest guest) {
    if (guest.state == GuestState.RUNNING) {
      return;
    }
    SimVm of = vms.stream().filter(each -> each.uuid.equals(uuid)).findFirst().orElseThrow();
    trace(host.name + ": the guest runs, memory " + guest.memory.newest() + " of " + of.sequence);
    SimGuest elsewhere = other(host).guests.get(uuid);
    check(
        elsewhere == null || elsewhere.state != GuestState.RUNNING,
        Invariant.ONE_RUNS,
        host.name + " runs it too");
    if (guest.fresh) {
      count("guests booted at the destination");
      // It knows what its disks hold, which is looked at below.
      of.boot(guest, true);
      guest.fresh = false;
    }
    check(guest.memory.same(of.memory), Invariant.NEVER_BACK, host.name);
    for (int i = 0; i < scale.disks(); i++) {
      SimHost.Vdi vdi = host.diskOf(uuid, i);
      check(vdi != null, Invariant.COMPLETE_WHERE_IT_RUNS, host.name + " has no disk " + i);
      if (vdi != null) {
        check(
            vdi.disk.same(of.truth[i]), Invariant.COMPLETE_WHERE_IT_RUNS, host.name + " disk " + i);
        check(!host.exported(vdi), Invariant.ONE_WRITES, host.name + " exports disk " + i);
      }
    }
    guest.state = GuestState.RUNNING;
    onHappening.accept(host, SimHost.Happening.GUEST_RUNS);
    // A copy from the other side has served its purpose: from here on the disks differ.
    SimHost.VmRecord left = other(host).vms.get(uuid);
    for (UUID disk : left == null ? List.<UUID>of() : left.vdis) {
      SimHost.Vdi vdi = other(host).vdis.get(disk);
      if (vdi != null) {
        vdi.disk.copies.clear();
      }
    }
  }

  /** After something was destroyed: each VM must still be somewhere, whole. */
  void checkCompleteCopy(String after) {
    if (inspecting) {
      for (SimVm each : vms) {
        check(
            hosts.stream().anyMatch(host -> complete(host, each)),
            Invariant.COMPLETE_COPY,
            "after " + after);
      }
    }
  }

  /** Whether a host has all that the guest was told is written. */
  static boolean complete(SimHost host, SimVm of) {
    for (int i = 0; i < of.truth.length; i++) {
      SimHost.Vdi vdi = host.diskOf(of.uuid, i);
      if (vdi == null || !vdi.disk.same(of.truth[i])) {
        return false;
      }
    }
    return true;
  }

  /** After a guest's process ended by a command of ours. */
  void checkMemory(UUID uuid, String after) {
    for (SimVm each : vms) {
      check(
          !each.uuid.equals(uuid)
              || each.memoryLost
              || hosts.stream().anyMatch(host -> hasNewestMemory(host, each)),
          Invariant.MEMORY,
          "after " + after);
    }
  }

  /** A guest that died, whichever copy of it, may legitimately be halted afterwards. */
  void guestDied() {
    count("guest processes died");
    first.memoryLost = true;
  }

  private static boolean hasNewestMemory(SimHost host, SimVm of) {
    SimGuest guest = host.guests.get(of.uuid);
    return guest != null
        && guest.state != GuestState.INCOMING
        && (guest.fresh ? complete(host, of) : guest.memory.same(of.memory));
  }
}
