package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.assertj.core.api.InstanceOfAssertFactories;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Linux in QEMU moves from one server to another and back, in every way that there is: strategy,
 * transport, format of the disks, how many, and with snapshots. It goes on writing all the time,
 * from where it was, and after each move everything is looked at from outside. {@code -Dcase=REGEX}
 * chooses among all cells.
 *
 * <p>Cells that differ in neither the servers nor the VM follow each other and share them; those
 * with snapshots take them of the VM of those without.
 */
@Timeout(600)
class MoveMatrixTest {
  private static final long MIB = 1 << 20;

  /** Of each disk; the guest writes to a sixth of it, so that a thick copy shows. */
  private static final long SIZE = 48 * MIB;

  private static final int SPAN = (int) (8 * MIB);

  /** Bytes a second: the copy is faster, and yet there is something to do in each pass. */
  private static final int RATE = 512 << 10;

  /** Of a qcow2 image, and of what is sent; a write of less takes as much. */
  private static final long CLUSTER = 64 << 10;

  enum Transport {
    TGTD("iscsi by tgtd", "tgtd"),
    NBDS("nbds", "tgtd"),
    EMBEDDED("iscsi by the embedded target", "embedded");

    private final String words;
    private final String target;

    Transport(String words, String target) {
      this.words = words;
      this.target = target;
    }

    /** As the option of a move is called. */
    String option() {
      return this == NBDS ? "nbds" : "iscsi";
    }
  }

  /** What a VM is like; and what it takes to share it. */
  record Machine(String target, String format, int disks, boolean snapshots) {
    /** What it is before its snapshots are taken. */
    Machine without() {
      return new Machine(target, format, disks, false);
    }
  }

  record Cell(String strategy, Transport transport, String format, int disks, boolean snapshots) {
    Machine machine() {
      return new Machine(transport.target, format, disks, snapshots);
    }

    @Override
    public String toString() {
      return String.format(
          Locale.ROOT,
          "%s, %s, %s, %d disk%s%s",
          strategy,
          transport.words,
          format,
          disks,
          disks == 1 ? "" : "s",
          snapshots ? ", two snapshots" : "");
    }
  }

  /** The laboratory and its VM, kept from cell to cell as long as all is well. */
  private record Kept(Moves moves, Machine machine) {}

  private static Optional<Kept> kept = Optional.empty();

  /** The default strategy with the most that it can meet; the normal suite has no time for more. */
  static Stream<Cell> some() {
    return Stream.of(new Cell("auto", Transport.TGTD, DiskFiles.QCOW2, 1, true));
  }

