package io.xenferry.simulation;

import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.ledger.MemoryLedger;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/**
 * What befalls every tenth seed besides: the ledger of the host that the VM moves to is lost, or
 * put back as it was at any time before, once, at or soon after any of its records. An operator
 * accepts that when no effect of the server before is under way any more, and knows nothing of the
 * VM.
 *
 * <p>Who then has the VM may be for an operator to say. So nothing is promised there but what must
 * hold at every step, see {@code docs/model.md}.
 */
final class ReplacedLedger {
  private static final int EVERY = 10;
  private static final int RECORDS = 12;
  private static final Duration ACCEPTED_AFTER = Duration.ofSeconds(10);

  private final World world;
  private final SimHost host;
  private final Random random;

  /** As the ledger was after each record. */
  private final List<MemoryLedger.Disk> copies = new ArrayList<>();

  private final int record;
  private boolean replaced;

  ReplacedLedger(World world, SimHost host, Random random) {
    this.world = world;
    this.host = host;
    this.random = random;
    this.record = 1 + random.nextInt(RECORDS);
  }

  /** Whether a seed is such a one. */
  static boolean isIn(long seed) {
    return Math.floorMod(seed, EVERY) == 0;
  }

  /** Sees each record of a ledger once it is durable. */
  void durable(SimHost at) {
    if (at != host || replaced) {
      return;
    }
    copies.add(host.ledgerDisk.copy(Optional.empty()));
    if (copies.size() == record) {
      int soon = random.nextBoolean() ? 10 : 5_000;
      world.scheduler.schedule(Duration.ofMillis(random.nextInt(soon)), this::replace);
      if (random.nextInt(4) == 0) {
        world.cutNetwork(Duration.ofSeconds(20));
      }
    }
  }

  private void replace() {
    if (world.quiet) {
      return;
    }
    replaced = true;
    world.operated = true;
    boolean lost = random.nextInt(3) == 0;
    world.count(lost ? "ledgers lost" : "ledgers put back");
    world.trace(host.name + ": the ledger is " + (lost ? "lost" : "put back"));
    SimServer before = host.server();
    host.crash("and its ledger is another", random.nextBoolean());
    MemoryLedger.Disk next =
        lost
            ? new MemoryLedger.Disk(before.ledger.incarnation(), before.ledger.secret())
            : copies.get(random.nextInt(copies.size()));
    host.ledgerDisk =
        next.copy(
            world.variant == Variant.INCARNATION_UNCHECKED
                ? Optional.empty()
                : Optional.of(world.uuid()));
    host.progress.clear(); // it was of the ledger before
    accept();
  }

  /** Again and again: the server may be away. */
  private void accept() {
    world.scheduler.schedule(
        ACCEPTED_AFTER,
        () -> {
          if (host.serverUp() && host.server().ledger.restored()) {
            try {
              world.trace(host.name + ": an operator accepts the ledger");
              host.server().coordinator.acceptRestoredLedger("operator");
            } catch (LedgerException e) {
              world.trace(host.name + ": " + e.getMessage());
            }
          }
          accept();
        });
  }
}
