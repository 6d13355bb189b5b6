package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.time.Duration;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A server is killed while the disk of a running VM moves between its SRs: at the next start the
 * guest goes on, on one disk, and the other one is gone.
 */
@Timeout(300)
@Tag("slow")
class DiskMoveDeathTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  /** By what the notes say it is known how far a move is. */
  private interface Moment {
    boolean isNow(String notes);
  }

  @ParameterizedTest
  @ValueSource(strings = {"simulated", "linux"})
  void theGuestHasOneDiskWhereverTheServerDies(String guest) throws Exception {
    String program = "io.xenferry.server.ServerMain";
    try (Moves moves =
        guest.equals("linux")
            ? Moves.linux(program, "--target", "embedded")
            : new Moves(program, "--target", "embedded")) {
      moves.install(16L << 20);
      moves.start();
      HostDisks disks = new HostDisks(moves.lab().alpha(), moves);
      disks.add("other", "raw");
      survive(moves, disks, "just begun", notes -> !notes.isEmpty(), "bandwidth=1048576");
      for (int i = 0; i < 3; i++) {
        survive(moves, disks, "about to pause", notes -> notes.contains("paused=true"));
      }
      boolean[] seen = new boolean[1];
      survive(
          moves,
          disks,
          "just done",
          notes -> {
            seen[0] |= notes.contains("paused=true");
            return seen[0] && notes.isEmpty();
          });
      disks.assertWell();
    }
  }

  private static void survive(
      Moves moves, HostDisks disks, String name, Moment moment, String... options)
      throws Exception {
    Site site = moves.lab().alpha();
    String to =
        disks.assertWell().getParent().getFileName().toString().equals("sr") ? "other" : "sr";
    Xe.Running xe = disks.move(to, options);
    await(name)
        .atMost(PATIENCE)
        .pollDelay(Duration.ZERO)
        .pollInterval(Duration.ofMillis(1))
        .until(() -> moment.isNow(disks.notes()) || !xe.process().isAlive());
    site.kill();
    xe.await();
    site.start();
    String now = disks.assertWell().getParent().getFileName().toString();
    System.out.println(name + ": it has " + (now.equals(to) ? "moved" : "stayed"));
    assertThat(now).isIn("sr", "other");
  }
}
