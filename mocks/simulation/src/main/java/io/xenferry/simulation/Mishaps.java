package io.xenferry.simulation;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Makes faults come about: at once, or with the next message, effect or block. */
final class Mishaps {
  /** No client and no operator sets a clock wrong by more; tombstones outlast tokens by an hour. */
  private static final int WRONG_BY_MINUTES = 50;

  private final World world;
  private final Clients clients;

  Mishaps(World world, Clients clients) {
    this.world = world;
    this.clients = clients;
  }

  /**
   * Makes a fault meet a migration.
   *
   * @return false when it cannot at this moment
   */
  boolean strike(Fault fault, MigrationId migration) {
    Optional<SimHost> source = host(migration, Role.SOURCE);
    Optional<SimHost> destination = host(migration, Role.DESTINATION);
    return switch (fault) {
      case MESSAGE_LOST,
          MESSAGE_DELAYED,
          MESSAGE_DOUBLED,
          EFFECT_REFUSED,
          EFFECT_UNANSWERED,
          DISK_ERROR,
          SHORT_WRITE,
          BLOCK_ANSWER_LOST -> {
        world.next(fault);
        yield true;
      }
      case MESSAGE_REORDERED -> {
        // Those that follow overtake it.
        world.next(Fault.MESSAGE_DELAYED);
        yield true;
      }
      case CONNECTION_CUT -> {
        world.cutNetwork(millis(200, 6_000));
        yield true;
      }
      case SOURCE_KILLED -> kill(source, false);
      case DESTINATION_KILLED -> kill(destination, false);
      case UNFLUSHED_LOST -> kill(world.random.nextBoolean() ? source : destination, true);
      case LEDGER_FAILS -> {
        SimHost host = either();
        host.ledgerFailsUntil = world.scheduler.nanoTime() + millis(100, 4_000).toNanos();
        yield true;
      }
      case SR_FULL -> {
        destination.ifPresent(
            host -> host.fullUntil = world.scheduler.nanoTime() + millis(300, 3_000).toNanos());
        yield destination.isPresent();
      }
      case TARGET_GONE -> destination.isPresent() && targetDies(destination.get());
      case GUEST_REBOOTS, GUEST_HALTS, GUEST_CRASHES -> guest(fault);
      case MIRROR_DIES -> source.isPresent() && mirrorsBreak(source.get(), migration);
      case CANCEL -> cancel(migration);
      case DOUBLE_REQUEST -> clients.again(migration);
      case CLOCK_JUMPS -> clockJumps(either());
      case CERTIFICATE_CHANGED -> certificateChanges(either());
    };
  }

  /** What comes about by itself, now and then. */
  void look() {
    for (Fault fault :
        List.of(
            Fault.CONNECTION_CUT,
            Fault.SR_FULL,
            Fault.TARGET_GONE,
            Fault.GUEST_REBOOTS,
            Fault.GUEST_HALTS,
            Fault.GUEST_CRASHES,
            Fault.CLOCK_JUMPS,
            Fault.CERTIFICATE_CHANGED)) {
      if (world.chance(fault)) {
        switch (fault) {
          case CONNECTION_CUT -> world.cutNetwork(millis(200, 12_000));
          case SR_FULL ->
              either().fullUntil = world.scheduler.nanoTime() + millis(300, 3_000).toNanos();
          case TARGET_GONE -> targetDies(either());
          case CLOCK_JUMPS -> clockJumps(either());
          case CERTIFICATE_CHANGED -> certificateChanges(either());
          default -> guest(fault);
        }
      }
    }
    if (world.chance(Fault.SOURCE_KILLED)) {
      either().crash("between records");
    }
  }

  private Optional<SimHost> host(MigrationId migration, Role role) {
    return world.hosts.stream()
        .filter(host -> host.ledgerDisk.find(migration, role).isPresent())
        .findFirst();
  }

  private SimHost either() {
    return world.hosts.get(world.random.nextInt(2));
  }

  private Duration millis(int least, int most) {
    return Duration.ofMillis(least + world.random.nextInt(most - least));
  }

  private static boolean kill(Optional<SimHost> host, boolean power) {
    if (host.isEmpty() || !host.get().serverUp()) {
      return false;
    }
    host.get().crash("in this state", power);
    return true;
  }

  private boolean targetDies(SimHost host) {
    if (!host.exports()) {
      return false;
    }
    world.count("targets killed");
    world.trace(host.name + ": the iSCSI target dies");
    world.met(Fault.TARGET_GONE);
    host.tgtd.die();
    return true;
  }

  private boolean mirrorsBreak(SimHost host, MigrationId migration) {
    List<SimDisk.Mirrored> mirrors = new ArrayList<>();
    host.vdis.values().forEach(vdi -> mirrors.addAll(vdi.disk.mirrors));
    if (!mirrors.isEmpty()) {
      world.met(Fault.MIRROR_DIES, migration);
      mirrors.forEach(SimDisk.Mirrored::breaks);
    }
    return !mirrors.isEmpty();
  }

  /** Something happens in a guest, or to one of its processes. */
  private boolean guest(Fault fault) {
    List<SimHost> where = new ArrayList<>();
    for (SimHost host : world.hosts) {
      SimGuest guest = host.guests.get(world.vm);
      if (guest != null
          && (fault == Fault.GUEST_CRASHES
              ? !guest.state.ended()
              : guest.state == GuestState.RUNNING)) {
        where.add(host);
      }
    }
    if (where.isEmpty()) {
      return false;
    }
    SimHost host = where.get(world.random.nextInt(where.size()));
    SimGuest guest = java.util.Objects.requireNonNull(host.guests.get(world.vm));
    world.met(fault);
    switch (fault) {
      case GUEST_REBOOTS -> {
        world.count("guests rebooted");
        host.ends.reboots(guest);
      }
      case GUEST_HALTS -> {
        world.count("guests shut down");
        if (host.ends.toldToStop(world.vm)) {
          host.ends.heed(world.vm, guest); // nobody can tell whether it would have so by itself
        } else {
          world.first.memoryLost = true;
          host.ends.byItself(GuestState.SHUTDOWN);
        }
      }
      default -> {
        if (guest.state == GuestState.INCOMING) {
          world.count("receiving processes died");
        } else {
          world.guestDied();
        }
        host.ends.byItself(GuestState.GONE);
      }
    }
    return true;
  }

  private boolean cancel(MigrationId migration) {
    SimHost host = either();
    for (LedgerRow row : host.ledgerDisk.unended()) {
      if (row.migration().equals(migration)) {
        return clients.cancel(host, row);
      }
    }
    return false;
  }

  private boolean clockJumps(SimHost host) {
    host.clockAhead =
        Duration.ofMinutes(world.random.nextInt(2 * WRONG_BY_MINUTES + 1) - WRONG_BY_MINUTES);
    world.count("clocks jumped");
    world.trace(host.name + ": the clock is wrong by " + host.clockAhead.toMinutes() + " min");
    world.met(Fault.CLOCK_JUMPS);
    return true;
  }

  private boolean certificateChanges(SimHost host) {
    Duration time = millis(200, 4_000);
    host.strangerUntil = world.scheduler.nanoTime() + time.toNanos();
    world.count("certificates changed");
    world.trace(host.name + ": shows another certificate for " + time.toMillis() + " ms");
    world.met(Fault.CERTIFICATE_CHANGED);
    return true;
  }
}
