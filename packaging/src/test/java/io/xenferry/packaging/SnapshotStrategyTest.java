package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Linux in QEMU is moved by snapshots of its disks, and what dies meanwhile leaves none of them
 * behind, and the VM whole at exactly one side.
 */
@Timeout(300)
@Tag("slow")
class SnapshotStrategyTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  /** Bytes a second: several passes, and time to interfere with them. */
  private static final String SLOWLY = "bandwidth=4194304";

  private static final String BY_SNAPSHOTS = "strategy=snapshot";

  private Moves moves;

  @BeforeEach
  void prepare() throws Exception {
    moves = Moves.linux(FaultyServer.class.getName(), "--target", "auto");
    moves.writing(256 << 10, 8 << 20).startServers();
    moves.addVm(DiskFiles.QCOW2, 32L << 20, 32L << 20);
    moves.start();
    moves.awaitWrites(40);
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

  private Site beta() {
    return moves.lab().beta();
  }

  /** The VM is at the site, which has no disk but the two that are the VM's own. */
  private void assertOwner(Site owner) throws Exception {
    assertThat(moves.assertWell()).isSameAs(owner);
    assertThat(moves.observer().boots()).as("boots of the guest").isOne();
    try (Api api = new Api(owner)) {
      await()
          .atMost(PATIENCE)
          .untilAsserted(() ->
              assertThat(api.texts("VDI.get_all"))
                  .as("disks at " + owner.name() + owner.tailOfLog())
                  .hasSize(2));
    }
  }

  /** Waits until a disk is in so many passes' snapshots at the site. */
  private void awaitPass(Site from, int pass) {
    try (Rest rest = new Rest(from)) {
      await()
          .atMost(PATIENCE)
          .pollInterval(Duration.ofMillis(20))
          .until(() -> {
            for (JsonNode disk : rest.get("/v1/migrations").path(0).path("disks")) {
              if (disk.path("pass").asInt() >= pass) {
                return true;
              }
            }
            return false;
          });
    }
  }

  @Test
  void itMovesThereAndBack() throws Exception {
    for (Site from : List.of(alpha(), beta())) {
      Xe.Outcome outcome = moves.move(from, BY_SNAPSHOTS, SLOWLY).await();
      assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
      JsonNode move = MoveFigures.lastMove(from);
      for (JsonNode disk : move.path("disks")) {
        assertThat(disk.path("strategy-asked").asText()).isEqualTo("snapshot");
        assertThat(disk.path("passes").size()).as(disk.toPrettyString()).isGreaterThan(2);
        System.out.printf(Locale.ROOT, "%s: %s%n", disk.path("device"), disk.path("passes"));
      }
      System.out.printf(Locale.ROOT, "%s%n", move.path("downtime-ms"));
      assertOwner(moves.other(from));
    }
  }

  @Test
  void aSourceThatIsKilledLeavesNoSnapshot() throws Exception {
    Xe.Running xe = moves.move(alpha(), BY_SNAPSHOTS, SLOWLY);
    awaitPass(alpha(), 2);
    alpha().kill();
    moves.assertWrites();
    alpha().start();
    assertThat(xe.await().exit()).isNotZero();
    assertOwner(alpha());
    assertThat(moves.move(alpha(), BY_SNAPSHOTS).await().exit()).as("tried again").isZero();
    assertOwner(beta());
  }

  @Test
  void aDestinationThatIsKilledLeavesNoSnapshot() throws Exception {
    Xe.Running xe = moves.move(alpha(), BY_SNAPSHOTS, SLOWLY);
    awaitPass(alpha(), 2);
    beta().kill();
    moves.assertWrites();
    beta().start();
    assertThat(xe.await().exit()).isEqualTo(1);
    assertOwner(alpha());
  }

  @Test
  void aMoveThatIsCancelledLeavesNoSnapshot() throws Exception {
    Xe.Running xe = moves.move(alpha(), BY_SNAPSHOTS, SLOWLY);
    awaitPass(alpha(), 2);
    String task = Xe.local(alpha()).run("task-list", "name-label=VM.migrate_send", "--minimal");
    Xe.local(alpha()).run("task-cancel", "uuid=" + task);
    assertThat(xe.await().exit()).isEqualTo(1);
    assertOwner(alpha());
  }
}
