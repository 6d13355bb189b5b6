package io.xenferry.simulation;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerClient;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.WarmMove;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One seed: a world with its faults for a while, then quiet until everything has ended. The same
 * seed and variant give the same run, task for task.
 */
public final class Simulation {
  private static final Duration FAULTY = Duration.ofSeconds(30);
  private static final Duration PATIENCE = Duration.ofMinutes(20);

  /** What nobody wakes up for is found by then. */
  private static final Duration LOOKS = Duration.ofSeconds(90);

  /** How long a world is looked at in which a ledger was replaced, and nothing need end. */
  private static final Duration DOUBT = Duration.ofMinutes(1);

  private Simulation() {}

  /**
   * How a seed came out.
   *
   * @param violation the broken promise; empty when all held
   * @param counts faults and outcomes by name
   * @param coverage which faults met which states
   * @param events tasks run
   * @param virtual how long it took the simulated hosts
   * @param fingerprint of the order of all tasks; equal for equal runs
   */
  public record Result(
      long seed,
      Optional<String> violation,
      Map<String, Integer> counts,
      Coverage coverage,
      long events,
      Duration virtual,
      long fingerprint) {}

  /** Runs one seed; a failure is a result, not an exception. */
  public static Result run(long seed, Variant variant, @Nullable List<String> trace) {
    return run(seed, variant, trace, world -> {});
  }

  /**
   * @param witness sees the world before anything happens in it
   */
  static Result run(
      long seed, Variant variant, @Nullable List<String> trace, Consumer<World> witness) {
    Random shape = new Random(seed * 31 + 7);
    Faults faults = Faults.draw(shape);
    Scale scale = shape.nextInt(4) == 0 ? Scale.PAIR : Scale.SMALL;
    World world = new World(seed, faults, variant, trace, scale);
    world.placesCount = true;
    boolean running = shape.nextInt(5) != 0;
    int moves = ReplacedLedger.isIn(seed) ? 1 : 1 + shape.nextInt(3);
    Optional<String> violation = Optional.empty();
    try {
      Clients clients = new Clients(world, moves);
      Aim.Cell cell = Coverage.CELLS.get(Math.floorMod(seed, Coverage.CELLS.size()));
      world.aim = new Aim(world, clients.mishaps(), clients, cell);
      world.trace(
          "a VM that "
              + (running ? "runs" : "is halted")
              + " at A is moved "
              + moves
              + " times; aimed at "
              + cell.state()
              + ": "
              + cell.fault().words()
              + "; faults: "
              + world.faults);
      if (running && shape.nextInt(3) == 0) {
        moveWarm(world, clients, shape);
      }
      clients.behave(shape);
      if (ReplacedLedger.isIn(seed)) {
        world.replacement = new ReplacedLedger(world, world.hosts.getLast(), shape);
      }
      world.vms.forEach(vm -> populate(world, vm, running && vm == world.first));
      witness.accept(world);
      world.hosts.forEach(SimHost::startServer);
      world.tick();
      clients.begin();
      drive(world, FAULTY, () -> clients.done() && world.calm());
      settle(world);
    } catch (InvariantViolation e) {
      violation = Optional.of(String.valueOf(e.getMessage()));
      world.describe();
    } catch (RuntimeException e) {
      violation = Optional.of("the product failed: " + e);
      if (trace != null) {
        for (Throwable cause = e; cause != null; cause = cause.getCause()) {
          trace.add(cause.toString());
          for (StackTraceElement frame : cause.getStackTrace()) {
            trace.add("    at " + frame);
          }
        }
      }
    } finally {
      world.end();
    }
    return new Result(
        seed,
        violation,
        new TreeMap<>(world.counts),
        world.coverage,
        world.scheduler.executed(),
        Duration.ofNanos(world.scheduler.nanoTime()),
        world.scheduler.fingerprint());
  }

  /**
   * The guest shuts down soon, late, only when it is asked once more, or not at all, and is then
   * stopped, at once or late, or not.
   */
  private static void moveWarm(World world, Clients clients, Random shape) {
    boolean hard = shape.nextBoolean();
    boolean deaf = shape.nextInt(4) == 0;
    Duration heeds = Duration.ofMillis(20 + shape.nextInt(shape.nextInt(4) == 0 ? 4_000 : 500));
    int unheeded = shape.nextInt(4) == 0 ? 1 : 0;
    Duration stopping = Duration.ofMillis(shape.nextInt(3) == 0 ? shape.nextInt(600) : 0);
    for (SimHost host : world.hosts) {
      host.shutsDownIn = deaf ? Optional.empty() : Optional.of(heeds);
      host.asksUnheeded = unheeded;
      host.stopping = stopping;
    }
    clients.with(
        Map.of(
            WarmMove.MODE,
            WarmMove.WARM,
            WarmMove.TIMEOUT,
            "3",
            WarmMove.HARD,
            Boolean.toString(hard)));
    world.trace(
        "moves are warm, the guest "
            + (deaf ? "does not shut down" : "shuts down in " + heeds.toMillis() + " ms")
            + (unheeded > 0 ? ", when asked once more" : "")
            + (hard ? ", and is stopped then" : ""));
  }

