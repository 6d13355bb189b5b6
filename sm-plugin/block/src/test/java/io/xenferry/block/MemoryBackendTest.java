package io.xenferry.block;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockException.Kind;
import java.nio.ByteBuffer;
import java.util.concurrent.ForkJoinPool;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

class MemoryBackendTest extends BlockBackendContract {
  @Override
  protected BlockBackend open(long size) {
    return new MemoryBackend("memory", size);
  }

  @Override
  protected BlockBackend openReadOnly(long size) {
    return new MemoryBackend("memory", size).withReadOnly(true);
  }

  @Test
  void runsOutOfSpaceWhenToldSo() throws Exception {
    MemoryBackend device = new MemoryBackend("small", 4 * MIB).withCapacity(MIB);

    await(device.write(0, ByteBuffer.allocate(MIB)));
    assertFails(device.write(2 * MIB, ByteBuffer.allocate(512)), Kind.NO_SPACE);
    await(device.zero(0, MIB));
    await(device.write(2 * MIB, ByteBuffer.allocate(512)));
    assertThat(device.allocated()).isEqualTo(65536);
  }

  @Nested
  class AlignedAndAsynchronous extends BlockBackendContract {
    @Override
    protected BlockBackend open(long size) {
      return new MemoryBackend("memory", size, 4096, ForkJoinPool.commonPool());
    }

    @Override
    protected BlockBackend openReadOnly(long size) {
      return ForwardingBackend.readOnly(open(size));
    }
  }
}
