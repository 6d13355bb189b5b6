package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.model.Ref;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.schema.Schema;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/**
 * One story in the simulated world, where nothing happens by chance but the order of what happens
 * at once: a VM at the source, both servers up, and the words to tell what befalls its move and how
 * that comes out. The fields of {@link SimHost} are what may be wrong with a host.
 */
abstract class Story {
  static final Schema SCHEMA = new Schema();

  private final List<String> trace = new ArrayList<>();
  final World world;
  final SimHost source;
  final SimHost destination;

  Story(long seed) {
    this(seed, Scale.SMALL);
  }

  Story(long seed, Scale scale) {
    world = new World(seed, Faults.NONE, Variant.SOUND, trace, scale);
    source = world.hosts.get(0);
    destination = world.hosts.get(1);
  }

  @BeforeEach
  final void begin() {
    Simulation.populate(world, true);
    world.hosts.forEach(SimHost::startServer);
    world.tick();
    run(Duration.ofMillis(200));
  }

  @AfterEach
  final void end() {
    world.end();
  }

  // ---- how it stands

  static Coordinator server(SimHost host) {
    return host.server().coordinator;
  }

  static Gate gate(SimHost host) {
    return host.server().gate;
  }

  static State state(SimHost host) {
    return host.ledgerDisk.rows().getFirst().state();
  }

  static MigrationId id(SimHost host) {
    return host.ledgerDisk.rows().getFirst().migration();
  }

  /** Of the first move, as the source tells it. */
  final MigrationStatus status() {
    return server(source).statuses().getFirst();
  }

  final GuestState guest(SimHost host) {
    SimGuest guest = host.guests.get(world.vm);
    return guest == null ? GuestState.GONE : guest.state;
  }

  /** The process there is at the source. */
  final SimGuest process() {
    return Objects.requireNonNull(source.guests.get(world.vm));
  }

  /** Why the gate lets nobody run the VM on a host; empty when it does. */
  final String refusal(SimHost host) {
    return refusal(host, Operation.UNPAUSE);
  }

  final String refusal(SimHost host, Operation operation) {
    try {
      gate(host).enter(world.vm, operation).close();
      return "";
    } catch (XenApiException e) {
      return e.getMessage();
    }
  }

  /** Of the newest move from the source. */
  final Row task() {
    return List.copyOf(source.database.snapshot().rows("task")).getLast();
  }

  final String taskStatus() {
    return SCHEMA.text(task(), "status");
  }

  final List<String> taskError() {
    return SCHEMA.texts(task(), "error_info");
  }

  /** Who answers clients at the source. */
  final SimApi calls() {
    return Objects.requireNonNull(source.calls());
  }

  final void untilTheTaskEnds() {
    runUntil(() -> source.calls() != null && !taskStatus().equals("pending"));
  }

  // ---- what is done

  final void run(Duration duration) {
    Simulation.drive(world, duration, () -> false);
  }

  /** Until something holds, which it must within some minutes. */
  final void runUntil(BooleanSupplier holds) {
    Simulation.drive(world, Duration.ofMinutes(10), holds);
    assertThat(holds.getAsBoolean()).as(this::told).isTrue();
  }

  /** Until the source shows a phase. */
  final void reach(String phase) {
    runUntil(
        () -> server(source).statuses().stream().anyMatch(status -> status.phase().equals(phase)));
  }

  private static Map<String, String> options(String... keysAndValues) {
    Map<String, String> options = new LinkedHashMap<>();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      options.put(keysAndValues[i], keysAndValues[i + 1]);
    }
    return options;
  }

  /** One of the {@link Clients} asks for a move, with options by key and value. */
  final void move(String... options) {
    Clients clients = new Clients(world, 1);
    clients.with(options(options));
    clients.move(source);
  }

  /** What a client asks for whose disks are copied by a strategy. */
  final MoveRequest request(String strategy, String... options) {
    SimHost.VmRecord record = Objects.requireNonNull(source.vms.get(world.vm));
    List<Plan.Disk> disks = Clients.disks(source, record, () -> strategy);
    Plan plan =
        new Plan(
            world.vm,
            world.vm,
            "vm",
            Plan.Power.RUNNING,
            4096,
            disks,
            false,
            false,
            options(options));
    return new MoveRequest(
        plan,
        SimApi.document(Ref.withUuid(world.uuid())),
        server(destination).issueToken(List.of("sr"), destination.url()));
  }

  final MoveRequest request() {
    return request("log-dirty");
  }

  /**
   * A client begins a move.
   *
   * @return how it comes out
   */
  final CompletableFuture<MigrationStatus> start(MoveRequest request) {
    return server(source).start(request).thenCompose(Coordinator.Started::outcome);
  }

  /** A client cancels the first move at the source. */
  final CompletableFuture<Void> cancel() {
    return calls().cancel(id(source), Role.SOURCE);
  }

  /** An operator has the first move go on otherwise. */
  final CompletableFuture<Void> steer(Steering.Change change) {
    return server(source).steer(id(source), Role.SOURCE, change);
  }

  final CompletableFuture<Void> steer(CutOver when) {
    return steer(Steering.Change.of(when));
  }

  /** Does something once, when a record of a host has become durable. */
  final void when(SimHost host, String record, Runnable action) {
    var before = world.onDurable;
    boolean[] done = {false};
    world.onDurable =
        (at, what) -> {
          before.accept(at, what);
          if (at == host && what.equals(record) && !done[0]) {
            done[0] = true;
            action.run();
          }
        };
  }

  /** Does something once, when a move has come to a phase at a host. */
  final void whenIn(SimHost host, String phase, Runnable action) {
    boolean[] done = {false};
    server(host)
        .listen(status -> {
          if (status.phase().equals(phase) && !done[0]) {
            done[0] = true;
            action.run();
          }
        });
  }

  /** A server is killed, and stays away. */
  static void kill(SimHost host) {
    crash(host, false);
  }

  /** A host loses its power, and stays off. */
  static void switchOff(SimHost host) {
    crash(host, true);
  }

  static void crash(SimHost host, boolean power) {
    host.heldDown = true;
    host.crash("as the story goes", power);
  }

  static void comeBack(SimHost host) {
    host.heldDown = false;
    host.startServer();
  }

  // ---- how it comes out

  /** The guest runs at the destination, and everything is in order. */
  final void assertMoved() {
    assertThat(guest(destination)).as(this::told).isEqualTo(GuestState.RUNNING);
    assertArrived();
  }

  /** The VM is shown at the destination, and nothing of it or of its move is left elsewhere. */
  final void assertArrived() {
    assertThat(state(source)).as(this::told).isEqualTo(State.GIVEN);
    assertThat(destination.shows(world.vm)).isTrue();
    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(source.vms).isEmpty();
    assertThat(source.vdis).isEmpty();
    assertOver();
  }

  /** The guest runs at the source, and nothing is left of its move. */
  final void assertStayed() {
    assertThat(guest(source)).as(this::told).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isEqualTo(GuestState.GONE);
    assertOver();
  }

  /** Both hosts have ended it, and have nothing that is not a shown VM's. */
  final void assertOver() {
    assertThat(source.allEnded()).as(this::told).isTrue();
    assertThat(destination.allEnded()).as(this::told).isTrue();
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
  }

  static MigrationException failure(CompletableFuture<?> future) {
    Throwable cause = future.exceptionNow();
    while (cause instanceof CompletionException && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return (MigrationException) cause;
  }

  /** All that has happened, for whoever looks into a failure. */
  final String told() {
    return String.join("\n", trace);
  }
}