  /**
   * A ledger put back from a copy: the destination has just run the guest, loses its power, and
   * comes back with its ledger of before the commit, which an operator accepts. The source, whose
   * commit was never answered, must not take the VM back on that ledger's word; nor must the
   * destination remove disks that the guest has written to.
   */
  public static Result restoredLedger(long seed, Variant variant, @Nullable List<String> trace) {
    World world = new World(seed, Faults.NONE, variant, trace);
    SimHost destination = world.hosts.get(1);
    List<MemoryLedger.Disk> copies = new ArrayList<>();
    return told(
        world,
        "insert RECEIVING",
        () -> destination.ledgerDisk.rows().stream().anyMatch(row -> row.state() == State.RUNNING),
        () -> copies.add(destination.ledgerDisk.copy(Optional.of(world.uuid()))),
        () -> {
          destination.crash("and its ledger is put back", true);
          destination.ledgerDisk = copies.getFirst();
        },
        () -> {
          checkUndecided(world, destination);
        });
  }

  /** A destination in doubt has neither ended its row nor removed a disk. */
  static void checkUndecided(World world, SimHost destination) {
    LedgerRow row = destination.ledgerDisk.rows().getFirst();
    world.check(row.state() == State.RECEIVING, Invariant.DOUBT_DECIDES_NOTHING, row.toString());
    world.check(
        destination.vdis.size() == world.scale.disks(),
        Invariant.DOUBT_DECIDES_NOTHING,
        "a disk is gone");
  }

  /** A source that has asked for the commit waits for its answer. */
  static void checkWaiting(World world, SimHost source) {
    LedgerRow row = source.ledgerDisk.rows().getFirst();
    world.check(row.state() == State.COMMITTING, Invariant.STAYS_COMMITTING, row.toString());
  }

  /**
   * A lost ledger: the destination runs the guest, its commit unanswered, when its server comes
   * back without its ledger, and an operator accepts that. A doubled Open of the same migration
   * comes late.
   */
  public static Result lostLedger(long seed, Variant variant, @Nullable List<String> trace) {
    World world = new World(seed, Faults.NONE, variant, trace);
    SimHost source = world.hosts.get(0);
    SimHost destination = world.hosts.get(1);
    return told(
        world,
        "insert RECEIVING",
        () -> false,
        () -> {},
        () -> {
          Ledger lost = destination.server().ledger;
          destination.crash("and its ledger is lost", false);
          destination.progress.clear(); // it is of that ledger
          MemoryLedger.Disk empty = new MemoryLedger.Disk(lost.incarnation(), lost.secret());
          destination.ledgerDisk =
              variant == Variant.INCARNATION_UNCHECKED
                  ? empty
                  : empty.copy(Optional.of(world.uuid()));
          world.scheduler.schedule(
              Duration.ofSeconds(50),
              () -> {
                Coordinator late = destination.server().coordinator;
                LedgerRow row = source.ledgerDisk.rows().getFirst();
                new PeerClient((to, request, deadline) -> late.endpoint().handle(request))
                    .send(
                        new PeerAddress(row.peerUrl(), row.peerFingerprint()),
                        row.migration(),
                        row.token(),
                        row.key(),
                        new PeerMessage.Open(
                            List.of(PeerAnswer.VERSION),
                            row.key(),
                            source.server().ledger.incarnation(),
                            source.url(),
                            "",
                            StrictJson.read(row.plan(), Plan.class),
                            row.metadata()),
                        Duration.ofSeconds(10));
              });
        },
        () -> {});
  }

  /**
   * One move whose answers are lost from STARTING on, until the destination is back and accepted.
   */
  private static Result told(
      World world,
      String record,
      BooleanSupplier until,
      Runnable then,
      Runnable replaced,
      Runnable checks) {
    Optional<String> violation = Optional.empty();
    try {
      populate(world, true);
      SimHost source = world.hosts.get(0);
      SimHost destination = world.hosts.get(1);
      world.onDurable =
          (host, what) -> {
            if (host == destination && what.equals(record)) {
              then.run();
            }
            if (host == destination && what.equals("STARTING")) {
              world.cutNetwork(Duration.ofSeconds(30));
            }
          };
      world.hosts.forEach(SimHost::startServer);
      world.tick();
      drive(world, Duration.ofSeconds(1), () -> source.calls() != null);
      new Clients(world, 0).move(source);
      drive(world, Duration.ofSeconds(10), until);
      replaced.run();
      drive(world, Duration.ofMinutes(1), destination::serverUp);
      destination.server().coordinator.acceptRestoredLedger("operator");
      drive(world, Duration.ofMinutes(2), () -> false);
      checkWaiting(world, source);
      checks.run();
    } catch (InvariantViolation e) {
      violation = Optional.of(String.valueOf(e.getMessage()));
    } finally {
      world.end();
    }
    return new Result(
        world.seed,
        violation,
        new TreeMap<>(world.counts),
        world.coverage,
        world.scheduler.executed(),
        Duration.ofNanos(world.scheduler.nanoTime()),
        world.scheduler.fingerprint());
  }

