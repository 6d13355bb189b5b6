package io.xenferry.simulation;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * What people do meanwhile: move the VM, twice at once, there and back; cancel; start it wherever
 * it is shown; and the faults that are no message's or record's: cuts, crashes, deaths.
 */
final class Clients {
  /** Sent beside the end of the disks, or from the beginning. */
  private static final long[] MEMORY = {4096, 1 << 30};

  private final World world;
  private int movesLeft;

  Clients(World world, int moves) {
    this.world = world;
    this.movesLeft = moves;
  }

  void begin() {
    world.scheduler.schedule(Duration.ofMillis(100), this::nowAndThen);
  }

  /** Nobody moves the VM any more. */
  boolean done() {
    return movesLeft == 0;
  }

  private void nowAndThen() {
    if (!world.quiet) {
      faults();
    }
    SimHost any = world.hosts.get(world.random.nextInt(2));
    boolean moving = world.hosts.stream().anyMatch(host -> !host.allEnded());
    if (!world.quiet && movesLeft > 0 && world.random.nextInt(moving ? 20 : 2) == 0) {
      move(any);
    }
    if (world.chance(world.faults.cancel())) {
      cancel(any);
    }
    if (!world.quiet && world.random.nextInt(4) == 0) {
      start(any);
    }
    world.scheduler.schedule(Duration.ofMillis(150 + world.random.nextInt(300)), this::nowAndThen);
  }

  private void faults() {
    if (world.chance(world.faults.cuts())) {
      world.cutNetwork(Duration.ofMillis(200 + world.random.nextInt(12_000)));
    }
    SimHost any = world.hosts.get(world.random.nextInt(2));
    if (world.chance(world.faults.crash())) {
      any.crash("between records");
    }
    SimGuest guest = any.guests.get(world.vm);
    if (guest != null && !guest.state.ended() && world.chance(world.faults.guestDeath())) {
      boolean byItself = guest.state == GuestState.RUNNING && world.random.nextBoolean();
      if (byItself) {
        world.count("guests shut down");
        world.memoryLost = true;
      } else if (guest.state == GuestState.INCOMING) {
        world.count("receiving processes died");
      } else {
        world.guestDied();
      }
      any.guestEnds(byItself ? GuestState.SHUTDOWN : GuestState.GONE);
    }
    if (world.chance(world.faults.blockLoss() * 3) && !any.exports.isEmpty()) {
      world.count("targets killed");
      world.trace(any.name + ": the iSCSI target dies");
      any.exports.clear();
    }
  }

  /** Moves the VM away from the host, if it is there and both servers are up. */
  void move(SimHost source) {
    SimHost destination = world.other(source);
    Coordinator from = source.coordinator;
    Coordinator to = destination.coordinator;
    SimHost.VmRecord record = source.vms.get(world.vm);
    if (from == null
        || to == null
        || record == null
        || record.hidden()
        || !source.serverUp()
        || !destination.serverUp()) {
      return;
    }
    movesLeft--;
    boolean running = source.guests.containsKey(world.vm);
    List<Plan.Disk> disks = new ArrayList<>();
    for (UUID vdi : record.vdis) {
      SimHost.Vdi disk = source.vdis.get(vdi);
      if (disk != null) {
        disks.add(
            new Plan.Disk(
                vdi,
                "xvd" + (char) ('a' + disks.size()),
                disk.disk.size(),
                "sr",
                List.of("log-dirty", "mirror", "auto").get(world.random.nextInt(3)),
                false));
      }
    }
    if (disks.size() != World.DISKS) {
      return;
    }
    Plan plan =
        new Plan(
            world.vm,
            world.vm,
            "vm",
            running ? Plan.Power.RUNNING : Plan.Power.HALTED,
            running ? MEMORY[world.random.nextInt(MEMORY.length)] : 0,
            disks,
            false,
            false,
            Map.of());
    MoveRequest request =
        new MoveRequest(plan, "{}", to.issueToken(List.of("sr"), destination.url()));
    world.trace("a client moves the VM from " + source.name);
    if (world.random.nextInt(3) > 0) {
      start(from, to, destination, plan, request);
      return;
    }
    from.check(request)
        .whenComplete((welcome, obstacle) -> {
          world.count(obstacle == null ? "checks passed" : "checks failed");
          // The server asks first and begins then; whoever died meanwhile begins nothing, nor does
          // anybody once the world has come to rest, which does not wait for a check.
          if (obstacle == null && !world.quiet && from == source.coordinator && source.serverUp()) {
            start(from, to, destination, plan, request);
          }
        });
  }

  private void start(
      Coordinator from, Coordinator to, SimHost destination, Plan plan, MoveRequest request) {
    from.start(request)
        .whenComplete((started, failure) -> {
          if (failure != null) {
            world.count("moves refused");
            return;
          }
          started
              .outcome()
              .whenComplete((status, why) -> world.count(why == null ? "moved" : "stayed"));
        });
    if (world.random.nextInt(6) == 0) {
      from.start(request);
      from.start(new MoveRequest(plan, "{}", to.issueToken(List.of("sr"), destination.url())));
    }
  }

  private void cancel(SimHost host) {
    Coordinator coordinator = host.coordinator;
    if (coordinator == null || !host.serverUp()) {
      return;
    }
    for (LedgerRow row : host.ledgerDisk.rows()) {
      if (!row.ended() && row.role() == Role.SOURCE) {
        world.count("cancels");
        world.trace("a client cancels at " + host.name);
        coordinator.cancel(row.migration(), Role.SOURCE);
      }
    }
  }

  /** Asks the gate wherever the VM has a record, and runs it where the gate says so. */
  private void start(SimHost host) {
    Gate gate = host.gate;
    if (gate == null
        || !host.serverUp()
        || !host.shows(world.vm)
        || host.guests.containsKey(world.vm)) {
      return;
    }
    int boot = host.boot;
    try {
      Gate.Permit permit = gate.enter(world.vm, Operation.START);
      world.later(
          world.latency(20),
          () -> {
            if (host.boot == boot
                && !host.guests.containsKey(world.vm)
                && host.shows(world.vm)
                && world.memoryLost) {
              SimGuest guest = new SimGuest(GuestState.PAUSED, world.sequence);
              guest.active = true;
              world.count("starts");
              world.trace("a client starts the VM on " + host.name);
              world.run(host, guest);
              host.guests.put(world.vm, guest);
              world.memoryLost = false;
            }
            permit.close();
          });
    } catch (XenApiException e) {
      world.count("starts refused by the gate");
    }
  }
}
