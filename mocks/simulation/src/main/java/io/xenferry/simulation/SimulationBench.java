package io.xenferry.simulation;

import io.xenferry.migration.ports.GuestState;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.time.Duration;
import java.util.List;

/**
 * What a migration costs the processor in the simulation: coordinator, ledger rules, peers'
 * protocol and copy engine, without any waiting, with more disks, with guests that write more, and
 * beside others. Processor time of one thread, so that other work on the machine disturbs little.
 *
 * <p>No faults, and no invariants after each step, whose cost is the simulation's own; at the end
 * of each world it is checked that every VM has arrived whole.
 */
final class SimulationBench {
  private static final int BLOCKS = 24;
  private static final Duration TICK = Duration.ofMillis(40);
  private static final Duration LIMIT = Duration.ofHours(1);
  private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

  private final PrintWriter out;
  private final double seconds;
  private long seed;

  /** What a number of worlds came to. */
  record Cost(int migrations, double cpuSeconds, double virtualSeconds, long tasks) {
    Cost plus(Cost other) {
      return new Cost(
          migrations + other.migrations,
          cpuSeconds + other.cpuSeconds,
          virtualSeconds + other.virtualSeconds,
          tasks + other.tasks);
    }
  }

  /**
   * @param seconds of processor time for each line, at least
   */
  SimulationBench(PrintWriter out, double seconds) {
    this.out = out;
    this.seconds = seconds;
  }

  void run() {
    // The first time is for the JIT compilers.
    for (boolean counts : new boolean[] {false, true}) {
      double least = counts ? seconds : seconds / 2;
      heading(counts, "with faults everywhere and all invariants, as seeds are run");
      line(counts, "usual", seeds(least));
      heading(counts, "disks of 24 blocks");
      for (int disks : List.of(1, 2, 4, 8, 16)) {
        line(counts, disks, cost(new Scale(1, disks, BLOCKS, TICK), least));
      }
      heading(counts, "writes of the guest a second");
      for (int writes : List.of(1, 25, 100, 400)) {
        Duration tick = Duration.ofSeconds(1).dividedBy(writes);
        line(counts, writes, cost(new Scale(1, 1, BLOCKS, tick), least));
      }
      heading(counts, "migrations at once, between the same two hosts");
      for (int vms : List.of(1, 10, 100, 1_000)) {
        line(counts, vms, cost(new Scale(vms, 1, BLOCKS, TICK), least));
      }
    }
  }

  private void heading(boolean counts, String what) {
    if (!counts) {
      return;
    }
    out.printf(
        "%n%-12s %12s %12s %12s %12s   %s%n",
        "", "migrations", "us each", "a second", "tasks each", what);
  }

  private void line(boolean counts, Object what, Cost cost) {
    if (!counts) {
      return;
    }
    out.printf(
        "%-12s %12d %12.0f %12.0f %12.0f%n",
        what,
        cost.migrations,
        cost.cpuSeconds / cost.migrations * 1e6,
        cost.migrations / cost.cpuSeconds,
        (double) cost.tasks / cost.migrations);
    out.flush();
  }

  private Cost seeds(double least) {
    Cost sum = new Cost(0, 0, 0, 0);
    double began = cpu();
    for (long each = 1; sum.migrations == 0 || cpu() - began < least; each++) {
      Simulation.Result result = Simulation.run(each, Variant.SOUND, null);
      sum =
          sum.plus(
              new Cost(
                  result.counts().getOrDefault(LedgerFaults.BEGUN, 0),
                  0,
                  result.virtual().toMillis() / 1e3,
                  result.events()));
    }
    return new Cost(sum.migrations, cpu() - began, sum.virtualSeconds, sum.tasks);
  }

  /** Worlds of one size, until enough time was spent. */
  Cost cost(Scale scale, double least) {
    Cost sum = new Cost(0, 0, 0, 0);
    while (sum.migrations == 0 || sum.cpuSeconds < least) {
      sum = sum.plus(world(scale, ++seed));
    }
    return sum;
  }

  /** All VMs of a world move from A to B, at once. */
  private static Cost world(Scale scale, long seed) {
    World world = new World(seed, Faults.NONE, Variant.SOUND, null, scale);
    world.inspecting = false;
    Simulation.populate(world, true);
    world.hosts.forEach(SimHost::startServer);
    world.tick();
    Simulation.drive(world, Duration.ofMillis(200), () -> false);
    Clients clients = new Clients(world, scale.vms());
    double began = cpu();
    long tasks = world.scheduler.executed();
    world.vms.forEach(vm -> clients.moveAtOnce(world.hosts.getFirst(), vm.uuid));
    Simulation.drive(
        world, LIMIT, () -> world.calm() && world.counts.getOrDefault("moved", 0) == scale.vms());
    Cost cost =
        new Cost(
            scale.vms(),
            cpu() - began,
            world.scheduler.nanoTime() / 1e9,
            world.scheduler.executed() - tasks);
    SimHost there = world.hosts.getLast();
    for (SimVm vm : world.vms) {
      SimGuest guest = there.guests.get(vm.uuid);
      if (guest == null || guest.state != GuestState.RUNNING || !World.complete(there, vm)) {
        throw new IllegalStateException("a VM has not arrived whole: " + world.counts);
      }
    }
    return cost;
  }

  /** Seconds of processor time that this thread has had. */
  private static double cpu() {
    return THREADS.getCurrentThreadCpuTime() / 1e9;
  }
}
