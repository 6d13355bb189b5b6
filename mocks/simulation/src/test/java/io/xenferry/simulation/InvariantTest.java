package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.copy.BlockMap;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.copy.SourceDisk;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.JournalEntry.Kind;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.Tasks;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.time.SimulatedScheduler;
import io.xenferry.time.SimulatedThreads;
import java.io.IOException;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.UUID;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Each invariant can fail: the world is broken by hand, and must be found so. */
class InvariantTest {
  /** What a test breaks. */
  @Retention(RetentionPolicy.RUNTIME)
  private @interface Breaks {
    Invariant value();
  }

  private static final MigrationId ONE = new MigrationId(new UUID(1, 2));
  private static final MigrationId ANOTHER = new MigrationId(new UUID(3, 4));

  private final World world = new World(3, Faults.NONE, Variant.SOUND, null);
  private final SimHost home = world.hosts.get(0);
  private final SimHost other = world.hosts.get(1);
  private final EnumSet<Invariant> seen = EnumSet.noneOf(Invariant.class);

  @BeforeEach
  void begin() {
    Simulation.populate(world, true);
    world.inspect();
  }

  @ParameterizedTest
  @EnumSource(Invariant.class)
  void eachIsBrokenByATest(Invariant invariant) {
    assertThat(InvariantTest.class.getDeclaredMethods())
        .anyMatch(test ->
            test.isAnnotationPresent(Test.class)
                && test.isAnnotationPresent(Breaks.class)
                && test.getAnnotation(Breaks.class).value() == invariant);
  }

  /** Whoever says what it breaks has seen that broken. */
  @AfterEach
  void whatATestSaysItBreaksWasBroken(TestInfo test) {
    Breaks said = test.getTestMethod().orElseThrow().getAnnotation(Breaks.class);
    assertThat(seen).containsAll(said == null ? List.of() : List.of(said.value()));
  }

  @AfterEach
  void end() {
    world.end();
  }

  private void broken(Invariant invariant, ThrowingCallable look) {
    assertThatThrownBy(look)
        .isInstanceOf(InvariantViolation.class)
        .hasMessageStartingWith(invariant.words() + ": ");
    seen.add(invariant);
  }

  /** An effect that comes about breaks it. */
  private void brokenSoon(Invariant invariant, Runnable effect) {
    world.inspecting = false; // no record allows it
    effect.run();
    broken(invariant, () -> Simulation.drive(world, Duration.ofSeconds(1), () -> false));
  }

  private SimGuest guest() {
    return Objects.requireNonNull(home.guests.get(world.vm));
  }

  private SimHost.VmRecord shown() {
    return Objects.requireNonNull(home.vms.get(world.vm));
  }

  private void serversStart() {
    world.hosts.forEach(SimHost::startServer);
    Simulation.drive(world, Duration.ofMillis(200), () -> false);
  }

  private void driveTo(SimHost host, State state) {
    Simulation.drive(
        world, Duration.ofMinutes(1), () -> host.ledgerDisk.rows().getFirst().state() == state);
    assertThat(host.ledgerDisk.rows().getFirst().state()).isEqualTo(state);
  }

  private void moveBegins() {
    if (!home.serverUp()) {
      serversStart();
    }
    new Clients(world, 1).move(home);
    Simulation.drive(world, Duration.ofMinutes(1), () -> !home.ledgerDisk.rows().isEmpty());
  }

  private SimDisk disk() {
    return Objects.requireNonNull(home.diskOf(world.vm, 0)).disk;
  }

  @Test
  @Breaks(Invariant.ONE_RUNS)
  void twoGuestsRun() {
    other.guests.put(world.vm, new SimGuest(GuestState.RUNNING));
    broken(Invariant.ONE_RUNS, world::inspect);
  }

  @Test
  @Breaks(Invariant.ONE_WRITES)
  void anOpenDiskIsExported() {
    UUID vdi = shown().vdis.getFirst();
    tell(home, "--mode target --op new --tid 1 --targetname iqn.2026-01.io.xenferry:x");
    tell(home, "--mode logicalunit --op new --tid 1 --lun 1 --backing-store /" + vdi);
    broken(
        Invariant.ONE_WRITES,
        () -> tell(home, "--mode target --op bind --tid 1 --initiator-address ALL"));
  }