  /** The VMs are at A. */
  static void populate(World world, boolean running) {
    world.vms.forEach(vm -> populate(world, vm, running));
  }

  private static void populate(World world, SimVm vm, boolean running) {
    SimHost home = world.hosts.getFirst();
    List<UUID> vdis = new ArrayList<>();
    for (long[] truth : vm.truth) {
      SimDisk disk = new SimDisk(truth.length);
      for (int block = 0; block < truth.length; block++) {
        if (world.random.nextInt(3) > 0) {
          vm.sequence++;
          truth[block] = vm.sequence;
          disk.guestWrite(block, vm.sequence);
        }
      }
      UUID vdi = world.uuid();
      home.vdis.put(vdi, new SimHost.Vdi(disk, null));
      vdis.add(vdi);
    }
    home.vms.put(vm.uuid, new SimHost.VmRecord(vdis, null));
    if (running) {
      SimGuest guest = new SimGuest(GuestState.PAUSED);
      vm.boot(guest, true);
      guest.active = true;
      home.guests.put(vm.uuid, guest);
      world.run(home, vm.uuid, guest);
    } else {
      vm.memoryLost = true;
    }
  }

  static void drive(World world, Duration limit, BooleanSupplier until) {
    long end = world.scheduler.nanoTime() + limit.toNanos();
    while (world.scheduler.nanoTime() < end && !until.getAsBoolean()) {
      try {
        if (!world.scheduler.step()) {
          return;
        }
      } catch (SimulatedCrash e) {
        // The server that was running this task has just been killed; the world goes on.
      }
      world.inspect();
    }
  }

  /** When faults stop, everything ends, and nothing is left that should not be. */
  private static void settle(World world) {
    world.quiet = true;
    world.hosts.forEach(host -> host.refusingToRun = false);
    world.trace("faults stop");
    if (world.operated) {
      drive(world, DOUBT, () -> false);
      if (!world.calm()) {
        world.count("left to an operator");
        return;
      }
    }
    drive(world, PATIENCE, world::calm);
    drive(world, Duration.ofSeconds(2), () -> false);
    if (!world.calm()) { // a move that a client had just asked for
      drive(world, PATIENCE, world::calm);
      drive(world, Duration.ofSeconds(2), () -> false);
    }
    // The target's accounts are looked at once a minute.
    drive(
        world, LOOKS, () -> world.hosts.stream().allMatch(host -> host.tgtd.accounts().isEmpty()));
    judge(world);
  }

  /** What must be so in the end. */
  static void judge(World world) {
    for (SimHost host : world.hosts) {
      host.ledgerDisk.rows().stream()
          .filter(row -> !row.ended())
          .forEach(row -> world.check(false, Invariant.EVERYTHING_ENDS, host.name + " has " + row));
      checkOutcomes(world, host);
      host.database.promises.judge(host.database.snapshot(), host.server().api);
    }
    List<String> left = new ArrayList<>();
    world.hosts.forEach(
        host -> host.leftovers().forEach(what -> left.add(host.name + ": " + what)));
    world.check(left.isEmpty(), Invariant.NOTHING_LEFT, left.toString());
    int disks = world.hosts.stream().mapToInt(host -> host.vdis.size()).sum();
    world.check(
        disks == world.vms.size() * world.scale.disks(), Invariant.ONE_HOME, disks + " disks");
    world.vms.forEach(vm -> judgeHome(world, vm));
    SimHost home = home(world, world.first);
    SimGuest guest = home.guests.get(world.vm);
    world.check(
        world.first.memoryLost || (guest != null && guest.state == GuestState.RUNNING),
        Invariant.RUNS_IN_THE_END,
        guest == null ? "there is none" : "it is " + guest.state);
    world.check(
        guest == null || guest.state == GuestState.RUNNING, Invariant.RUNS_IN_THE_END, home.name);
    world.count("ends at " + home.name + (guest == null ? ", halted" : ", running"));
  }

  private static SimHost home(World world, SimVm vm) {
    List<SimHost> shown = world.hosts.stream().filter(host -> host.shows(vm.uuid)).toList();
    world.check(shown.size() == 1, Invariant.ONE_HOME, shown.size() + " sides show it");
    return shown.getFirst();
  }

  private static void judgeHome(World world, SimVm vm) {
    SimHost home = home(world, vm);
    for (int i = 0; i < world.scale.disks(); i++) {
      SimHost.Vdi vdi = home.diskOf(vm.uuid, i);
      world.check(vdi != null, Invariant.ONE_HOME, home.name + " has no disk " + i);
      world.check(
          vdi != null && vdi.disk.same(vm.truth[i]),
          Invariant.NO_WRITE_LOST,
          home.name + " disk " + i);
    }
  }

  /** Also of moves that a server before this one began: their tasks are this one's now. */
  static void checkOutcomes(World world, SimHost host) {
    Coordinator coordinator = host.server().coordinator;
    for (LedgerRow row : host.ledgerDisk.rows()) {
      world.check(
          row.role() != Role.SOURCE || coordinator.outcome(row.migration()).isDone(),
          Invariant.OUTCOME_TOLD,
          host.name + " has not told of " + row);
    }
  }
}
