package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.util.Base64;
import java.util.BitSet;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Changed blocks of a disk that Linux goes on writing while it moves, by each strategy: compared
 * with what the snapshots from before and after it hold.
 */
@Timeout(400)
@Tag("slow")
class TrackedMoveTest {
  private static final int BLOCK = 64 << 10;
  private static final long SIZE = 48L << 20;

  /** Bytes that the guest writes to. */
  private static final int SPAN = 8 << 20;

  @Test
  void noBlockIsForgottenWhileTheGuestWrites() throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "tgtd")) {
      moves.writing(512 << 10, SPAN).startServers();
      moves.addVm(DiskFiles.QCOW2, SIZE);
      Site site = moves.lab().alpha();
      try (Api api = new Api(site)) {
        api.call("VDI.enable_cbt", Value.of(disk(api, api.text("VM.get_by_uuid", moves.vm()))));
      }
      moves.start();
      String before = snapshot(site, moves, "before");
      for (String strategy : new String[] {"log-dirty", "mirror", "auto", "snapshot"}) {
        moves.awaitWrites(20);
        Xe.Outcome outcome = moves.move(site, "strategy=" + strategy).await();
        assertThat(outcome.exit()).as(strategy + ": " + outcome + moves.describe()).isZero();
        site = moves.assertWell();
        String after = snapshot(site, moves, strategy);
        assertListed(site, before, after, strategy);
        before = after;
      }
    }
  }

  private static String disk(Api api, String vm) throws Exception {
    return api.text("VBD.get_VDI", api.texts("VM.get_VBDs", vm).getFirst());
  }

  private static String snapshot(Site site, Moves moves, String name) throws Exception {
    try (Api api = new Api(site)) {
      Value vm = Value.of(api.text("VM.get_by_uuid", moves.vm()));
      Value snapshot = api.call("VM.snapshot", vm, Value.of(name), Value.EMPTY_ARRAY);
      return api.text("VM.get_uuid", ((Value.Text) snapshot).text());
    }
  }

  private static void assertListed(Site site, String from, String to, String how) throws Exception {
    try (Api api = new Api(site)) {
      String earlier = disk(api, api.text("VM.get_by_uuid", from));
      String later = disk(api, api.text("VM.get_by_uuid", to));
      byte[] bits = Base64.getDecoder().decode(api.text("VDI.list_changed_blocks", earlier, later));
      BitSet missing =
          DiskFiles.differing(
              DiskFiles.image(site, api.text("VDI.get_uuid", earlier)),
              DiskFiles.image(site, api.text("VDI.get_uuid", later)),
              BLOCK);
      int different = missing.cardinality();
      int listed = 0;
      for (int i = 0; i < bits.length * 8; i++) {
        if ((bits[i / 8] & (0x80 >> (i % 8))) != 0) {
          missing.clear(i);
          listed++;
        }
      }
      System.out.printf("%s: %d blocks differ, %d are listed%n", how, different, listed);
      assertThat(missing)
          .as(how + ": blocks that differ and are not listed")
          .isEqualTo(new BitSet());
      assertThat(different).as("blocks that differ").isPositive();
      assertThat(listed).as("only what the guest writes to").isLessThanOrEqualTo(SPAN / BLOCK + 1);
    }
  }
}
