package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.guest.ledger.LedgerReader;
import io.xenferry.model.Value;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A server is killed in the middle of a copy, and started again: the same move goes on, what had
 * arrived is not sent again, the guest has not noticed, and every byte is right.
 */
@Timeout(300)
@Tag("slow")
class RestartedServerTest {
  private static final long DISK = 128L << 20;
  private static final int PERCENT = 75;
  private static final long FILLED = DISK / 100 * PERCENT;

  /** Bytes a second; what was sent in the last seconds before a server's end is sent again. */
  private static final String SLOWLY = "bandwidth=" + (6 << 20);

  private static final long MOST = 64L << 20;

  /** Percent of what the disk was filled with, sent by both servers together. */
  private static final int LITTLE_TWICE = 130;

  private static final int LINUX_WRITES_TOO = 160;

  /** Longer than a write may take, and than a peer may be silent until it counts as away. */
  private static final Duration CUT = Duration.ofSeconds(15);

  private Moves moves;

  @AfterEach
  void end() throws Exception {
    if (moves != null) {
      moves.close();
    }
  }

  private Site alpha() {
    return moves.lab().alpha();
  }

  private Site beta() {
    return moves.lab().beta();
  }

  private void prepare(String... options) throws Exception {
    moves = new Moves("io.xenferry.server.ServerMain", options);
    moves.install(DISK);
    try (Api api = new Api(alpha())) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      api.text("VM.remove_from_platform", vm, "xenferry:workload-rate");
      api.text("VM.add_to_platform", vm, "xenferry:workload-rate", "65536");
    }
    fill();
    moves.start();
  }

  private void fill() throws Exception {
    DiskFiller.fill(
        moves.disks(alpha(), moves.vm()).getFirst(),
        0,
        new FillPattern(DISK, PERCENT, 7),
        moves.lab().ledger());
  }

  private void shutDown() throws Exception {
    try (Api api = new Api(alpha())) {
      api.call("VM.hard_shutdown", Value.of(api.text("VM.get_by_uuid", moves.vm())));
    }
  }

  private static long sent(JsonNode move) {
    long sent = 0;
    for (JsonNode disk : move.path("disks")) {
      sent += disk.path("sent").asLong();
    }
    return sent;
  }

  /** Waits until the better part has been sent; how much it was then. */
  private long awaitMost() {
    long[] sent = {0};
    await()
        .atMost(Moves.PATIENCE)
        .pollInterval(Duration.ofMillis(50))
        .ignoreExceptions()
        .until(() -> {
          sent[0] = sent(MoveFigures.lastMove(alpha()));
          return sent[0] >= MOST;
        });
    return sent[0];
  }

  /** The guest writes while nobody is there, and when somebody is again. */
  private void restart(Site site) throws Exception {
    long killed = System.nanoTime();
    site.kill();
    moves.assertWrites();
    site.start();
    moves.assertWrites();
    tellGap(killed);
  }

  /** The one move there was has come to its end. */
  private void assertMoved(String id) throws Exception {
    moves.awaitRest();
    assertThat(MoveFigures.migrations(alpha()))
        .as(moves.describe())
        .containsOnlyKeys(id)
        .containsEntry(id, "source GIVEN ended");
  }

  private void assertLittleSentTwice(long before) throws Exception {
    assertSentUpTo(LITTLE_TWICE, before);
  }

  private void assertSentUpTo(int percent, long before) throws Exception {
    long all = before + sent(MoveFigures.lastMove(alpha()));
    System.out.printf("sent %d MiB of %d MiB%n", all >> 20, FILLED >> 20);
    assertThat(all).isLessThan(FILLED * percent / 100);
  }

  private void tellGap(long from) throws Exception {
    Duration gap = LedgerReader.longestGap(moves.lab().ledger(), from, System.nanoTime());
    System.out.printf("longest gap between writes %d ms%n", gap.toMillis());
  }

  @ParameterizedTest
  @CsvSource({"auto, iscsi", "embedded, iscsi", "auto, nbds"})
  void theSourceGoesOn(String target, String transport) throws Exception {
    prepare("--target", target);
    Xe.Running xe = moves.move(alpha(), SLOWLY, "transport=" + transport);
    long before = awaitMost();
    String id = MoveFigures.lastMove(alpha()).path("migration").asText();
    restart(alpha());
    xe.await();
    assertMoved(id);
    assertLittleSentTwice(before);
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  @ParameterizedTest
  @CsvSource({"auto, iscsi", "embedded, iscsi", "auto, nbds"})
  void theDestinationGoesOn(String target, String transport) throws Exception {
    prepare("--target", target);
    Xe.Running xe = moves.move(alpha(), SLOWLY, "transport=" + transport);
    awaitMost();
    String id = MoveFigures.lastMove(alpha()).path("migration").asText();
    restart(beta());
    Xe.Outcome outcome = xe.await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertMoved(id);
    assertLittleSentTwice(0);
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  /** With the VM halted and kept, both disks can be compared byte for byte. */
  @ParameterizedTest
  @CsvSource({"true, iscsi", "false, iscsi", "true, nbds"})
  void aHaltedVmsDiskArrivesToTheByte(boolean source, String transport) throws Exception {
    prepare("--target", "auto");
    shutDown();
    Xe.Running xe = moves.move(alpha(), SLOWLY, "keep-source=true", "transport=" + transport);
    long before = awaitMost();
    Site restarted = source ? alpha() : beta();
    restarted.kill();
    restarted.start();
    xe.await();
    moves.awaitRest();
    assertThat(moves.powerState(beta())).as(moves.describe()).contains("Halted");
    assertLittleSentTwice(source ? before : 0);
    assertThat(Files.mismatch(onlyImage(alpha()), onlyImage(beta()))).isEqualTo(-1);
    for (Site site : moves.sites()) {
      Exports.assertNone(site);
    }
  }

  /** What the server before had in its memory is what is to be verified, so all is looked at. */
  @ParameterizedTest
  @CsvSource({"auto, iscsi", "embedded, nbds"})
  void whatIsNotCertainIsComparedAndNotSentAgain(String target, String transport) throws Exception {
    prepare("--target", target);
    Xe.Running xe = moves.move(alpha(), SLOWLY, "verify=full", "transport=" + transport);
    long before = awaitMost();
    String id = MoveFigures.lastMove(alpha()).path("migration").asText();
    restart(alpha());
    xe.await();
    assertMoved(id);
    assertLittleSentTwice(before);
    JsonNode report = MoveFigures.lastMove(alpha()).path("report");
    assertThat(report.path("already-there").asLong()).isGreaterThan(MOST / 2);
    assertThat(report.path("verified").asLong()).isGreaterThanOrEqualTo(DISK);
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  private static Path onlyImage(Site site) throws Exception {
    List<Path> images =
        DiskFiles.all(site).stream().filter(file -> file.toString().endsWith(".raw")).toList();
    assertThat(images).hasSize(1);
    return images.getFirst();
  }

  /** QEMU's own bitmaps have noted what the guest wrote while nobody was there. */
  @ParameterizedTest
  @CsvSource({"true", "false"})
  void linuxNoticesNothing(boolean source) throws Exception {
    moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "auto");
    moves.writing(64 << 10, 8 << 20).startServers();
    moves.addVm(DiskFiles.RAW, DISK);
    fill();
    moves.start();
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    long before = awaitMost();
    String id = MoveFigures.lastMove(alpha()).path("migration").asText();
    restart(source ? alpha() : beta());
    xe.await();
    assertMoved(id);
    assertSentUpTo(LINUX_WRITES_TOO, source ? before : 0);
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  private static void signal(String name, long pid) throws Exception {
    assertThat(new ProcessBuilder("kill", "-" + name, Long.toString(pid)).start().waitFor())
        .isZero();
  }

  /** The destination's server, and its target, neither answer nor refuse. */
  @Test
  void aConnectionThatIsCutForLongIsTakenUpAgain() throws Exception {
    prepare("--target", "embedded");
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    awaitMost();
    long cut = System.nanoTime();
    signal("STOP", beta().pid());
    try {
      await().atMost(CUT.multipliedBy(3)).until(() -> System.nanoTime() - cut > CUT.toNanos());
    } finally {
      moves.assertWrites();
      signal("CONT", beta().pid());
    }
    tellGap(cut);
    Xe.Outcome outcome = xe.await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertLittleSentTwice(0);
    assertThat(moves.assertWell()).isSameAs(beta());
  }
}
