package io.xenferry.iscsi.scsi;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.Extent;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class LbaStatusTest {
  private static final long BLOCKS = 1L << 40;

  private static List<Extent> back(byte[] answer, long offset, long length) {
    return LbaStatus.read(ByteBuffer.wrap(answer), answer.length, offset, length, 512, BLOCKS);
  }

  @Test
  void whatIsWrittenIsRead() {
    List<Extent> extents =
        List.of(
            new Extent(4096, 1024, false),
            new Extent(5120, 1 << 20, true),
            new Extent(5120 + (1 << 20), 512, false));
    byte[] answer = LbaStatus.write(8, extents, 512, 1024);
    assertThat(answer).hasSize(LbaStatus.HEADER + 3 * LbaStatus.DESCRIPTOR);
    assertThat(back(answer, 4096, 1 << 21)).isEqualTo(extents);
    assertThat(back(answer, 4096, 1536))
        .containsExactly(new Extent(4096, 1024, false), new Extent(5120, 512, true));
  }

  @Test
  void holesShrinkToWholeBlocks() {
    List<Extent> extents =
        List.of(
            new Extent(0, 700, false), new Extent(700, 1000, true), new Extent(1700, 348, false));
    assertThat(back(LbaStatus.write(0, extents, 512, 1024), 0, 2048))
        .containsExactly(
            new Extent(0, 1024, false), new Extent(1024, 512, true), new Extent(1536, 512, false));
  }

  @Test
  void onlyAsMuchIsWrittenAsThereIsRoom() {
    List<Extent> extents = List.of(new Extent(0, 512, false), new Extent(512, 512, true));
    assertThat(LbaStatus.write(0, extents, 512, 24)).hasSize(24);
    assertThat(LbaStatus.write(0, extents, 512, 0)).hasSize(24);
  }

  /** As tgtd counts: 2^32 blocks are told as none, and more as what is beyond. */
  @Test
  void countsThatHaveWrappedAreSeenThrough() {
    ByteBuffer answer = ByteBuffer.allocate(LbaStatus.HEADER + 2 * LbaStatus.DESCRIPTOR);
    long holes = (1L << 33) + 5;
    answer.putLong(8, 0).putInt(16, (int) holes).put(20, (byte) 1);
    answer.putLong(24, holes).putInt(32, 7).put(36, (byte) 0);
    assertThat(LbaStatus.read(answer, 40, 0, 1L << 50, 512, BLOCKS))
        .containsExactly(new Extent(0, holes * 512, true), new Extent(holes * 512, 7 * 512, false));
    answer.putInt(16, 0);
    assertThat(LbaStatus.read(answer, 24, 0, 1L << 50, 512, BLOCKS))
        .containsExactly(new Extent(0, (1L << 32) * 512, true));
  }

  @Test
  void junkIsNeverBelievedBeyondTheDisk() {
    Random random = new Random(1);
    for (int i = 0; i < 20_000; i++) {
      byte[] junk = new byte[LbaStatus.HEADER + LbaStatus.DESCRIPTOR * random.nextInt(5)];
      random.nextBytes(junk);
      for (int d = LbaStatus.HEADER; d < junk.length && random.nextBoolean(); d += 16) {
        java.util.Arrays.fill(junk, d, d + 6, (byte) 0);
      }
      long at = 4096;
      for (Extent extent :
          LbaStatus.read(ByteBuffer.wrap(junk), junk.length, 4096, 1 << 20, 512, 4096)) {
        assertThat(extent.offset()).isEqualTo(at);
        at = extent.end();
      }
      assertThat(at).isLessThanOrEqualTo(4096 + (1 << 20));
    }
  }
}
