package io.xenferry.simulation;

import io.xenferry.copy.CopyOptions.Verify;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Ref;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
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
  private int movesLeft;

  /** Clients destroy tasks that they still need. */
  private boolean forgetful;

  /** Clients cancel in the last moment. */
  private boolean late;

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

  /** How clients and operators are in this world. */
  void behave(Random shape) {
    forgetful = shape.nextInt(6) == 0;
    late = shape.nextInt(6) == 0;
    world.trace(() ->
        "clients are " + (forgetful ? "forgetful" : "careful") + (late ? ", and cancel late" : ""));
    world.onDurable =
        world.onDurable.andThen((host, record) -> {
          if (record.equals("SWITCHING") || record.equals("COMMITTING")) {
            cancelInTheLastMoment(host);
          }
        });
  }

  private void cancelInTheLastMoment(SimHost host) {
    if (late && !world.quiet && world.random.nextInt(4) == 0) {
      world.scheduler.execute(() -> {
        SimApi calls = host.calls();
        if (calls != null) {
          calls.pending().forEach(task -> cancel(host, calls, task));
        }
      });
    }
  }

  private void cancel(SimHost host, SimApi calls, Row task) {
    world.trace("a client cancels the task at " + host.name);
    calls.cancel(task.ref());
  }

  /** Nobody moves the VM any more. */
  boolean done() {
    return movesLeft == 0;
  }

  private void nowAndThen() {
    if (!world.quiet) {
      mishaps.look();
    }
    SimHost any = world.hosts.get(world.random.nextInt(2));
    boolean moving = world.hosts.stream().anyMatch(host -> !host.allEnded());
    if (!world.quiet && movesLeft > 0 && world.random.nextInt(moving ? 20 : 2) == 0) {
      move(any);
      if (world.random.nextBoolean()) {
        world.vms.stream().skip(1).forEach(another -> move(any, another.uuid));
      }
    }
    for (LedgerRow row : any.ledgerDisk.unended()) {
      if (world.chance(Fault.CANCEL)) {
        cancel(any, row);
      }
      if (world.chance(Fault.DOUBLE_REQUEST)) {
        again(row.migration());
      }
    }
    withTasks(any);
    if (!world.quiet && world.random.nextInt(4) == 0) {
      start(any);
    }
    world.scheduler.schedule(Duration.ofMillis(150 + world.random.nextInt(300)), this::nowAndThen);
  }

  /** Moves the VM away from the host, if it is there and both servers are up. */
  void move(SimHost source) {
    if (move(source, world.vm)) {
      movesLeft--;
    }
  }

  /** Moves a VM; returns whether anybody could be asked. */
  boolean move(SimHost source, UUID vm) {
    SimHost destination = world.other(source);
    SimApi from = source.calls();
    Coordinator to = destination.answering();
    if (from == null || to == null || !source.shows(vm)) {
      return false;
    }
    world.trace(
        "a client moves " + (vm.equals(world.vm) ? "the" : "another") + " VM from " + source.name);
    from.send(vm, to.issueToken(List.of("sr"), destination.url()), options);
    return true;
  }

  /** The same, past all that stands before the coordinator. */
  void moveAtOnce(SimHost source, UUID vm) {
    SimHost destination = world.other(source);
    String token = destination.server().coordinator.issueToken(List.of("sr"), destination.url());
    try {
      start(
          source.server().coordinator,
          new MoveRequest(
              plan(world, source, vm, options),
              SimApi.document(Ref.withUuid(world.uuid())),
              token));
    } catch (XenApiException e) {
      throw new IllegalStateException(e);
    }
  }

  /** What a client asks for, as the VM is now. */
  static Plan plan(World world, SimHost source, UUID vm, Map<String, String> options)
      throws XenApiException {
    SimHost.VmRecord record = source.vms.get(vm);
    List<Plan.Disk> disks =
        record == null ? List.of() : disks(source, record, () -> strategy(world));
    if (disks.size() != world.scale.disks()) {
      throw new XenApiException("HANDLE_INVALID", "VDI", "one of the VM's");
    }
    boolean running = source.guests.containsKey(vm);
    Map<String, String> chosen = new HashMap<>(options);
    chosen.putIfAbsent(Verify.OPTION, VERIFY.get(disks.hashCode() & 3));
    return new Plan(
        vm,
        vm,
        "vm",
        running ? Plan.Power.RUNNING : Plan.Power.HALTED,
        running ? MEMORY[world.random.nextInt(MEMORY.length)] : 0,
        disks,
        false,
        false,
        chosen);
  }

  private static String strategy(World world) {
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
          if (failure != null) {
            world.count("moves refused");
            return;
          }
          started
              .outcome()
              .whenComplete((status, why) -> world.count(why == null ? "moved" : "stayed"));
        });
  }

  /**
   * A client begins a move once more: with another token, and, as if a message came late, with the
   * same.
   */
  boolean again(MigrationId migration) {
    for (SimHost host : world.hosts) {
      SimApi calls = host.calls();
      Optional<LedgerRow> row = host.ledgerDisk.find(migration, Role.SOURCE);
      if (calls != null && row.isPresent()) {
        world.count("double requests");
        world.trace("a client begins the move from " + host.name + " once more");
        world.met(Fault.DOUBLE_REQUEST, migration);
        LedgerRow begun = row.get();
        host.server()
            .coordinator
            .start(
                new MoveRequest(
                    StrictJson.read(begun.plan(), Plan.class), begun.metadata(), begun.token()));
        SimHost destination = world.other(host);
        Coordinator to = destination.answering();
        if (to != null) {
          calls.send(begun.vm(), to.issueToken(List.of("sr"), destination.url()), options);
        }
        return true;
      }
    }
    return false;
  }

  /**
   * A client cancels a move at either host, or its task.
   *
   * @return false when the server is away
   */
  boolean cancel(SimHost host, LedgerRow row) {
    SimApi calls = host.calls();
    if (calls == null) {
      return false;
    }
    world.count("cancels");
    world.met(Fault.CANCEL, row.migration());
    Optional<Row> task =
        calls.pending().stream()
            .filter(pending -> row.migration().equals(ApiPromises.migration(pending)))
            .findFirst();
    if (task.isPresent() && world.random.nextBoolean()) {
      cancel(host, calls, task.get());
    } else {
      world.trace("a client cancels at " + host.name);
      var unused = calls.cancel(row.migration(), row.role());
    }
    return true;
  }

  /** What clients do with tasks, whatever these have come to. */
  private void withTasks(SimHost host) {
    SimApi calls = host.calls();
    if (calls == null || world.quiet) {
      return;
    }
    for (Row task : calls.pending()) {
      if (ApiPromises.migration(task) == null && world.chance(Fault.CANCEL)) {
        cancel(host, calls, task);
      }
      if (forgetful && world.random.nextInt(20) == 0) {
        world.trace("a client destroys a task at " + host.name);
        calls.destroy(task.ref());
      }
    }
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
