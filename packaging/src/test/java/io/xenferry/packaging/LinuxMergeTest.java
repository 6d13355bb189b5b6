package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Images below the disk of a Linux guest are merged while it writes, whoever dies meanwhile. */
@Timeout(600)
@Tag("slow")
class LinuxMergeTest {
  private static final Duration PATIENCE = Duration.ofSeconds(120);
  private static final String SERVER = "io.xenferry.server.ServerMain";

  /** By what the SR has written down it is known how far a merge is. */
  private interface Moment {
    boolean isNow(String images);
  }

  private static void begin(Moves moves) throws Exception {
    moves.startServers();
    moves.writing(2 << 20, 32 << 20).addVm(DiskFiles.QCOW2, 64L << 20);
    moves.start();
  }

  private static Path directory(Moves moves) {
    return DiskFiles.repository(moves.lab().alpha(), DiskFiles.QCOW2);
  }

  static long images(Moves moves) throws IOException {
    try (Stream<Path> files = Files.list(directory(moves))) {
      return files.filter(f -> f.toString().endsWith(".qcow2")).count();
    }
  }

  private static String books(Moves moves) throws IOException {
    try {
      return Files.readString(directory(moves).resolve("images.meta"));
    } catch (NoSuchFileException e) {
      return "";
    }
  }

  private static void awaitOneImage(Moves moves) {
    awaitImages(moves, 1);
  }

  static void awaitImages(Moves moves, long count) {
    await()
        .atMost(PATIENCE)
        .untilAsserted(
            () -> assertThat(images(moves)).as(moves.lab().alpha().tailOfLog()).isEqualTo(count));
  }

  static void snapshot(Moves moves) throws Exception {
    try (Api api = new Api(moves.lab().alpha())) {
      api.call(
          "VM.snapshot",
          Value.of(api.text("VM.get_by_uuid", moves.vm())),
          Value.of("then"),
          Value.ofTexts(List.of()));
    }
    moves.awaitWrites(20);
  }

  static void destroySnapshots(Moves moves) throws Exception {
    try (Api api = new Api(moves.lab().alpha())) {
      for (String snapshot :
          api.texts("VM.get_snapshots", api.text("VM.get_by_uuid", moves.vm()))) {
        destroySnapshot(api, snapshot);
      }
    }
  }

  static void destroySnapshot(Api api, String snapshot) throws Exception {
    String disk = api.text("VBD.get_VDI", api.texts("VM.get_VBDs", snapshot).getFirst());
    api.call("VM.destroy", Value.of(snapshot));
    api.call("VDI.destroy", Value.of(disk));
  }

  private static void assertWell(Moves moves) throws Exception {
    moves.awaitWrites(20);
    moves.assertNothingLost(moves.lab().alpha());
    moves.assertWrites();
    assertThat(moves.observer().boots()).isEqualTo(1);
  }

  @Test
  void aWritingGuestLosesNothingAndGoesOnAtOnce() throws Exception {
    try (Moves moves = Moves.linux(SERVER, "--target", "embedded")) {
      begin(moves);
      moves.observer().forgetGaps();
      for (int i = 0; i < 2; i++) {
        snapshot(moves);
        snapshot(moves);
        assertThat(images(moves)).isEqualTo(3);
        destroySnapshots(moves);
        awaitOneImage(moves);
        assertWell(moves);
      }
      System.out.println("longest gap " + moves.observer().longestGap());
      // The guest is as it was for whoever moves it.
      snapshot(moves);
      destroySnapshots(moves);
      Xe.Outcome outcome = moves.move(moves.lab().alpha()).await();
      assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
      assertThat(moves.assertWell()).isSameAs(moves.lab().beta());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"joining ", "joined "})
  void aServerThatIsKilledInTheMidstLosesNothing(String state) throws Exception {
    try (Moves moves = Moves.linux(SERVER, "--target", "embedded")) {
      begin(moves);
      for (int i = 0; i < 3; i++) {
        snapshot(moves);
        snapshot(moves);
        destroySnapshots(moves);
        // At its beginning, and later; where it is over by then, that is as good.
        int wanted = state.startsWith("joining") ? 1 + 20 * i : 1;
        int[] seen = new int[1];
        awaitMoment(
            moves,
            books -> {
              seen[0] += books.contains("=" + state) ? 1 : 0;
              return seen[0] >= wanted;
            });
        moves.lab().alpha().kill();
        moves.lab().alpha().start();
        awaitOneImage(moves);
        assertWell(moves);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"joining ", "joined "})
  void aGuestAndAServerThatAreKilledInTheMidstLeaveAWholeDisk(String state) throws Exception {
    try (Moves moves = Moves.linux(SERVER, "--target", "embedded")) {
      begin(moves);
      snapshot(moves);
      snapshot(moves);
      destroySnapshots(moves);
      awaitMoment(moves, books -> books.contains("=" + state));
      moves.lab().alpha().kill();
      GuestProcesses.kill(moves.lab().alpha().stateDirectory());
      moves.lab().alpha().start();
      awaitOneImage(moves);
      DiskFiles.chain(moves.disks(moves.lab().alpha(), moves.vm()).getFirst());
      assertThat(
              DiskFiles.verify(moves.lab().ledger(), moves.disks(moves.lab().alpha(), moves.vm()))
                  .good())
          .isTrue();
    }
  }

  private static void awaitMoment(Moves moves, Moment moment) {
    await()
        .atMost(PATIENCE)
        .pollDelay(Duration.ZERO)
        .pollInterval(Duration.ofMillis(1))
        .until(() -> moment.isNow(books(moves)) || images(moves) == 1);
  }
}