  @Test
  void aBlockIsWrongEverywhere() {
    disk().write(5, 4711);
    broken(Invariant.COMPLETE_COPY, world::inspect);
  }

  @Test
  @Breaks(Invariant.MEMORY)
  void theMemoryIsNowhere() {
    home.guests.clear();
    broken(Invariant.MEMORY, () -> world.checkMemory(world.vm, "this"));
    broken(Invariant.MEMORY, world::inspect);
  }

  @Test
  @Breaks(Invariant.COMPLETE_COPY)
  void noHostHasBothDisksAndMemory() {
    home.guests.clear();
    broken(Invariant.COMPLETE_COPY, world::inspect);
  }

  @Test
  @Breaks(Invariant.DIRTY_BITS)
  void aBlockDiffersAndNoBitSaysSo() {
    SimulatedScheduler.Process server = world.scheduler.process("A");
    MemoryDirtyLog log =
        MemoryDirtyLog.immediate(new BlockMap(disk().size(), SimDisk.BLOCK), server);
    SimSource source =
        new SimSource(
            "xvda", disk(), log, world, new MigrationId(new UUID(1, 2)), () -> true, server);
    source.copiedTo(new SimDisk(Scale.SMALL.blocks()));
    world.inspect();
    SourceDisk.Pass pass = source.beginPass().join();
    world.inspect();
    assertThat(pass.ranges()).isNotEmpty();
    log.mark(0, Scale.SMALL.blocks()).join();
    world.inspect();
    log.clear(log.marked());
    broken(Invariant.DIRTY_BITS, world::inspect);
  }

  @Test
  @Breaks(Invariant.EQUAL_AT_THE_COMMIT)
  void theDestinationIsNotEqualAtTheCommit() {
    world.inspectCommit(home, world.first);
    broken(Invariant.EQUAL_AT_THE_COMMIT, () -> world.inspectCommit(other, world.first));
  }

  @Test
  @Breaks(Invariant.DURABLE_FIRST)
  void aDiskIsMadeThatNobodyHasJournaled() {
    other.startServer();
    SimDestinationPorts ports = arriving(other);
    Plan.Disk disk = new Plan.Disk(new UUID(1, 2), "xvda", 512, "sr", "auto", false);
    broken(
        Invariant.DURABLE_FIRST,
        () -> ports.storage().createVdi(new MigrationId(new UUID(1, 2)), disk, new UUID(3, 4)));
  }

  @Test
  @Breaks(Invariant.OUTCOME_TOLD)
  void whoeverWaitsIsNotTold() {
    moveBegins();
    broken(Invariant.OUTCOME_TOLD, () -> Simulation.checkOutcomes(world, home));
  }

  @Test
  @Breaks(Invariant.NEVER_BACK)
  void aGuestRunsWithAnOlderMemory() {
    SimGuest guest = guest();
    guest.state = GuestState.PAUSED;
    SimGuest newer = new SimGuest(GuestState.RUNNING);
    world.first.write(newer, 0, 5);
    disk().guestWrite(5, world.first.sequence);
    broken(Invariant.NEVER_BACK, () -> world.run(home, world.vm, guest));
  }

  @Test
  @Breaks(Invariant.NEVER_BACK)
  void aGuestRunsWithPagesOfBeforeItsReboot() {
    SimGuest guest = guest();
    SimGuest receiver = new SimGuest(GuestState.INCOMING);
    guest.memory.send(receiver.memory);
    world.first.boot(guest, false);
    guest.memory.sendRest(receiver.memory);
    guest.state = GuestState.PAUSED;
    home.guests.put(world.vm, receiver);
    broken(Invariant.NEVER_BACK, () -> world.run(home, world.vm, receiver));
    world.first.boot(guest, true);
    guest.memory.sendRest(receiver.memory);
    world.run(home, world.vm, receiver);
  }

