package io.xenferry.simulation;

import io.xenferry.migration.flow.SourceMigration;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * How the first VM's guest ends on a host, or begins anew, other than by a command of ours, and who
 * is told.
 */
final class GuestEnds {
  /** How soon the product notices that a ledger works again, at the latest. */
  private static final Duration LEDGER_NOTICED = SimServer.DEADLINES.retryMost().multipliedBy(2);

  private final World world;
  private final SimHost host;

  /** Who waits for the end. */
  private final List<CompletableFuture<GuestState>> watchers = new ArrayList<>();

  GuestEnds(World world, SimHost host) {
    this.world = world;
    this.host = host;
  }

  /** Completes when the guest has ended; never for any other VM than the first. */
  CompletableFuture<GuestState> watch(UUID vm) {
    CompletableFuture<GuestState> end = new CompletableFuture<>();
    if (!vm.equals(world.vm)) {
      return end;
    }
    SimGuest guest = host.guests.get(vm);
    if (guest == null || guest.state.ended()) {
      tell(List.of(end), guest == null ? GuestState.GONE : guest.state);
    } else {
      watchers.add(end);
    }
    return end;
  }

  /** Whoever waited has died with the host. */
  void losePower() {
    watchers.clear();
  }

  /**
   * A guest that was asked to shut down for its move does so, if it still runs. After the move it
   * is as any other guest that ends; while that is being taken back it may be booted again or not.
   */
  void heed(UUID vm, SimGuest guest) {
    if (host.guests.get(vm) != guest || guest.state != GuestState.RUNNING) {
      return;
    }
    boolean byItsMove = toldToStop(vm);
    world.first.memoryLost |= !byItsMove;
    if (!byItsMove
        && host.ledgerDisk.unended().stream()
            .noneMatch(row -> row.vm().equals(vm) && SourceMigration.bootsAgain(row))) {
      byItself(GuestState.SHUTDOWN);
      return;
    }
    world.trace(host.name + ": the guest shuts down");
    guest.state = GuestState.SHUTDOWN;
    tellWatchers(GuestState.SHUTDOWN);
  }

  /** Whether a move has durably said that it tells the VM's guest to shut down. */
  boolean toldToStop(UUID vm) {
    return host.ledgerDisk.unended().stream()
        .anyMatch(row ->
            row.vm().equals(vm)
                && row.role() == Role.SOURCE
                && row.state() == State.SENDING
                && row.steering().contains("\"stopping\""));
  }

  /**
   * The guest reboots: its memory is another one, it writes nothing for a moment, and what it was
   * asked before is forgotten unless it was heard already. Its process goes on, so that nobody is
   * told: QEMU's event of a reset changes no state.
   */
  void reboots(SimGuest guest) {
    world.trace(host.name + ": the guest reboots");
    world.first.boot(guest, world.variant != Variant.RESET_NOT_NOTED);
    guest.bootsUntil = world.scheduler.nanoTime() + world.latency(150).toNanos();
    if (world.random.nextBoolean()) {
      guest.boots++;
    }
  }

  /** The guest shuts down, or its process dies. */
  void byItself(GuestState how) {
    SimGuest guest = Objects.requireNonNull(host.guests.get(world.vm));
    world.trace(host.name + ": the guest, " + guest.state + ", ends by itself: " + how);
    world.onHappening.accept(host, SimHost.Happening.GUEST_DIES);
    if (how == GuestState.SHUTDOWN) {
      guest.state = how;
    } else {
      host.guests.remove(world.vm);
    }
    tellWatchers(how);
    List<MigrationId> moves =
        host.ledgerDisk.rows().stream()
            .filter(GuestEnds::undecided)
            .filter(row -> StrictJson.read(row.plan(), Plan.class).running())
            .map(LedgerRow::migration)
            .toList();
    expectToEnd(moves, host.server().process);
  }

  private void tellWatchers(GuestState how) {
    tell(List.copyOf(watchers), how);
    watchers.clear();
  }

  private void tell(List<CompletableFuture<GuestState>> told, GuestState how) {
    world.scheduler.schedule(
        world.latency(10), () -> told.forEach(watcher -> watcher.complete(how)));
  }

  /** Moves of a running guest from here end soon after it, if server and ledger work. */
  private void expectToEnd(List<MigrationId> moves, SimulatedScheduler.Process server) {
    world.scheduler.schedule(
        Duration.ofSeconds(1),
        () -> {
          if (world.scheduler.nanoTime() < host.ledgerFailsUntil + LEDGER_NOTICED.toNanos()) {
            expectToEnd(moves, server);
            return;
          }
          world.check(
              !server.alive()
                  || host.ledgerDisk.rows().stream()
                      .noneMatch(row -> moves.contains(row.migration()) && undecided(row)),
              Invariant.ENDS_WITH_ITS_GUEST,
              host.name);
        });
  }

  private static boolean undecided(LedgerRow row) {
    return row.state() == State.SENDING || row.state() == State.SWITCHING;
  }

  /** What records of VMs follow: a guest that has shut down is ended, once it is surely ours. */
  void reap() {
    SimGuest guest = host.guests.get(world.vm);
    if (guest != null
        && guest.state == GuestState.SHUTDOWN
        && host.ledgerDisk.rows().stream()
            .allMatch(row ->
                row.ended() || (row.state() == State.OWNED && !SourceMigration.bootsAgain(row)))) {
      host.guests.remove(world.vm);
      world.trace(host.name + ": the guest that has shut down is ended");
    }
  }
}
