package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A disk fills up to the last byte at some record or effect of a move, and has room again later: it
 * is the source's, with its database and its ledger, or the destination's, or the SR that the VM
 * moves to. {@code -Dcase=REGEX} chooses among the cases.
 */
@Timeout(300)
class FullDiskMoveTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  /** What a move may do before there is room again, in seconds; it may also come to its end. */
  private static final int FULL = 8;

  /** Mebibytes. */
  private static final int STATE = 96;

  private static final int SR = 48;

  private static Optional<Small> kept = Optional.empty();

  enum Disk {
    SOURCES_STATE,
    DESTINATIONS_STATE,
    DESTINATIONS_SR
  }

  /** A laboratory in which each site has its state and its SR on disks of their own. */
  private record Small(Moves moves, Map<Disk, SmallDisk> alpha, Map<Disk, SmallDisk> beta) {
    static Small make() throws Exception {
      Small small =
          new Small(
              new Moves(FaultyServer.class.getName(), "--target", "auto"),
              new EnumMap<>(Disk.class),
              new EnumMap<>(Disk.class));
      try {
        for (Site site : small.moves.sites()) {
          Map<Disk, SmallDisk> disks = small.of(site);
          disks.put(Disk.SOURCES_STATE, SmallDisk.at(site.stateDirectory(), STATE));
          disks.put(
              Disk.DESTINATIONS_SR, SmallDisk.at(DiskFiles.repository(site, DiskFiles.RAW), SR));
        }
        small.moves.install(16L << 20);
        small.moves.start();
        return small;
      } catch (Exception | AssertionError e) {
        small.close();
        throw e;
      }
    }

    private Map<Disk, SmallDisk> of(Site site) {
      return site == moves.lab().alpha() ? alpha : beta;
    }

    SmallDisk disk(Disk disk, Site from) {
      return switch (disk) {
        case SOURCES_STATE -> of(from).get(Disk.SOURCES_STATE);
        case DESTINATIONS_STATE -> of(moves.other(from)).get(Disk.SOURCES_STATE);
        case DESTINATIONS_SR -> of(moves.other(from)).get(disk);
      };
    }

    void close() throws IOException {
      moves.lab().close();
      for (Map<Disk, SmallDisk> disks : List.of(alpha, beta)) {
        for (SmallDisk disk : disks.values()) {
          disk.close();
        }
      }
      moves.close();
    }
  }

  /**
   * @param writes whether the guest must go on writing meanwhile
   * @param moved whether the VM must have moved in the end; empty where either is right
   */
  record Case(Disk disk, Side side, String record, boolean writes, Optional<Boolean> moved) {
    @Override
    public String toString() {
      return disk + " is full after " + record + " at the " + side;
    }
  }

  private static List<Case> cases() {
    List<Case> all = new ArrayList<>();
    for (Disk disk : List.of(Disk.SOURCES_STATE, Disk.DESTINATIONS_STATE)) {
      for (String record : List.of("SENDING", "copies.start", "guests.sendMemory")) {
        all.add(new Case(disk, Side.SOURCE, record, true, Optional.empty()));
      }
      for (String record : List.of("RECEIVING", "storage.createVdi", "metadata.importHidden")) {
        all.add(new Case(disk, Side.DESTINATION, record, true, Optional.empty()));
      }
      all.add(new Case(disk, Side.SOURCE, "SWITCHING", false, Optional.empty()));
      all.add(new Case(disk, Side.DESTINATION, "exports closed", false, Optional.empty()));
      all.add(new Case(disk, Side.DESTINATION, "READY", false, Optional.empty()));
      for (String record : List.of("COMMITTING", "GIVEN")) {
        all.add(new Case(disk, Side.SOURCE, record, false, Optional.of(true)));
      }
      for (String record : List.of("COMMITTED", "STARTING", "RUNNING")) {
        all.add(new Case(disk, Side.DESTINATION, record, false, Optional.of(true)));
      }
    }
    // Later a guest that has moved would itself find no room.
    Disk sr = Disk.DESTINATIONS_SR;
    all.add(new Case(sr, Side.SOURCE, "copies.start", true, Optional.of(false)));
    for (String record : List.of("RECEIVING", "storage.createVdi", "storage.export")) {
      all.add(new Case(sr, Side.DESTINATION, record, true, Optional.of(false)));
    }
    return all;
  }

  static Stream<Case> some() {
    return Stream.of(
        new Case(Disk.DESTINATIONS_STATE, Side.DESTINATION, "COMMITTED", false, Optional.of(true)));
  }

  static Stream<Case> all() {
    return cases().stream().filter(c -> c.toString().matches(System.getProperty("case", ".*")));
  }

  private static Small small() throws Exception {
    if (kept.isEmpty()) {
      kept = Optional.of(Small.make());
    }
    return kept.get();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("some")
  void someFullDisksLoseNothing(Case full) throws Exception {
    survive(full);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noFullDiskLosesAnything(Case full) throws Exception {
    survive(full);
  }

  private static void survive(Case full) throws Exception {
    Small small = small();
    boolean well = false;
    try {
      survive(small, full);
      well = true;
    } catch (AssertionError | Exception e) {
      throw new AssertionError(full + ": " + e.getMessage() + small.moves().describe(), e);
    } finally {
      if (!well) {
        end();
      }
    }
  }

  private static void survive(Small small, Case full) throws Exception {
    Moves moves = small.moves();
    Site from = moves.owner();
    Site to = moves.other(from);
    Site met = full.side() == Side.SOURCE ? from : to;
    SmallDisk disk = small.disk(full.disk(), from);
    Xe.Running xe = hold(moves, from, met, full.record());
    Sighting sighting = Sighting.of(from, to, crash(full.disk()), Set.of());
    disk.fill();
    try {
      Fault.release(met.stateDirectory());
      if (full.writes()) {
        moves.assertWrites();
      }
      sighting.look(from, to);
      boolean ended = xe.process().waitFor(FULL, TimeUnit.SECONDS);
      assertThat(met.isAlive())
          .as("the server lives, whether xe ended (%s) or not", ended)
          .isTrue();
    } finally {
      disk.free();
    }
    Site owner = moves.assertWell();
    xe.await();
    full.moved().ifPresent(moved -> assertThat(owner).as("owner").isSameAs(moved ? to : from));
    MurderTable.note(sighting, owner == to, full.moved().isPresent());
  }

  private static Crash crash(Disk disk) {
    return switch (disk) {
      case SOURCES_STATE -> Crash.SOURCES_STATE_FULL;
      case DESTINATIONS_STATE -> Crash.DESTINATIONS_STATE_FULL;
      case DESTINATIONS_SR -> Crash.DESTINATIONS_SR_FULL;
    };
  }

  private static Xe.Running hold(Moves moves, Site from, Site met, String record) throws Exception {
    new Fault(Moment.AFTER, record, Signal.HOLD).arm(met.stateDirectory());
    Xe.Running xe = moves.move(from);
    await()
        .atMost(PATIENCE)
        .pollInterval(Duration.ofMillis(5))
        .until(() -> Fault.holds(met.stateDirectory()));
    return xe;
  }

  /** It says why it does not start, and takes the move up once there is room. */
  @Test
  @Tag("slow")
  void aSourceThatIsKilledOnAFullDiskTakesTheMoveUpOnceThereIsRoom() throws Exception {
    Small small = small();
    Moves moves = small.moves();
    Site from = moves.owner();
    Xe.Running xe = hold(moves, from, from, "COMMITTING");
    SmallDisk disk = small.disk(Disk.SOURCES_STATE, from);
    disk.fill();
    from.kill();
    Fault.release(from.stateDirectory());
    assertThatThrownBy(from::start)
        .isInstanceOf(IOException.class)
        .hasMessageContaining("/state is full: ");
    disk.free();
    from.start();
    assertThat(moves.assertWell()).isNotSameAs(from);
    xe.await();
  }

  @AfterAll
  static void end() throws IOException {
    if (kept.isPresent()) {
      Small small = kept.get();
      kept = Optional.empty();
      small.close();
    }
  }
}