  @Test
  @Breaks(Invariant.COMPLETE_WHERE_IT_RUNS)
  void aGuestRunsWhereABlockIsWrong() {
    guest().state = GuestState.PAUSED;
    disk().write(5, 4711);
    broken(Invariant.COMPLETE_WHERE_IT_RUNS, () -> world.run(home, world.vm, guest()));
  }

  @Test
  @Breaks(Invariant.OWN_OBJECTS)
  void aCleanUpRemovesAnotherMigrationsDisk() {
    other.startServer();
    UUID vdi = new UUID(5, 6);
    other.vdis.put(vdi, new SimHost.Vdi(new SimDisk(1), ANOTHER));
    SimDestinationPorts ports = arriving(other);
    brokenSoon(Invariant.OWN_OBJECTS, () -> ports.storage().destroyVdi(ONE, vdi));
  }

  @Test
  @Breaks(Invariant.RUNNING_STAYS)
  void aCleanUpEndsTheRunningGuestOfItsSource() {
    home.startServer();
    SimSourcePorts ports = new SimSourcePorts(world, home, home.server().process);
    brokenSoon(Invariant.RUNNING_STAYS, () -> ports.guests().destroy(world.vm));
  }

  @Test
  @Breaks(Invariant.RUNNING_STAYS)
  void aCleanUpEndsTheRunningGuestOfItsDestination() {
    home.startServer();
    SimDestinationPorts ports = arriving(home);
    brokenSoon(Invariant.RUNNING_STAYS, () -> ports.guests().destroy(world.vm));
  }

  @Test
  @Breaks(Invariant.PROGRESS)
  void progressFalls() {
    moveBegins();
    MigrationStatus status = home.server().coordinator.statuses().getFirst();
    home.server().changed(at(status, 0.5));
    home.server().changed(at(status, 0.5));
    broken(Invariant.PROGRESS, () -> home.server().changed(at(status, 0.25)));
  }

  /** The tasks of a host, with nobody behind them. */
  private Tasks tasks(SimHost host) {
    SimulatedScheduler.Process server = host.server().process;
    SimulatedThreads nobody =
        new SimulatedThreads(server, () -> Duration.ZERO, () -> new SimulatedCrash(host.name));
    return new Tasks(host.database.of(server, nobody), new Schema(), Clock.systemUTC());
  }

  private static Task begun(Tasks tasks, MigrationId migration) throws XenApiException {
    Task task = tasks.start("VM.migrate_send", "", Ref.nullRef(), "", Ref.nullRef());
    task.note("migration", migration.toString());
    return task;
  }

  @Test
  @Breaks(Invariant.TASK_TRUTH)
  void aTaskSaysThatAVmHasMovedThatHasNot() throws XenApiException {
    serversStart();
    Tasks tasks = tasks(home);
    Task task = begun(tasks, ONE);
    broken(Invariant.TASK_TRUTH, () -> tasks.succeed(task.ref(), ""));
  }

  @Test
  @Breaks(Invariant.TASK_TRUTH)
  void aTaskSaysThatAVmStaysThatHasMoved() throws XenApiException {
    moveBegins();
    Simulation.drive(world, Duration.ofMinutes(1), world::calm);
    Simulation.judge(world);
    Tasks tasks = tasks(home);
    Task task = begun(tasks, home.ledgerDisk.rows().getFirst().migration());
    broken(
        Invariant.TASK_TRUTH,
        () -> tasks.fail(task.ref(), new XenApiException("VM_MIGRATE_FAILED")));
  }

  @Test
  @Breaks(Invariant.TASK_PROGRESS)
  void theProgressOfATaskFalls() throws XenApiException {
    serversStart();
    Tasks tasks = tasks(home);
    Task task = begun(tasks, ONE);
    task.progress(0.5);
    broken(Invariant.TASK_PROGRESS, () -> tasks.tell(task.ref(), "progress", Value.of(0.25)));
  }

