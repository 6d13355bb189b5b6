package io.xenferry.simulation;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Randomness;
import io.xenferry.migration.state.Role;
import io.xenferry.time.Scheduler;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

/** A host's server, from its start until it is killed: what lives in its process. */
final class SimServer {
  static final Deadlines DEADLINES =
      new Deadlines(
          Duration.ofSeconds(2),
          Duration.ofSeconds(15),
          Duration.ofSeconds(20),
          Duration.ofSeconds(10),
          Duration.ofSeconds(6),
          Duration.ofSeconds(20),
          Duration.ofSeconds(3),
          Duration.ofSeconds(1),
          Duration.ofSeconds(2),
          Duration.ofSeconds(8),
          Duration.ofMillis(50),
          Duration.ofSeconds(2),
          Duration.ofHours(2),
          Duration.ofSeconds(1));

  /** Counted, with the role, when a server goes on with a copy that one before it had begun. */
  static final String GONE_ON = "copies taken up by the ";

  final SimulatedScheduler.Process process;
  final Ledger ledger;
  final Gate gate;
  final Coordinator coordinator;
  final SimApi api;

  private final World world;
  private final SimHost host;
  private final SimExports exports;

  /** Moves in the middle of which this server was started, until it goes on with them. */
  private final Set<String> interrupted = new HashSet<>();

  SimServer(World world, SimHost host) {
    this.world = world;
    this.host = host;
    this.process = world.scheduler.process(host.name);
    Scheduler clock = new HostClock();
    this.ledger =
        BrokenLedger.open(
            host.ledgerDisk, clock::now, new LedgerFaults(world, host, process), world.variant);
    this.exports = new SimExports(world, host, process);
    String boot = host.name + host.boot;
    this.gate = new Gate(ledger, boot);
    this.coordinator =
        new Coordinator(
            clock,
            BrokenLedger.beginning(ledger, world.variant),
            gate,
            new SeededRandomness(),
            DEADLINES,
            new SimSourcePorts(world, host, process),
            new SimDestinationPorts(world, host, process, exports),
            new SimNetwork(world, host),
            host.name,
            new PeerAddress(host.url(), ""),
            boot);
    this.api = new SimApi(world, host, process, clock, ledger, coordinator);
  }

  void start() {
    host.ledgerDisk.unended().forEach(row -> interrupted.add(row.migration() + " " + row.state()));
    coordinator.listen(this::changed);
    world.trace(host.name + ": server starts");
    exports.takeUp(ledger.openExports()::contains);
    clientsKnow(host.database.promises.progressShown());
    api.start();
    new Watchdog(world, host, ledger, exports, process).start();
  }

  /** What tasks have shown is durable; the rest, which is newer by moments, is gone. */
  private void clientsKnow(Map<MigrationId, Double> shown) {
    for (LedgerRow row : host.ledgerDisk.rows()) {
      if (row.role() == Role.SOURCE) {
        double unknown = row.state().outcome() ? 1 : 0;
        host.progress.computeIfPresent(
            progressOf(row.migration(), Role.SOURCE),
            (key, told) -> Math.min(told, shown.getOrDefault(row.migration(), unknown)));
      }
    }
  }

  private String progressOf(MigrationId migration, Role role) {
    return ledger.incarnation() + " " + migration + " " + role;
  }

  boolean alive() {
    return process.alive();
  }

  /** Told of each change of a migration. */
  void changed(MigrationStatus status) {
    String key = progressOf(status.migration(), status.role());
    Double before = host.progress.put(key, status.progress());
    world.check(before == null || status.progress() >= before, Invariant.PROGRESS, key);
    boolean goesOn =
        switch (status.state()) {
          case RECEIVING -> status.phase().equals("receiving");
          case SENDING -> status.phase().equals("copying the disks");
          default -> false;
        };
    if (goesOn && interrupted.remove(status.migration() + " " + status.state())) {
      world.count(GONE_ON + status.role());
    }
  }

  /** The process, with the host's wall clock. */
  private final class HostClock implements Scheduler {
    @Override
    public long nanoTime() {
      return process.nanoTime();
    }

    @Override
    public Instant now() {
      return process.now().plus(host.clockAhead);
    }

    @Override
    public void execute(Runnable task) {
      process.execute(task);
    }

    @Override
    public Cancellable schedule(Duration delay, Runnable task) {
      return process.schedule(delay, task);
    }
  }

  private final class SeededRandomness implements Randomness {
    @Override
    public UUID uuid() {
      return world.uuid();
    }

    @Override
    public byte[] bytes(int count) {
      byte[] bytes = new byte[count];
      world.random.nextBytes(bytes);
      return bytes;
    }

    @Override
    public double fraction() {
      return world.random.nextDouble();
    }
  }
}
