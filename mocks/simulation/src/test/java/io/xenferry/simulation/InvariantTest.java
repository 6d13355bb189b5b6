package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.copy.BlockMap;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.copy.SourceDisk;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import io.xenferry.time.SimulatedScheduler;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.UUID;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Each invariant can fail: the world is broken by hand, and must be found so. */
class InvariantTest {
  private final World world = new World(3, Faults.NONE, Variant.SOUND, null);
  private final SimHost home = world.hosts.get(0);
  private final SimHost other = world.hosts.get(1);

  @BeforeEach
  void begin() {
    Simulation.populate(world, true);
    world.inspect();
  }

  private static void broken(Invariant invariant, ThrowingCallable look) {
    assertThatThrownBy(look)
        .isInstanceOf(InvariantViolation.class)
        .hasMessageStartingWith(invariant.words());
  }

  private SimDisk disk() {
    return Objects.requireNonNull(home.diskOf(world.vm, 0)).disk;
  }

  @Test
  void twoGuestsRun() {
    other.guests.put(world.vm, new SimGuest(GuestState.RUNNING, world.first.sequence));
    broken(Invariant.ONE_RUNS, world::inspect);
  }

  @Test
  void anOpenDiskIsExported() {
    UUID vdi = Objects.requireNonNull(home.vms.get(world.vm)).vdis.getFirst();
    home.exports.put("export", new SimHost.Export(vdi));
    broken(Invariant.ONE_WRITES, world::inspect);
  }

  @Test
  void aBlockIsWrongEverywhere() {
    disk().write(5, 4711);
    broken(Invariant.COMPLETE_COPY, world::inspect);
  }

  @Test
  void theMemoryIsNowhere() {
    home.guests.clear();
    broken(Invariant.MEMORY, () -> world.checkMemory(world.vm, "this"));
    broken(Invariant.MEMORY, world::inspect);
  }

  @Test
  void noHostHasBothDisksAndMemory() {
    home.guests.clear();
    broken(Invariant.COMPLETE_COPY, world::inspect);
  }

  @Test
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
  void theDestinationIsNotEqualAtTheCommit() {
    world.inspectCommit(home);
    broken(Invariant.EQUAL_AT_THE_COMMIT, () -> world.inspectCommit(other));
  }

  @Test
  void aDiskIsMadeThatNobodyHasJournaled() {
    other.startServer();
    SimDestinationPorts ports = new SimDestinationPorts(world, other, other.server().process);
    Plan.Disk disk = new Plan.Disk(new UUID(1, 2), "xvda", 512, "sr", "auto", false);
    broken(
        Invariant.DURABLE_FIRST,
        () -> ports.storage().createVdi(new MigrationId(new UUID(1, 2)), disk, new UUID(3, 4)));
  }

  @Test
  void whoeverWaitsIsNotTold() {
    world.hosts.forEach(SimHost::startServer);
    Simulation.drive(world, Duration.ofMillis(200), () -> false);
    new Clients(world, 1).move(home);
    Simulation.drive(world, Duration.ofMinutes(1), () -> !home.ledgerDisk.rows().isEmpty());
    broken(Invariant.OUTCOME_TOLD, () -> Simulation.checkOutcomes(world, home));
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