  @Test
  @Breaks(Invariant.CANCEL_KEPT)
  void aTaskWhoseCancelWasAnsweredWellEndsOtherwise() throws XenApiException {
    serversStart();
    Tasks tasks = tasks(home);
    Task task = begun(tasks, ONE);
    task.cancellable(true);
    tasks.cancel(task.ref(), "by");
    home.database.promises.cancelAnswered(home.database.snapshot(), task.ref(), "by");
    broken(
        Invariant.CANCEL_KEPT,
        () -> tasks.fail(task.ref(), new XenApiException("VM_MIGRATE_FAILED")));
  }

  @Test
  @Breaks(Invariant.CANCEL_KEPT)
  void aTaskEndsCancelledThatNobodyHasCancelled() throws XenApiException {
    serversStart();
    Tasks tasks = tasks(home);
    Task task = begun(tasks, ONE);
    broken(
        Invariant.CANCEL_KEPT,
        () -> tasks.fail(task.ref(), new XenApiException("TASK_CANCELLED", task.ref())));
  }

  @Test
  @Breaks(Invariant.CANCEL_KEPT)
  void aCancelThatWasRefusedLeavesItsMark() throws XenApiException {
    serversStart();
    Tasks tasks = tasks(home);
    Task task = begun(tasks, ONE);
    task.cancellable(true);
    tasks.cancel(task.ref(), "by");
    broken(
        Invariant.CANCEL_KEPT,
        () -> home.database.promises.cancelRefused(home.database.snapshot(), task.ref(), "by"));
  }

  @Test
  @Breaks(Invariant.CANCEL_KEPT)
  void aMoveGoesOnWhoseCancelWasAnsweredWell() {
    moveBegins();
    home.database.promises.cancelAnswered(home.ledgerDisk.rows().getFirst().migration());
    Simulation.drive(world, Duration.ofMinutes(1), world::calm);
    broken(Invariant.CANCEL_KEPT, () -> Simulation.judge(world));
  }

  @Test
  @Breaks(Invariant.API_ENDS)
  void aTaskNeverEnds() throws XenApiException {
    serversStart();
    begun(tasks(home), ONE);
    broken(Invariant.API_ENDS, () -> Simulation.judge(world));
  }

  @Test
  @Breaks(Invariant.API_ENDS)
  void anOperationIsShownForEver() throws XenApiException {
    serversStart();
    Ref<VM> vm =
        new Ref<>(home.database.snapshot().byUuid("VM", world.vm.toString()).orElseThrow().ref());
    SimulatedScheduler.Process server = home.server().process;
    SimulatedThreads nobody =
        new SimulatedThreads(server, () -> Duration.ZERO, () -> new SimulatedCrash("A"));
    new VmAdmission(home.database.of(server, nobody), SimDatabase.ALLOWED::refresh)
        .begin(vm, VmOperations.MIGRATE_SEND, "task");
    broken(Invariant.API_ENDS, () -> Simulation.judge(world));
  }

  @Test
  @Breaks(Invariant.PLACES)
  void oneMoveMoreLeavesThanThereArePlaces() {
    world.placesCount = true;
    moveBegins();
    LedgerRow first = home.ledgerDisk.rows().getFirst();
    LedgerRow second =
        new LedgerRow(
            ANOTHER,
            Role.SOURCE,
            new UUID(7, 8),
            State.SENDING,
            first.peerUrl(),
            first.peerFingerprint(),
            first.peerIncarnation(),
            first.key(),
            first.token(),
            first.plan(),
            first.metadata(),
            Optional.empty(),
            false,
            false,
            false,
            false,
            first.boot(),
            first.created(),
            first.updated(),
            first.expiry(),
            0);
    broken(Invariant.PLACES, () -> home.server().ledger.insert(second));
  }

  private static MigrationStatus at(MigrationStatus status, double progress) {
    return new MigrationStatus(
        status.migration(),
        status.role(),
        status.vm(),
        status.state(),
        status.phase(),
        progress,
        status.disks(),
        status.phases(),
        status.memorySent(),
        status.memoryRemaining(),
        status.waiting(),
        status.peer(),
        status.downtime(),
        status.steering(),
        status.outcome(),
        status.forced(),
        status.ended(),
        status.started(),
        status.updated());
  }

