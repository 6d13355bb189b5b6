package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.guest.linux.HeartbeatObserver;
import io.xenferry.model.Value;
import java.nio.file.Path;
import java.time.Duration;
import java.util.UUID;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A Linux guest that writes is taken with its memory, goes on at once, and goes back to it. */
@Timeout(300)
@Tag("slow")
class LinuxCheckpointTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  @Test
  void theGuestGoesBackInTimeWithItsDisk() throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "embedded")) {
      moves.startServers();
      moves.writing(2 << 20, 16 << 20).addVm(DiskFiles.QCOW2, 64L << 20);
      moves.start();
      assertGoesBack(moves);
    }
  }

  /** Takes a checkpoint of the guest, which runs at the first site, and goes back to it. */
  static void assertGoesBack(Moves moves) throws Exception {
    Site site = moves.lab().alpha();
    HeartbeatObserver observer = moves.observer();
    observer.forgetGaps();
    String checkpoint;
    long before;
    try (Api api = new Api(site)) {
      api.text(
          "pool.set_suspend_image_SR",
          api.texts("pool.get_all").getFirst(),
          api.texts("SR.get_by_name_label", DiskFiles.RAW).getFirst());
      before = observer.acknowledged(0);
      checkpoint = Xe.local(site).run("vm-checkpoint", "uuid=" + moves.vm(), "new-name-label=then");
      assertThat(moves.powerState(site)).contains("Running");
    }
    moves.awaitWrites(100);
    System.out.println("longest gap " + observer.longestGap());
    moves.assertNothingLost(site);
    Xe.Outcome refused = moves.move(site).await();
    assertThat(refused.exit()).isNotZero();
    assertThat(refused.toString()).containsIgnoringCase("checkpoint");

    observer.close();
    Path ledger = site.directory().resolve("again");
    try (HeartbeatObserver again = new HeartbeatObserver(UUID.fromString(moves.vm()), ledger);
        Api api = new Api(site)) {
      Path guests = site.stateDirectory().resolve("guests");
      again.listen(guests.resolve(moves.vm()).resolve("serial1.sock"));
      String vm = api.text("VM.get_by_uuid", moves.vm());
      api.text("VM.revert", api.text("VM.get_by_uuid", checkpoint));
      assertThat(moves.powerState(site)).contains("Suspended");
      api.call("VM.resume", Value.of(vm), Value.of(false), Value.of(false));
      await().atMost(PATIENCE).until(() -> again.acknowledged(0) > 0);
      assertThat(again.acknowledged(0)).isGreaterThanOrEqualTo(before);
      long now = again.acknowledged(0);
      await().atMost(PATIENCE).until(() -> again.acknowledged(0) > now + 100);
      // What the memory says it has written is on the disk.
      api.text("VM.pause", vm);
      again.sync();
      Verdict verdict = DiskFiles.verify(ledger, moves.disks(site, moves.vm()));
      assertThat(verdict.good()).as(verdict.toString()).isTrue();
      assertThat(verdict.acknowledged()).isPositive();
      assertThat(again.boots()).isEqualTo(1);
      assertThat(again.errors()).isZero();
      api.text("VM.unpause", vm);
    }
  }
}
