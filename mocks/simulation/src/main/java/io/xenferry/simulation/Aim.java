package io.xenferry.simulation;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.Optional;

/**
 * One fault that is meant for one state: by chance alone it would seldom meet it there. Each seed
 * has one, in turn through all cells of the table. The way to a state that is seldom come to is
 * paved.
 */
final class Aim {
  /** A cell of the table. */
  record Cell(State state, Fault fault) {}

  /** For as long as the state may last. */
  private static final Duration AGAIN = Duration.ofMillis(1);

  private final World world;
  private final Mishaps mishaps;
  private final Clients clients;
  private final Cell cell;
  private boolean paved;
  private boolean struck;

  Aim(World world, Mishaps mishaps, Clients clients, Cell cell) {
    this.world = world;
    this.mishaps = mishaps;
    this.clients = clients;
    this.cell = cell;
  }

  /** How disks are to be copied, where the fault meets something only then. */
  Optional<String> strategy() {
    return cell.state == State.SWITCHING && Coverage.ofTheCopy(cell.fault)
        ? Optional.of(cell.fault == Fault.MIRROR_DIES ? "mirror" : "log-dirty")
        : Optional.empty();
  }

  /** Sees each record of a ledger once it is durable. */
  void durable(SimHost host, String record) {
    if (struck || world.quiet) {
      return;
    }
    pave(host, record);
    if (record.equals(cell.state.name()) || record.equals("insert " + cell.state)) {
      rowInState(host)
          .ifPresent(row -> {
            if (Coverage.ofTheCopy(cell.fault) || world.random.nextBoolean()) {
              world.slowEffects(Duration.ofSeconds(3));
            }
            world.scheduler.schedule(moment(), () -> strike(host, row));
          });
    }
  }

  private Optional<LedgerRow> rowInState(SimHost host) {
    return host.ledgerDisk.unended().stream()
        .filter(row -> row.state() == cell.state && row.vm().equals(world.vm))
        .findFirst();
  }

  /** While the state lasts, mostly: what takes long is met in its course, the rest near its end. */
  private Duration moment() {
    boolean receiving = cell.state == State.SENDING || cell.state == State.RECEIVING;
    if (Coverage.ofTheCopy(cell.fault) && !receiving) {
      return Duration.ZERO; // the copy is about to end
    }
    return switch (world.random.nextInt(4)) {
      case 0 -> Duration.ZERO;
      case 1 -> Duration.ofMillis(world.random.nextInt(20));
      case 2 -> Duration.ofMillis(world.random.nextInt(200));
      default ->
          Duration.ofMillis(receiving ? world.random.nextInt(1500) : world.random.nextInt(5));
    };
  }

  private void strike(SimHost host, LedgerRow row) {
    boolean there =
        host.ledgerDisk
            .find(row.migration(), row.role())
            .filter(now -> now.state() == cell.state && !now.ended())
            .isPresent();
    if (struck || world.quiet || !there) {
      return;
    }
    struck = mishaps.strike(cell.fault, row.migration());
    if (!struck) {
      world.scheduler.schedule(AGAIN, () -> strike(host, row));
    }
  }

  /** What leads to the state, or to a running guest in it. */
  private void pave(SimHost host, String record) {
    if (paved) {
      return;
    }
    boolean ofTheGuest = cell.fault == Fault.GUEST_REBOOTS || cell.fault == Fault.GUEST_HALTS;
    switch (cell.state) {
      case RETURNED -> {
        if (record.equals(State.COMMITTED.name())) {
          paved = true;
          host.refusingToRun = true;
        }
      }
      case OWNED, ABORTED -> {
        if (record.equals("insert " + State.SENDING)) {
          paved = true;
          SimHost where = cell.state == State.OWNED ? host : world.other(host);
          world.scheduler.schedule(
              Duration.ofMillis(world.random.nextInt(1000)),
              () -> where.ledgerDisk.unended().forEach(row -> clients.cancel(where, row)));
        }
      }
      case READY -> {
        if (ofTheGuest && record.equals(State.READY.name())) {
          // The source takes the guest back, and cannot say so.
          paved = true;
          world.cutNetwork(Duration.ofSeconds(1));
          SimHost source = world.other(host);
          source.ledgerDisk.unended().forEach(row -> clients.cancel(source, row));
        }
      }
      case COMMITTING -> {
        if (ofTheGuest && record.equals(State.STARTING.name())) {
          paved = true;
          world.cutNetwork(Duration.ofSeconds(1));
        }
      }
      default -> {}
    }
  }
}