  static Stream<Cell> all() {
    List<Cell> all = new ArrayList<>();
    for (String target : List.of("tgtd", "embedded")) {
      for (String format : List.of(DiskFiles.RAW, DiskFiles.QCOW2)) {
        for (int disks : List.of(1, 3)) {
          for (boolean snapshots : List.of(false, true)) {
            for (Transport transport : Transport.values()) {
              for (String strategy : List.of("log-dirty", "mirror", "auto", "snapshot")) {
                // Raw images cannot be snapshot while they are written.
                boolean can = format.equals(DiskFiles.QCOW2) || !strategy.equals("snapshot");
                if (can && transport.target.equals(target)) {
                  all.add(new Cell(strategy, transport, format, disks, snapshots));
                }
              }
            }
          }
        }
      }
    }
    return all.stream().filter(cell -> cell.toString().matches(System.getProperty("case", ".*")));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("some")
  void aRunningLinuxGuestMovesThereAndBack(Cell cell) throws Exception {
    moveThereAndBack(cell);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void itMovesInEveryWay(Cell cell) throws Exception {
    moveThereAndBack(cell);
  }

  private static void moveThereAndBack(Cell cell) throws Exception {
    try {
      Moves moves = machine(cell.machine());
      Site home = moves.owner();
      move(moves, cell, home);
      move(moves, cell, moves.other(home));
    } catch (Exception | AssertionError e) {
      try {
        end();
      } catch (IOException more) {
        e.addSuppressed(more);
      }
      throw e;
    }
  }

  private static void move(Moves moves, Cell cell, Site from) throws Exception {
    Site to = moves.other(from);
    VmPast past = VmPast.of(from, moves.vm());
    long began = System.nanoTime();
    int boots = moves.observer().boots();
    long acknowledged = acknowledged(moves, cell);
    long took = touched(from);
    Xe.Outcome outcome =
        moves
            .move(from, "strategy=" + cell.strategy(), "transport=" + cell.transport().option())
            .await();
    assertThat(outcome.exit()).as(cell + ": " + outcome + moves.describe()).isZero();
    long written = acknowledged(moves, cell) - acknowledged;
    long moved = System.nanoTime();
    assertThat(moves.assertWell()).isSameAs(to);
    assertThat(moves.observer().where()).startsWith(to.stateDirectory().toString());
    assertThat(moves.observer().boots()).as("boots of the guest").isEqualTo(boots);
    assertThat(VmPast.of(to, moves.vm())).isEqualTo(past);
    assertAsAsked(moves, cell, from);
    assertThin(cell, to, took, written);
    System.out.printf(
        Locale.ROOT,
        "%s: from %s in %.1f s, checked in %.1f s%n",
        cell,
        from.name(),
        (moved - began) / 1e9,
        (System.nanoTime() - moved) / 1e9);
  }

  private static long acknowledged(Moves moves, Cell cell) {
    long records = 0;
    for (int disk = 0; disk < cell.disks(); disk++) {
      records += moves.observer().acknowledged(disk);
    }
    return records;
  }

  private static List<Path> images(Site site) throws IOException {
    return DiskFiles.all(site).stream()
        .filter(f -> f.toString().matches(".*\\.(raw|qcow2)"))
        .toList();
  }

  /** What a site's images take in whole clusters, the least that is sent. */
  private static long touched(Site site) throws Exception {
    long bytes = 0;
    for (Path image : images(site)) {
      bytes +=
          image.toString().endsWith(".raw")
              ? DiskFiles.touched(image, CLUSTER)
              : DiskFiles.allocated(List.of(image));
    }
    return bytes;
  }

  /** What each record written meanwhile may take, each image's own tables, and no more. */
  private static void assertThin(Cell cell, Site site, long took, long written) throws Exception {
    int images = cell.disks() * (cell.snapshots() ? 3 : 1);
    long mayTake = took + Math.min(written * CLUSTER, (long) cell.disks() * SPAN) + images * MIB;
    assertThat(DiskFiles.allocated(images(site)))
        .as("took " + took + " before")
        .isLessThan(mayTake);
  }

  /** The move was made as it was asked for, and not in another way that works. */
  private static void assertAsAsked(Moves moves, Cell cell, Site from) throws Exception {
    JsonNode last = MoveFigures.lastMove(from);
    assertThat(last.path("transport").asText()).isEqualTo(cell.transport().option());
    int mirrored = 0;
    for (JsonNode disk : last.path("disks")) {
      if (disk.path("device").asText().startsWith("snapshot-")) {
        continue;
      }
      assertThat(disk.path("strategy-asked").asText()).isEqualTo(cell.strategy());
      mirrored += disk.path("mirrored-seconds").asDouble() > 0 ? 1 : 0;
    }
    assertThat(mirrored)
        .as("disks that were mirrored: " + last.toPrettyString())
        .isEqualTo(Set.of("log-dirty", "snapshot").contains(cell.strategy()) ? 0 : cell.disks());
  }

  /** The running VM that a cell needs, at one of the two sites. */
  private static Moves machine(Machine wanted) throws Exception {
    if (kept.isPresent() && kept.get().machine().equals(wanted)) {
      return kept.get().moves();
    }
    Machine plain = wanted.without();
    if (kept.isEmpty() || !kept.get().machine().equals(plain)) {
      make(plain);
    }
    Moves moves = kept.orElseThrow().moves();
    if (wanted.snapshots()) {
      kept = Optional.of(new Kept(moves, wanted));
      for (String name : List.of("one", "two")) {
        snapshot(moves, wanted.format(), name);
      }
      assertThat(VmPast.of(moves.owner(), moves.vm()).snapshots()).hasSize(2);
    }
    return moves;
  }

  /** Instead of the one that is there, if any. */
  private static void make(Machine wanted) throws Exception {
    if (kept.isPresent() && !kept.get().machine().target().equals(wanted.target())) {
      end();
    }
    Moves moves;
    if (kept.isPresent()) {
      moves = kept.get().moves();
      kept = Optional.of(new Kept(moves, wanted));
      moves.removeVm();
    } else {
      moves = Moves.linux("io.xenferry.server.ServerMain", "--target", wanted.target());
      kept = Optional.of(new Kept(moves, wanted));
      moves.writing(RATE, SPAN).startServers();
    }
    long[] sizes = new long[wanted.disks()];
    for (int i = 0; i < sizes.length; i++) {
      sizes[i] = SIZE + i * 4 * MIB;
    }
    moves.addVm(wanted.format(), sizes);
    moves.start();
  }

  /** Of qcow2 disks while the guest writes; raw ones do not allow that, and have to wait. */
  private static void snapshot(Moves moves, String format, String name) throws Exception {
    moves.awaitWrites(40);
    Site site = moves.owner();
    Path noted = Files.createTempFile("xf", ".ledger");
    try (Api api = new Api(site)) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      if (format.equals(DiskFiles.RAW)) {
        assertThat(org.assertj.core.api.Assertions.catchThrowable(() -> take(api, vm, name)))
            .asInstanceOf(InstanceOfAssertFactories.type(XenApiException.class))
            .extracting(XenApiException::code)
            .isEqualTo("VDI_IN_USE");
        Xe.local(site).run("vm-shutdown", "uuid=" + moves.vm(), "--force");
      }
      moves.observer().sync();
      Files.copy(moves.lab().ledger(), noted, StandardCopyOption.REPLACE_EXISTING);
      String snapshot = take(api, vm, name);
      if (format.equals(DiskFiles.RAW)) {
        moves.start();
      }
      assertHolds(noted, moves.disks(site, api.text("VM.get_uuid", snapshot)));
    } finally {
      Files.delete(noted);
    }
  }

  private static String take(Api api, String vm, String name) throws XenApiException {
    return ((Value.Text) api.call("VM.snapshot", Value.of(vm), Value.of(name), Value.EMPTY_ARRAY))
        .text();
  }

  /** What had been acknowledged before a snapshot was asked for is in it. */
  private static void assertHolds(Path ledger, List<Path> images)
      throws IOException, InterruptedException {
    var verdict = DiskFiles.verify(ledger, images);
    assertThat(verdict.good()).as(verdict.toString()).isTrue();
    assertThat(verdict.acknowledged()).isPositive();
  }

  @AfterAll
  static void end() throws IOException {
    if (kept.isPresent()) {
      Moves moves = kept.get().moves();
      kept = Optional.empty();
      moves.close();
    }
  }
}
