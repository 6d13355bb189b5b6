package io.xenferry.simulation;

import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.state.State;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;

/**
 * What befalls a server at a record of its ledger: it is killed just before or just after it, or
 * the record cannot be written, or it is and the disk does not say so.
 */
final class LedgerFaults implements MemoryLedger.Probe {
  /** Counted when a migration's first record is durable. */
  static final String BEGUN = "migrations";

  private final World world;
  private final SimHost host;
  private final SimulatedScheduler.Process server;

  LedgerFaults(World world, SimHost host, SimulatedScheduler.Process server) {
    this.world = world;
    this.host = host;
    this.server = server;
  }

  @Override
  public void change(String what, boolean durable) {
    endWithTheServer();
    if (durable) {
      show(what);
      endWithTheServer();
    } else {
      refuse(what);
    }
    if (world.chance(Fault.SOURCE_KILLED)) {
      host.crash("at " + (durable ? "(after) " : "(before) ") + what);
      throw new SimulatedCrash(host.name);
    }
    if (durable && world.chance(Fault.LEDGER_FAILS)) {
      world.count("ledger records in doubt");
      host.ledgerFailsUntil = Math.max(host.ledgerFailsUntil, world.scheduler.nanoTime());
      fail("fails, although durable: " + what, "the disk does not answer");
    }
  }

  private void endWithTheServer() {
    if (!server.alive()) {
      throw new SimulatedCrash(host.name);
    }
  }

  /** Whoever looks at durable records may kill the server. */
  private void show(String what) {
    world.trace(() -> host.name + ": durable: " + what);
    if (what.equals("insert SENDING")) {
      world.count(BEGUN);
    }
    world.onDurable.accept(host, what);
    switch (what) {
      case "COMMITTING" -> world.inspectCommits(host, State.COMMITTING, world.other(host));
      case "COMMITTED" -> world.inspectCommits(host, State.COMMITTED, host);
      case "insert SENDING" -> host.database.promises.inspectPlaces();
      default -> {}
    }
    ReplacedLedger replacement = world.replacement;
    if (replacement != null) {
      replacement.durable(host);
    }
    Aim aim = world.aim;
    if (aim != null) {
      aim.durable(host, what);
    }
  }

  private void refuse(String what) {
    if (world.chance(Fault.LEDGER_FAILS)) {
      world.count("ledgers unwritable");
      host.ledgerFailsUntil =
          world.scheduler.nanoTime()
              + Duration.ofMillis(100 + world.random.nextInt(12_000)).toNanos();
    }
    if (!world.quiet && world.scheduler.nanoTime() < host.ledgerFailsUntil) {
      fail("cannot be written: " + what, "the disk is full");
    }
  }

  private void fail(String told, String why) {
    world.trace(host.name + ": " + told);
    world.onHappening.accept(host, SimHost.Happening.LEDGER_FAILS);
    world.met(Fault.LEDGER_FAILS, host);
    throw new LedgerException(why);
  }
}