  @Test
  @Breaks(Invariant.STAYS_COMMITTING)
  void aSourceLeavesCommitting() {
    moveBegins();
    driveTo(home, State.COMMITTING);
    Simulation.checkWaiting(world, home);
    driveTo(home, State.GIVEN);
    broken(Invariant.STAYS_COMMITTING, () -> Simulation.checkWaiting(world, home));
  }

  private void disksAreMade() {
    moveBegins();
    Simulation.drive(world, Duration.ofMinutes(1), () -> other.vdis.size() == Scale.SMALL.disks());
    Simulation.checkUndecided(world, other);
  }

  @Test
  @Breaks(Invariant.DOUBT_DECIDES_NOTHING)
  void aRowInDoubtDecides() {
    disksAreMade();
    driveTo(other, State.READY);
    broken(Invariant.DOUBT_DECIDES_NOTHING, () -> Simulation.checkUndecided(world, other));
  }

  @Test
  @Breaks(Invariant.DOUBT_DECIDES_NOTHING)
  void aDiskOfARowInDoubtIsRemoved() {
    disksAreMade();
    other.vdis.remove(other.vdis.keySet().iterator().next());
    broken(Invariant.DOUBT_DECIDES_NOTHING, () -> Simulation.checkUndecided(world, other));
  }

  /** The hypervisor's word of the end gets lost, and nothing else tells. */
  @Test
  @Breaks(Invariant.ENDS_WITH_ITS_GUEST)
  void aMoveOutlivesItsGuest() {
    serversStart();
    Simulation.drive(world, Duration.ofSeconds(5), () -> false);
    moveBegins();
    world.cutNetwork(Duration.ofSeconds(5)); // so that it does not fail by itself
    Simulation.drive(world, Duration.ofMillis(100), () -> false);
    home.observing = Duration.ofMinutes(1);
    home.ends.losePower();
    home.ends.byItself(GuestState.SHUTDOWN);
    broken(
        Invariant.ENDS_WITH_ITS_GUEST,
        () -> Simulation.drive(world, Duration.ofSeconds(2), () -> false));
  }

  @Test
  @Breaks(Invariant.EVERYTHING_ENDS)
  void aMoveGoesOnForEver() {
    moveBegins();
    broken(Invariant.EVERYTHING_ENDS, () -> Simulation.judge(world));
  }

  /** Whatever is left, it is named. */
  @Test
  @Breaks(Invariant.NOTHING_LEFT)
  void somethingIsLeft() {
    serversStart();
    Simulation.judge(world);
    UUID one = new UUID(5, 6);
    Map<String, Runnable> things = new LinkedHashMap<>();
    things.put("account a", () -> tell(other, "--mode account --op new --user a"));
    things.put(
        "export e",
        () -> {
          tell(other, "--mode target --op new --tid 1 --targetname e");
          tell(other, "--mode target --op bind --tid 1 --initiator-address ALL");
        });
    things.put(
        "half-made target t", () -> tell(other, "--mode target --op new --tid 1 --targetname t"));
    things.put("hidden VM", () -> other.vms.put(one, new SimHost.VmRecord(List.of(), ONE)));
    things.put("VDI", () -> other.vdis.put(one, new SimHost.Vdi(new SimDisk(1), ONE)));
    things.put("dirty bitmap", () -> disk().trackers.add(new BitSet()));
    things.put("mirror", () -> disk().mirrors.add(new Nowhere()));
    things.put(
        "dirty log d",
        () ->
            other.dirtyLogs.put(
                "d",
                MemoryDirtyLog.immediate(
                    new BlockMap(disk().size(), SimDisk.BLOCK), world.scheduler)));
    things.put("guest process", () -> other.guests.put(one, new SimGuest(GuestState.INCOMING)));
    things.put(
        "journal VDI v",
        () ->
            other
                .server()
                .ledger
                .intend(new JournalEntry(ONE, Kind.VDI, "v", "", JournalEntry.Standing.OPEN)));
    things.forEach((name, put) -> {
      assertThat(leftovers()).isEmpty();
      put.run();
      assertThat(leftovers()).singleElement().asString().startsWith(name);
      broken(Invariant.NOTHING_LEFT, () -> Simulation.judge(world));
      other.tgtd.die();
      other.tgtd.start();
      other.vms.clear();
      other.vdis.clear();
      other.dirtyLogs.clear();
      other.guests.clear();
      disk().trackers.clear();
      disk().mirrors.clear();
    });
  }

