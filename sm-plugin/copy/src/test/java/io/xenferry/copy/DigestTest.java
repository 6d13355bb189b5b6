package io.xenferry.copy;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class DigestTest {
  private static byte[] digest(Digest digest, byte[] bytes) {
    return digest.of(ByteBuffer.wrap(bytes), 0, bytes.length).orElseThrow();
  }

  /** The check values of both polynomials, RFC 3720 appendix B.4 having more of the first. */
  @Test
  void aChecksumIsCrc32cAndCrc32() {
    assertThat(HexFormat.of().formatHex(digest(Digest.CHECKSUM, "123456789".getBytes(US_ASCII))))
        .isEqualTo("e3069283" + "cbf43926");
  }

  @ParameterizedTest
  @EnumSource(Digest.class)
  void zeroesHaveNone(Digest digest) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(96);
    buffer.put(64, (byte) 1);
    assertThat(digest.of(buffer, 0, 64)).isEmpty();
    assertThat(digest.of(buffer, 64, 32)).isPresent();
    assertThat(buffer.position()).isZero();
  }

  /** What a wrong byte, word, or run of bits does to a block never stays unnoticed. */
  @ParameterizedTest
  @EnumSource(Digest.class)
  void anErrorWithin64BitsIsSeen(Digest digest) {
    Random random = new Random(3);
    byte[] block = new byte[4096];
    random.nextBytes(block);
    byte[] sound = digest(digest, block);
    for (int i = 0; i < 2000; i++) {
      byte[] broken = block.clone();
      int at = random.nextInt(broken.length - 8);
      long error = random.nextLong() | 1;
      ByteBuffer.wrap(broken).putLong(at, ByteBuffer.wrap(block).getLong(at) ^ error);
      assertThat(digest(digest, broken)).isNotEqualTo(sound);
    }
  }

  @ParameterizedTest
  @EnumSource(Digest.class)
  void goesOverTheWireInAsManyBytesAsItHas(Digest digest) {
    byte[] block = {1, 2, 3};
    byte[] wire = BlockHashes.of(1, Map.of(0, digest(digest, block))).write();
    assertThat(wire).hasSize(1 + digest.bytes());
    assertThat(BlockHashes.read(wire, 1, digest).holds(0, digest.of(ByteBuffer.wrap(block), 0, 3)))
        .isTrue();
    byte[] longer = Arrays.copyOf(wire, wire.length + 1);
    assertThatThrownBy(() -> BlockHashes.read(longer, 2, digest))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
