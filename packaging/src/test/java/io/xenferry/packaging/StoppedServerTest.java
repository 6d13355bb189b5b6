package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.ledger.LedgerReader;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A server that is stopped, or killed, in the middle of a move does not hold its guest up. */
@Timeout(300)
class StoppedServerTest {
  /** Long enough to tell a guest that waited for the server from one that waited for less. */
  private static final Duration STOPPED = Duration.ofSeconds(12);

  /** The watchdog's limit is 2 s; the rest is for a busy machine. */
  private static final Duration LONGEST_GAP = Duration.ofSeconds(8);

  /** Bytes a second: the copy takes long enough to be stopped in the middle. */
  private static final String SLOWLY = "bandwidth=1048576";

  /** Half of that, which converges. */
  private static final int GENTLE = 512 << 10;

  /** Each record makes a cluster of 64 KiB dirty, sixteen times what it is. */
  private static final int LAYERED = 64 << 10;

  private static final String LESS_SLOWLY = "bandwidth=4194304";

  /** So that passes get nowhere, and auto mirrors early. */
  private static final int BUSY = 4 << 20;

  private Moves moves;

  /**
   * @param rate bytes a second that the guest writes
   */
  private void prepare(int rate) throws Exception {
    moves = new Moves("io.xenferry.server.ServerMain", "--target", "auto");
    moves.install(32L << 20);
    try (Api api = new Api(moves.lab().alpha())) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      api.text("VM.remove_from_platform", vm, "xenferry:workload-rate");
      api.text("VM.add_to_platform", vm, "xenferry:workload-rate", Integer.toString(rate));
      api.text("VM.add_to_platform", vm, "xenferry:workload-span", "4194304");
    }
    moves.start();
  }

  /** Snapshots are taken of layered disks alone, which need QEMU. */
  private void prepareLinux() throws Exception {
    moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "auto");
    moves.writing(LAYERED, 8 << 20).startServers();
    moves.addVm(DiskFiles.QCOW2, 32L << 20);
    moves.start();
    moves.awaitWrites(100);
  }

  @AfterEach
  void end() throws Exception {
    if (moves != null) {
      moves.close();
    }
  }

  private Site alpha() {
    return moves.lab().alpha();
  }

  private void awaitCopyBy(String strategy) {
    if (strategy.equals("mirror") || strategy.equals("auto")) {
      MoveFigures.awaitMirrored(alpha());
    } else {
      MoveFigures.awaitSent(alpha());
    }
  }

  private static void signal(String name, long pid) throws Exception {
    assertThat(new ProcessBuilder("kill", "-" + name, Long.toString(pid)).start().waitFor())
        .isZero();
  }

  private static void let(Duration pass) {
    long end = System.nanoTime() + pass.toNanos();
    await().atMost(pass.multipliedBy(3)).until(() -> System.nanoTime() - end > 0);
  }

  @ParameterizedTest
  @Tag("slow")
  @ValueSource(strings = {"log-dirty", "mirror", "auto", "snapshot"})
  void oneThatIsStoppedIsCutOffAndGoesOnAfterwards(String strategy) throws Exception {
    boolean layered = strategy.equals("snapshot");
    if (layered) {
      prepareLinux();
    } else {
      prepare(strategy.equals("auto") ? BUSY : GENTLE);
    }
    Xe.Running xe = moves.move(alpha(), layered ? LESS_SLOWLY : SLOWLY, "strategy=" + strategy);
    awaitCopyBy(strategy);
    long stopped = System.nanoTime();
    signal("STOP", alpha().pid());
    try {
      let(STOPPED);
    } finally {
      signal("CONT", alpha().pid());
    }
    if (layered) {
      moves.observer().sync();
    }
    Duration gap =
        LedgerReader.longestGap(moves.lab().ledger(), stopped, stopped + STOPPED.toNanos());
    System.out.printf("%s: longest gap with the server stopped %d ms%n", strategy, gap.toMillis());
    assertThat(gap).isLessThan(LONGEST_GAP);
    Xe.Outcome outcome = xe.await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertThat(moves.assertWell()).isSameAs(moves.lab().beta());
  }

  @Test
  @Tag("slow")
  void oneThatIsKilledWhileItMirrorsLetsTheGuestGo() throws Exception {
    prepare(GENTLE);
    Xe.Running xe = moves.move(alpha(), SLOWLY, "strategy=mirror");
    awaitCopyBy("mirror");
    long killed = System.nanoTime();
    alpha().kill();
    Duration dead = Duration.ofSeconds(3);
    let(dead);
    Duration gap = LedgerReader.longestGap(moves.lab().ledger(), killed, killed + dead.toNanos());
    System.out.printf("longest gap with the server killed %d ms%n", gap.toMillis());
    assertThat(gap).isLessThan(dead);
    alpha().start();
    assertThat(xe.await().exit()).isNotZero();
    assertThat(moves.assertWell()).as("where it goes on to").isSameAs(moves.lab().beta());
  }
}