  private SimDestinationPorts arriving(SimHost host) {
    SimulatedScheduler.Process server = host.server().process;
    return new SimDestinationPorts(world, host, server, new SimExports(world, host, server));
  }

  private static void tell(SimHost host, String command) {
    host.tgtd.start();
    try {
      host.tgtd.run(command.split(" "));
    } catch (TargetException e) {
      throw new AssertionError(e);
    }
  }

  private List<String> leftovers() {
    return world.hosts.stream().flatMap(host -> host.leftovers().stream()).toList();
  }

  /** A mirror to nowhere. */
  private static final class Nowhere implements SimDisk.Mirrored {
    @Override
    public void write(int block, long record) {}

    @Override
    public void breaks() {}
  }

  @Test
  @Breaks(Invariant.ONE_HOME)
  void bothSidesShowTheVm() {
    serversStart();
    other.vms.put(world.vm, new SimHost.VmRecord(List.of(), null));
    broken(Invariant.ONE_HOME, () -> Simulation.judge(world));
  }

  @Test
  @Breaks(Invariant.ONE_HOME)
  void theVmIsShownWithoutADisk() {
    serversStart();
    home.vdis.remove(shown().vdis.getFirst());
    broken(Invariant.ONE_HOME, () -> Simulation.judge(world));
  }

  @Test
  @Breaks(Invariant.NO_WRITE_LOST)
  void aWriteIsLost() {
    serversStart();
    disk().write(5, 4711);
    broken(Invariant.NO_WRITE_LOST, () -> Simulation.judge(world));
  }

  @Test
  @Breaks(Invariant.RUNS_IN_THE_END)
  void theGuestStandsStill() {
    serversStart();
    guest().state = GuestState.PAUSED;
    broken(Invariant.RUNS_IN_THE_END, () -> Simulation.judge(world));
  }

  @Test
  @Breaks(Invariant.RUNS_IN_THE_END)
  void theGuestIsNoMore() {
    serversStart();
    home.guests.clear();
    broken(Invariant.RUNS_IN_THE_END, () -> Simulation.judge(world));
  }

  @Test
  void aViolationThatAFutureKeepsToItselfIsSeenAfterTheStep() {
    broken(Invariant.NEVER_BACK, () -> world.check(false, Invariant.NEVER_BACK, "in a future"));
    broken(Invariant.NEVER_BACK, world::inspect);
  }

  @Test
  void theManualNamesThemAllAndEveryFault() throws IOException {
    String page =
        Files.readString(
            Path.of(System.getProperty("user.dir")).resolve("../../docs/simulation.md"));
    for (Invariant invariant : Invariant.values()) {
      assertThat(page).contains("| " + invariant.words() + " |");
    }
    for (Fault fault : Fault.values()) {
      assertThat(page).containsPattern("\\| ([a-z ]+, )*" + fault.words() + "(, [a-z ]+)* \\|");
    }
  }

  @Test
  void theTableIsJudgedByItsEmptyCells() {
    Coverage coverage = new Coverage();
    assertThat(coverage.wrong()).hasSize(Coverage.CELLS.size());
    Coverage.CELLS.forEach(cell -> coverage.hit(cell.state(), cell.fault()));
    assertThat(coverage.wrong()).isEmpty();
    coverage.hit(State.READY, Fault.TARGET_GONE);
    assertThat(coverage.wrong()).singleElement().asString().contains("said to be impossible");
  }
}
