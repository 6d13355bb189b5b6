package io.xenferry.simulation;

import io.xenferry.copy.CopyOptions.Verify;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Supplier;

/**
 * What people do meanwhile: move the VM, twice at once, there and back; cancel; start it wherever
 * it is shown.
 */
final class Clients {
  /** Sent beside the end of the disks, or from the beginning. */
  private static final long[] MEMORY = {4096, 1 << 30};

  private static final List<String> STRATEGIES = List.of("log-dirty", "mirror", "auto");

  private static final List<String> VERIFY = List.of("none", "sampled", "full", "paused");

  private final World world;
  private final Mishaps mishaps;
  private final Map<MigrationId, MoveRequest> requests = new HashMap<>();
  private int movesLeft;

  /**
   * Moves that were asked for, and have neither begun nor been refused; or their server has died.
   */
  private int beginning;

  /** Of each move. */
  private Map<String, String> options = Map.of();

  Clients(World world, int moves) {
    this.world = world;
    this.movesLeft = moves;
    this.mishaps = new Mishaps(world, this);
  }

  Mishaps mishaps() {
    return mishaps;
  }

  void begin() {
    world.scheduler.schedule(Duration.ofMillis(100), this::nowAndThen);
  }

  /** From now on moves have these options. */
  void with(Map<String, String> chosen) {
    options = chosen;
  }

  /** Nobody moves the VM any more, and what was asked for has begun. */
  boolean done() {
    return movesLeft == 0 && beginning == 0;
  }

  private void nowAndThen() {
    if (!world.quiet) {
      mishaps.look();
    }
    SimHost any = world.hosts.get(world.random.nextInt(2));
    boolean moving = world.hosts.stream().anyMatch(host -> !host.allEnded());
    if (!world.quiet && movesLeft > 0 && world.random.nextInt(moving ? 20 : 2) == 0) {
      move(any);
    }
    for (LedgerRow row : any.ledgerDisk.unended()) {
      if (world.chance(Fault.CANCEL)) {
        cancel(any, row);
      }
      if (world.chance(Fault.DOUBLE_REQUEST)) {
        again(row.migration());
      }
    }
    if (!world.quiet && world.random.nextInt(4) == 0) {
      start(any);
    }
    world.scheduler.schedule(Duration.ofMillis(150 + world.random.nextInt(300)), this::nowAndThen);
  }

  /** Moves the VM away from the host, if it is there and both servers are up. */
  void move(SimHost source) {
    move(source, world.vm);
  }

  void move(SimHost source, UUID vm) {
    SimHost destination = world.other(source);
    Coordinator from = source.answering();
    Coordinator to = destination.answering();
    SimHost.VmRecord record = source.vms.get(vm);
    if (from == null || to == null || record == null || record.hidden()) {
      return;
    }
    movesLeft--;
    boolean running = source.guests.containsKey(vm);
    List<Plan.Disk> disks = disks(source, record, this::strategy);
    if (disks.size() != world.scale.disks()) {
      return;
    }
    Map<String, String> chosen = new HashMap<>(options);
    chosen.putIfAbsent(Verify.OPTION, VERIFY.get(disks.hashCode() & 3));
    Plan plan =
        new Plan(
            vm,
            vm,
            "vm",
            running ? Plan.Power.RUNNING : Plan.Power.HALTED,
            running ? MEMORY[world.random.nextInt(MEMORY.length)] : 0,
            disks,
            false,
            false,
            chosen);
    MoveRequest request =
        new MoveRequest(plan, "{}", to.issueToken(List.of("sr"), destination.url()));
    world.trace("a client moves the VM from " + source.name);
    beginning++;
    if (world.random.nextInt(3) > 0) {
      start(from, request);
      return;
    }
    from.check(request)
        .whenComplete((welcome, obstacle) -> {
          world.count(obstacle == null ? "checks passed" : "checks failed");
          // The server asks first and begins then; whoever died meanwhile begins nothing, nor does
          // anybody once the world has come to rest, which does not wait for a check.
          if (obstacle == null && !world.quiet && from == source.answering()) {
            start(from, request);
          } else {
            beginning--;
          }
        });
  }

  private String strategy() {
    return Optional.ofNullable(world.aim)
        .flatMap(Aim::strategy)
        .orElseGet(() -> STRATEGIES.get(world.random.nextInt(STRATEGIES.size())));
  }

  /** A VM's disks, as a plan has them; those that are gone left out. */
  static List<Plan.Disk> disks(SimHost source, SimHost.VmRecord record, Supplier<String> strategy) {
    List<Plan.Disk> disks = new ArrayList<>();
    for (UUID vdi : record.vdis) {
      SimHost.Vdi disk = source.vdis.get(vdi);
      if (disk != null) {
        String device = "xvd" + (char) ('a' + disks.size());
        disks.add(new Plan.Disk(vdi, device, disk.disk.size(), "sr", strategy.get(), false));
      }
    }
    return disks;
  }

  private void start(Coordinator from, MoveRequest request) {
    from.start(request)
        .whenComplete((started, failure) -> {
          beginning--;
          if (failure != null) {
            world.count("moves refused");
            return;
          }
          started
              .outcome()
              .whenComplete((status, why) -> world.count(why == null ? "moved" : "stayed"));
        });
    requests.put(from.migrationOf(request), request);
  }

  /** A client begins a move once more: with the same token, and with another. */
  boolean again(MigrationId migration) {
    MoveRequest request = requests.get(migration);
    for (SimHost host : world.hosts) {
      Coordinator from = host.answering();
      if (request != null
          && from != null
          && host.ledgerDisk.find(migration, Role.SOURCE).isPresent()) {
        world.count("double requests");
        world.trace("a client begins the move from " + host.name + " once more");
        world.met(Fault.DOUBLE_REQUEST, migration);
        from.start(request);
        SimHost destination = world.other(host);
        Coordinator to = destination.answering();
        if (to != null) {
          from.start(
              new MoveRequest(
                  request.plan(), "{}", to.issueToken(List.of("sr"), destination.url())));
        }
        return true;
      }
    }
    return false;
  }

  /**
   * A client cancels at either host.
   *
   * @return false when the server is away
   */
  boolean cancel(SimHost host, LedgerRow row) {
    Coordinator coordinator = host.answering();
    if (coordinator == null) {
      return false;
    }
    world.count("cancels");
    world.trace("a client cancels at " + host.name);
    world.met(Fault.CANCEL, row.migration());
    coordinator.cancel(row.migration(), row.role());
    return true;
  }

  /** Asks the gate wherever the VM has a record, and runs it where the gate says so. */
  void start(SimHost host) {
    if (!host.serverUp() || !host.shows(world.vm) || host.guests.containsKey(world.vm)) {
      return;
    }
    int boot = host.boot;
    try {
      Gate.Permit permit = host.server().gate.enter(world.vm, Operation.START);
      world.later(
          world.latency(20),
          () -> {
            if (host.boot == boot
                && !host.guests.containsKey(world.vm)
                && host.shows(world.vm)
                && world.first.memoryLost) {
              SimGuest guest = new SimGuest(GuestState.PAUSED);
              world.first.boot(guest, true);
              guest.active = true;
              world.count("starts");
              world.trace("a client starts the VM on " + host.name);
              world.run(host, world.vm, guest);
              host.guests.put(world.vm, guest);
              world.first.memoryLost = false;
            }
            permit.close();
          });
    } catch (XenApiException e) {
      world.count("starts refused by the gate");
    }
  }
}
