package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.ledger.LedgerReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What goes wrong in the middle of a move leaves the VM at one side, whole, and nothing behind. */
@Timeout(300)
class BrokenMoveTest {
  /** Bytes a second: the copy takes long enough to interfere with. */
  private static final String SLOWLY = "bandwidth=2097152";

  private Moves moves;

  @BeforeEach
  void prepare() throws Exception {
    moves = new Moves("io.xenferry.server.ServerMain", "--target", "auto");
    moves.install(32L << 20);
    moves.start();
  }

  @AfterEach
  void end() throws Exception {
    moves.close();
  }

  private Site alpha() {
    return moves.lab().alpha();
  }

  private Site beta() {
    return moves.lab().beta();
  }

  @ParameterizedTest
  @ValueSource(strings = {"iscsi", "nbds"})
  @Tag("slow")
  void aDestinationThatIsKilledLeavesTheVmAtTheSourceUntilItIsBack(String transport)
      throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY, "transport=" + transport);
    MoveFigures.awaitSent(alpha());
    beta().kill();
    assertThat(moves.powerState(alpha())).contains("Running");
    moves.assertWrites();
    beta().start();
    Xe.Outcome outcome = xe.await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  @Test
  @Tag("slow")
  void aSourceThatIsKilledFindsItsGuestAgain() throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitPhase(alpha(), "copying");
    alpha().kill();
    moves.assertWrites();
    alpha().start();
    assertThat(xe.await().exit()).isNotZero();
    assertThat(moves.assertWell()).as("where the move has gone on to").isSameAs(beta());
  }

  private void cancel() throws Exception {
    String task = Xe.local(alpha()).run("task-list", "name-label=VM.migrate_send", "--minimal");
    Xe.local(alpha()).run("task-cancel", "uuid=" + task);
  }

  @Test
  @Tag("slow")
  void aMoveThatIsCancelledInMidCopyLeavesNothing() throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitPhase(alpha(), "copying");
    cancel();
    assertThat(xe.await().exit()).isEqualTo(1);
    assertThat(moves.assertWell()).isSameAs(alpha());
  }

  @Test
  @Tag("slow")
  void aMoveThatIsCancelledAtOnceLeavesNothing() throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitPhase(alpha(), "SENDING");
    cancel();
    assertThat(xe.await().exit()).isEqualTo(1);
    assertThat(moves.assertWell()).isSameAs(alpha());
  }

  @Test
  @Tag("slow")
  void twoMovesOfOneVmExcludeEachOther() throws Exception {
    Xe.Running first = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitPhase(alpha(), "copying");
    Xe.Outcome second = moves.move(alpha()).await();
    assertThat(second.exit()).as(second.toString()).isEqualTo(1);
    assertThat(second.err()).contains("operation_type: migrate_send");
    assertThat(first.await().exit()).isZero();
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  /** The disk is far larger than what is free, but sparse, so that the source can have it. */
  @Test
  @Tag("slow")
  void anSrThatIsTooSmallRefusesTheVm() throws Exception {
    long free = Files.getFileStore(beta().directory()).getUsableSpace();
    Xe xe = Xe.local(alpha());
    xe.run("vm-shutdown", "uuid=" + moves.vm(), "--force");
    String vdi = xe.run("vbd-list", "vm-uuid=" + moves.vm(), "params=vdi-uuid", "--minimal");
    xe.run("vdi-resize", "uuid=" + vdi, "disk-size=" + 2 * free);
    moves.start();
    Xe.Outcome outcome = moves.move(alpha()).await();
    assertThat(outcome.exit()).as(outcome.toString()).isEqualTo(1);
    assertThat(outcome.err()).contains("requested: " + 2 * free);
    moves.awaitRest();
    assertThat(moves.owner()).isSameAs(alpha());
    moves.assertNothingLeft(beta());
    moves.assertWrites();
  }

  @Test
  @Tag("slow")
  void aTargetDaemonThatIsKilledInMidCopyCostsNoWrite() throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitSent(alpha());
    TargetDaemon.kill(beta());
    Xe.Outcome outcome = xe.await();
    Site owner = moves.assertWell();
    assertThat(owner).as(outcome.toString()).isSameAs(outcome.exit() == 0 ? beta() : alpha());
  }

  @Test
  @Tag("slow")
  void aTargetDaemonThatIsKilledBeneathAMirrorCostsNoWriteAndNoStandstill() throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY, "strategy=mirror");
    MoveFigures.awaitMirrored(alpha());
    long killed = System.nanoTime();
    TargetDaemon.kill(beta());
    long back = System.nanoTime();
    Duration gap = LedgerReader.longestGap(moves.lab().ledger(), killed, back);
    System.out.printf(
        "longest gap with tgtd killed %d ms of %d ms%n",
        gap.toMillis(), (back - killed) / 1_000_000);
    assertThat(gap).isLessThan(Duration.ofSeconds(5));
    Xe.Outcome outcome = xe.await();
    Site owner = moves.assertWell();
    assertThat(owner).as(outcome.toString()).isSameAs(outcome.exit() == 0 ? beta() : alpha());
  }

  /** With the VM halted and kept, both disks can be compared byte for byte. */
  @Test
  @Tag("slow")
  void aTargetDaemonThatIsKilledInMidCopyCostsNoByte() throws Exception {
    await().atMost(Duration.ofSeconds(60)).until(() -> Files.size(moves.lab().ledger()) > 32_768);
    Xe.local(alpha()).run("vm-shutdown", "uuid=" + moves.vm(), "--force");
    Xe.Running xe = moves.move(alpha(), "bandwidth=262144", "keep-source=true");
    MoveFigures.awaitSent(alpha());
    TargetDaemon.kill(beta());
    Xe.Outcome outcome = xe.await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    moves.awaitRest();
    assertThat(moves.powerState(beta())).contains("Halted");
    assertThat(moves.powerState(alpha())).as("the kept VM has another uuid").isEmpty();
    assertThat(Files.mismatch(onlyImage(alpha()), onlyImage(beta()))).isEqualTo(-1);
    for (Site site : moves.sites()) {
      Exports.assertNone(site);
    }
    moves.assertNothingLost(beta());
  }

  private static Path onlyImage(Site site) throws Exception {
    List<Path> images =
        DiskFiles.all(site).stream().filter(file -> file.toString().endsWith(".raw")).toList();
    assertThat(images).hasSize(1);
    return images.getFirst();
  }
}
