package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.FileBackend;
import io.xenferry.block.Range;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LocalDigestsTest {
  private static final int BLOCK = 64 << 10;
  private static final int BLOCKS = 64;
  private static final long SIZE = (long) BLOCKS * BLOCK - 512;

  @TempDir Path directory;
  private final byte[] data = new byte[BLOCK];
  private Path file;

  /** Data in block 3, in the middle of blocks 40 and 41, and in the short last one. */
  @BeforeEach
  void write() throws Exception {
    file = directory.resolve("disk");
    new Random(5).nextBytes(data);
    try (RandomAccessFile disk = new RandomAccessFile(file.toFile(), "rw")) {
      disk.setLength(SIZE);
      disk.seek(3L * BLOCK);
      disk.write(data);
      disk.seek(40L * BLOCK + BLOCK / 2);
      disk.write(data);
      disk.seek(63L * BLOCK);
      disk.write(data, 0, BLOCK - 512);
    }
  }

  private BlockHashes told(int mostRead, Range range) throws Exception {
    try (FileBackend disk = FileBackend.open(file, FileBackend.Mode.READ_ONLY)) {
      return new LocalDigests(disk, mostRead).digests(range, BLOCK, Digest.SHA_256).get();
    }
  }

  private static Optional<byte[]> sha256(byte[] bytes, int length) throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    digest.update(bytes, 0, length);
    return Optional.of(digest.digest());
  }

  @Test
  void tellsEachBlockByItsHashAndZeroesAsSuch() throws Exception {
    BlockHashes all = told(LocalDigests.MOST_READ, new Range(0, SIZE));
    assertThat(all.count()).isEqualTo(BLOCKS);
    for (int block = 0; block < BLOCKS; block++) {
      assertThat(all.of(block).isEmpty())
          .as("block %d is zeroes", block)
          .isEqualTo(block != 3 && block != 40 && block != 41 && block != 63);
    }
    assertThat(all.holds(3, sha256(data, BLOCK))).isTrue();
    assertThat(all.holds(63, sha256(data, BLOCK - 512))).isTrue();
    assertThat(all.holds(40, sha256(data, BLOCK))).isFalse();
    assertThat(all.holds(3, Optional.empty())).isFalse();
    assertThat(all.holds(4, Optional.empty())).isTrue();
  }

  @Test
  void startsInTheMiddle() throws Exception {
    BlockHashes some = told(LocalDigests.MOST_READ, new Range(3L * BLOCK, 2L * BLOCK));
    assertThat(some.count()).isEqualTo(2);
    assertThat(some.holds(0, sha256(data, BLOCK))).isTrue();
    assertThat(some.of(1)).isEmpty();
  }

  @Test
  void readsNoMoreThanItMayForOneAnswer() throws Exception {
    BlockHashes first = told(2 * BLOCK, new Range(0, SIZE));
    assertThat(first.count()).as("up to the third block of data").isEqualTo(41);
    assertThat(first.of(40)).isPresent();
  }

  @Test
  void refusesRangesThatTheDiskHasNot() {
    for (Range range :
        new Range[] {
          new Range(0, SIZE + 1), new Range(512, BLOCK), new Range(64L * BLOCK, 512),
        }) {
      assertThatThrownBy(() -> told(LocalDigests.MOST_READ, range))
          .as("%s", range)
          .hasRootCauseInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void whatIsWrittenIsReadAndNothingElse() throws Exception {
    BlockHashes all = told(LocalDigests.MOST_READ, new Range(0, SIZE));
    byte[] wire = all.write();
    assertThat(wire.length).as("four hashes, and runs of zeroes").isLessThan(4 * 33 + 4 * 5);
    BlockHashes again = BlockHashes.read(wire, BLOCKS, Digest.SHA_256);
    for (int block = 0; block < BLOCKS; block++) {
      assertThat(again.holds(block, all.of(block))).as("block %d", block).isTrue();
    }
    for (byte[] junk :
        new byte[][] {
          {},
          {2},
          {1, 2, 3},
          {0, 0, 0},
          ByteBuffer.allocate(5).array(),
          ByteBuffer.allocate(5).put((byte) 0).putInt(-1).array(),
          ByteBuffer.allocate(5).put((byte) 0).putInt(BLOCKS + 1).array(),
          ByteBuffer.allocate(5).put((byte) 0).putInt(Integer.MAX_VALUE).array()
        }) {
      assertThatThrownBy(() -> BlockHashes.read(junk, BLOCKS, Digest.SHA_256))
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> BlockHashes.read(wire, BLOCKS - 1, Digest.SHA_256))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aSampleIsWhatItSaysAndAllOfWhatIsSmall() {
    Sample large = Sample.some(7, 1 << 20);
    int taken = 0;
    for (int block = 0; block < 1 << 20; block++) {
      taken += large.has(block) ? 1 : 0;
    }
    assertThat(taken).isBetween((1 << 14) * 9 / 10, (1 << 14) * 11 / 10);
    Sample small = Sample.some(7, 1000);
    for (int block = 0; block < 1000; block++) {
      assertThat(small.has(block)).isTrue();
    }
    assertThat(Sample.NOTHING.has(3)).isFalse();
    assertThat(Sample.EVERYTHING.has(3)).isTrue();
  }
}
