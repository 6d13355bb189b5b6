package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A server, its Linux guest, or both are killed before and after each record of a merge of images
 * under the guest. {@code -Dcase=REGEX} chooses among the points.
 */
@Timeout(1500)
@Tag("slow")
class LinuxMergeDeathTest {
  private static final Duration PATIENCE = Duration.ofSeconds(120);
  private static final long SIZE = 64L << 20;

  enum Dies {
    SERVER,
    GUEST,
    BOTH
  }

  /**
   * Where it is.
   *
   * @param own whether the image that the guest writes goes; else one below it
   * @param state as the books say
   * @param before whether the next state is about to be written; else this one just has been
   */
  private record Point(boolean own, String state, boolean before) {
    static List<Point> all() {
      List<Point> all = new ArrayList<>();
      for (boolean own : List.of(false, true)) {
        for (String state : List.of("joining", "joined", "dropping")) {
          all.add(new Point(own, state, false));
          all.add(new Point(own, state, true));
        }
      }
      all.removeIf(point -> !point.toString().matches(System.getProperty("case", ".*")));
      return all;
    }

    @Override
    public String toString() {
      return (own ? "own " : "other ") + state + (before ? " ending" : " begun");
    }
  }

  private static Path books(Moves moves) {
    return DiskFiles.repository(moves.lab().alpha(), DiskFiles.QCOW2).resolve("images.meta");
  }

  private static List<Path> images(Moves moves) throws IOException {
    try (Stream<Path> files = Files.list(books(moves).getParent())) {
      return files.filter(f -> f.toString().endsWith(".qcow2")).toList();
    }
  }

  private static void begin(Moves moves) throws Exception {
    moves.writing(2 << 20, 32 << 20).addVm(DiskFiles.QCOW2, SIZE);
    try (Api api = new Api(moves.lab().alpha())) {
      api.text("VM.set_actions_after_crash", api.text("VM.get_by_uuid", moves.vm()), "destroy");
    }
    moves.start();
  }

  /** Snapshots of which all but one are gone, and their images are kept; the last one's disk. */
  private static String leaveImages(Moves moves, int snapshots) throws Exception {
    try (Api api = new Api(moves.lab().alpha())) {
      String sr = api.texts("SR.get_by_name_label", DiskFiles.QCOW2).getFirst();
      api.text("SR.add_to_other_config", sr, "coalesce", "false");
      String vm = api.text("VM.get_by_uuid", moves.vm());
      String disk = "";
      for (int i = 0; i < snapshots; i++) {
        if (!disk.isEmpty()) {
          api.call("VDI.destroy", Value.of(disk));
        }
        api.call("VM.snapshot", Value.of(vm), Value.of("then"), Value.ofTexts(List.of()));
        String snapshot = api.texts("VM.get_snapshots", vm).getFirst();
        disk = api.text("VBD.get_VDI", api.texts("VM.get_VBDs", snapshot).getFirst());
        api.call("VM.destroy", Value.of(snapshot));
        moves.awaitWrites(20);
      }
      assertThat(images(moves)).hasSize(snapshots + 1);
      api.text("SR.remove_from_other_config", sr, "coalesce");
      return disk;
    }
  }

  /** Its answer does not matter: the server may be dead by then. */
  private static void destroyLater(Moves moves, String disk) {
    Thread.ofVirtual()
        .start(() -> {
          try (Api api = new Api(moves.lab().alpha())) {
            api.call("VDI.destroy", Value.of(disk));
          } catch (IOException | XenApiException e) {
            System.out.println("no answer: " + e);
          }
        });
  }

  private static void strike(Moves moves, Dies who, Point point) throws Exception {
    Site site = moves.lab().alpha();
    String disk = leaveImages(moves, point.own() ? 1 : 2);
    try (BookStops stops = BookStops.of(site, books(moves))) {
      destroyLater(moves, disk);
      stops.awaitText("=" + point.state(), point.before());
      if (who != Dies.GUEST) {
        site.kill();
      }
      if (who != Dies.SERVER) {
        GuestProcesses.kill(site.stateDirectory());
      }
    }
    if (who != Dies.GUEST) {
      site.start();
    }
  }

  private static void assertWell(Moves moves, Dies who) throws Exception {
    Site site = moves.lab().alpha();
    if (who == Dies.SERVER) {
      moves.awaitWrites(20);
      await().atMost(PATIENCE).until(() -> images(moves).size() == 1);
      moves.awaitWrites(20);
      moves.assertNothingLost(site);
      moves.assertWrites();
      assertThat(moves.observer().boots()).isEqualTo(1);
      return;
    }
    await()
        .atMost(PATIENCE)
        .untilAsserted(() -> assertThat(moves.powerState(site)).contains("Halted"));
    await().atMost(PATIENCE).until(() -> images(moves).size() == 1);
    moves.observer().sync();
    Verdict verdict = DiskFiles.verify(moves.lab().ledger(), moves.disks(site, moves.vm()));
    assertThat(verdict.good()).as(verdict.toString()).isTrue();
    assertThat(verdict.acknowledged()).isPositive();
    Path image = images(moves).getFirst();
    Process check =
        new ProcessBuilder("qemu-img", "check", "-U", image.toString())
            .redirectErrorStream(true)
            .start();
    String said = new String(check.getInputStream().readAllBytes());
    // 3: clusters are lost, which is no damage; a killed process leaves them.
    assertThat(check.waitFor()).as(said).isIn(0, 3);
  }

  /** When its server dies with the guest's writes waiting for it, and nobody comes after it. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aGuestWhoseServerStaysAwayGoesOn(boolean decided) throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "embedded")) {
      moves.startServers();
      begin(moves);
      Site site = moves.lab().alpha();
      String disk = leaveImages(moves, 1);
      try (BookStops stops = BookStops.of(site, books(moves))) {
        destroyLater(moves, disk);
        stops.awaitText(decided ? "=joined" : "=joining", !decided);
        site.kill();
      }
      // What the server has started was stopped by the same means.
      for (String process : GuestProcesses.commandLines(site)) {
        String pid = process.substring(0, process.indexOf(' '));
        new ProcessBuilder("kill", "-CONT", pid).start().waitFor();
      }
      moves.awaitWrites(200);
      assertThat(Files.readString(books(moves))).contains(decided ? "=joined" : "=joining");
      GuestProcesses.kill(site.stateDirectory());
      site.start();
      assertWell(moves, Dies.BOTH);
    }
  }

  private static void startAnew(Moves moves) throws Exception {
    try (Api api = new Api(moves.lab().alpha())) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      api.call("VM.start", Value.of(vm), Value.of(false), Value.of(false));
    }
    moves.removeVm();
    begin(moves);
  }

  @ParameterizedTest
  @EnumSource
  void noDeathLosesAnything(Dies who) throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "embedded")) {
      moves.startServers();
      begin(moves);
      List<Point> points = Point.all();
      for (Point point : points) {
        try {
          strike(moves, who, point);
          assertWell(moves, who);
          System.out.println(who + " at " + point + ": well");
        } catch (AssertionError | RuntimeException | XenApiException e) {
          throw new AssertionError(
              who + " at " + point + "\n" + moves.lab().alpha().tailOfLog(), e);
        }
        if (who != Dies.SERVER && point != points.getLast()) {
          startAnew(moves);
        }
      }
    }
  }
}
