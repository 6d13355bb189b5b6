package io.xenferry.block;

import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;

/**
 * Notes the CRC32C of every block that was read or written in full; a block written in part is
 * unknown again. The digests of overlapping requests in flight are as undefined as their content.
 */
public final class ChecksumBackend extends ForwardingBackend {
  private final BlockDigests digests;
  private final int blockSize;

  public ChecksumBackend(BlockBackend delegate, BlockDigests digests) {
    super(delegate);
    this.digests = digests;
    this.blockSize = digests.blockSize();
  }

  public BlockDigests digests() {
    return digests;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    ByteBuffer view = into.duplicate();
    return delegate().read(offset, into).thenRun(() -> note(offset, checksums(offset, view)));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    int length = from.remaining();
    int[] sums = checksums(offset, from.duplicate());
    forget(offset, length);
    return delegate().write(offset, from).thenRun(() -> note(offset, sums));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    forget(offset, length);
    return delegate().zero(offset, length);
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    forget(offset, length);
    return delegate().trim(offset, length);
  }

  private void forget(long offset, long length) {
    if (length > 0 && offset >= 0) {
      digests.forget(offset / blockSize, (offset + length - 1) / blockSize + 1);
    }
  }

  private int[] checksums(long offset, ByteBuffer content) {
    long first = Math.ceilDiv(offset, blockSize);
    int skip = (int) Math.min(content.remaining(), first * blockSize - offset);
    int blocks = (content.remaining() - skip) / blockSize;
    int[] sums = new int[blocks];
    for (int i = 0; i < blocks; i++) {
      int from = content.position() + skip + i * blockSize;
      sums[i] = BlockDigests.digest(content, from, from + blockSize);
    }
    return sums;
  }

  private void note(long offset, int[] sums) {
    long first = Math.ceilDiv(offset, blockSize);
    for (int i = 0; i < sums.length; i++) {
      digests.put(first + i, sums[i]);
    }
  }
}
