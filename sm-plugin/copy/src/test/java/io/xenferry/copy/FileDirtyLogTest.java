package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.BitSet;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileDirtyLogTest {
  @TempDir Path directory;

  @Test
  void keepsMarksAndClears() throws IOException {
    BlockMap map = new BlockMap(1L << 40, 64 << 10);
    Path path = directory.resolve("log");
    try (FileDirtyLog log = FileDirtyLog.open(path, map, Runnable::run)) {
      assertThat(log.begun()).isFalse();
      log.mark(5, 9).join();
      log.mark(map.count() - 1, map.count()).join();
      BitSet some = new BitSet();
      some.set(6);
      log.clear(some);
      log.begin().join();
      log.sync().join();
    }
    try (FileDirtyLog log = FileDirtyLog.open(path, map, Runnable::run)) {
      assertThat(log.begun()).isTrue();
      assertThat(log.marked()).isEqualTo(bits(5, 7, 8, map.count() - 1));
    }
  }

  @Test
  void refusesTheLogOfAnotherDisk() throws IOException {
    Path path = directory.resolve("log");
    FileDirtyLog.open(path, new BlockMap(1 << 20, 512), Runnable::run).close();
    assertThatThrownBy(() -> FileDirtyLog.open(path, new BlockMap(1 << 21, 512), Runnable::run))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("another size");
  }

  @Test
  void oneWriteServesAllMarksThatWait() throws IOException {
    Queue<Runnable> io = new ArrayDeque<>();
    FileDirtyLog log =
        FileDirtyLog.open(directory.resolve("log"), new BlockMap(1 << 20, 512), io::add);
    CompletableFuture<Void> first = log.mark(1, 2);
    CompletableFuture<Void> second = log.mark(7, 8);
    assertThat(first).isNotDone();
    assertThat(io).hasSize(1);
    io.remove().run();
    assertThat(first).isCompleted();
    assertThat(second).isCompleted();
    assertThat(log.mark(7, 8)).as("marked already").isCompleted();
    log.close();
  }

  /** Tears the copy of a page that was written last, as a crash within a write may. */
  @Test
  void survivesATornWriteWithTheMarksThatWereDurableBefore() throws IOException {
    Random random = new Random(1);
    BlockMap map = new BlockMap(100_000 * 512L, 512);
    for (int round = 0; round < 50; round++) {
      Path path = directory.resolve("torn" + round);
      int writes = 1 + random.nextInt(6);
      byte[] before = new byte[0];
      BitSet durable = new BitSet();
      BitSet last = new BitSet();
      try (FileDirtyLog log = FileDirtyLog.open(path, map, Runnable::run)) {
        for (int i = 0; i < writes; i++) {
          before = Files.readAllBytes(path);
          durable = log.marked();
          int block = random.nextInt(map.count() - 10);
          log.mark(block, block + 10).join();
          last = log.marked();
        }
      }
      byte[] after = Files.readAllBytes(path);
      byte[] torn = before.clone();
      for (int at = 0; at < after.length; at++) {
        if (random.nextBoolean()) {
          torn[at] = after[at];
        }
      }
      Files.write(path, torn);
      try (FileDirtyLog log = FileDirtyLog.open(path, map, Runnable::run)) {
        BitSet lost = (BitSet) durable.clone();
        lost.andNot(log.marked());
        assertThat(lost.isEmpty()).isTrue();
        BitSet invented = log.marked();
        invented.andNot(last);
        assertThat(invented.isEmpty()).isTrue();
      }
    }
  }

  @Test
  void takesAnUnreadablePageForDirty() throws IOException {
    BlockMap map = new BlockMap(100_000 * 512L, 512);
    Path path = directory.resolve("log");
    try (FileDirtyLog log = FileDirtyLog.open(path, map, Runnable::run)) {
      log.begin().join();
    }
    byte[] bytes = Files.readAllBytes(path);
    for (int at = 2 * 4096; at < 4 * 4096; at++) {
      bytes[at] = 77;
    }
    Files.write(path, bytes);
    try (FileDirtyLog log = FileDirtyLog.open(path, map, Runnable::run)) {
      assertThat(log.marked().nextClearBit(0)).isEqualTo(32512);
      assertThat(log.marked().cardinality()).isEqualTo(32512);
    }
  }

  private static BitSet bits(int... set) {
    BitSet bits = new BitSet();
    for (int bit : set) {
      bits.set(bit);
    }
    return bits;
  }
}
