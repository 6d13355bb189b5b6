package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.BitSet;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ChangedBlocksTest {
  private static final long SIZE = 100 * ChangedBlocks.BLOCK + 512;

  private static ChangedBlocks of(int... blocks) {
    BitSet bits = new BitSet();
    for (int block : blocks) {
      bits.set(block);
    }
    return new ChangedBlocks("before", bits);
  }

  @Test
  void textIsReadElsewhere() throws Exception {
    Random random = new Random(4711);
    for (int i = 0; i < 50; i++) {
      BitSet bits = new BitSet();
      for (int block = 0; block <= 100; block++) {
        bits.set(block, random.nextInt(50) < i);
      }
      ChangedBlocks blocks = new ChangedBlocks("before", bits);
      assertThat(ChangedBlocks.parse("before", blocks.text(), SIZE)).isEqualTo(blocks);
      assertThat(ChangedBlocks.fromRecord(blocks.toRecord())).isEqualTo(blocks);
    }
    assertThat(of(3).since("other").parent()).isEqualTo("other");
  }

  @Test
  void allIsEveryBlockAndNoOther() {
    assertThat(ChangedBlocks.all("", SIZE).blocks().cardinality()).isEqualTo(101);
    assertThat(ChangedBlocks.all("", SIZE).blocks().length()).isEqualTo(101);
  }

  @Test
  void blocksBeyondTheEndAreNotTaken() throws Exception {
    assertThat(ChangedBlocks.parse("before", of(7, 100, 101, 103).text(), SIZE))
        .isEqualTo(of(7, 100));
  }

  /** Small when it arrives, and large when it is unpacked. */
  @Test
  void textOfALargerDiskIsRefused() {
    String bomb = ChangedBlocks.all("", 1L << 40).text();
    assertThat(bomb.length()).isLessThan(8192);
    assertThatThrownBy(() -> ChangedBlocks.parse("", bomb, SIZE)).isInstanceOf(IOException.class);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "?", "AAAA"})
  void nonsenseIsRefused(String text) {
    assertThatThrownBy(() -> ChangedBlocks.parse("", text, SIZE)).isInstanceOf(IOException.class);
  }
}
