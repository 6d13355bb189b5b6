package io.xenferry.bench;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Extent;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/**
 * A disk of any size whose content is the same slab of memory again and again, and which takes what
 * is written and forgets it. It may have holes: of each {@code every} MiB the first is data.
 */
final class SlabDisk implements BlockBackend {
  private static final long MIB = 1 << 20;

  /** Extents told at once. */
  private static final int TOLD = 1024;

  private final String name;
  private final long size;
  private final ByteBuffer slab;
  private final int every;
  private final Executor readers;

  /**
   * @param slab as long as several MiB
   * @param every 1 for no holes
   * @param readers what reads, as the threads of a file do
   */
  SlabDisk(String name, long size, ByteBuffer slab, int every, Executor readers) {
    this.name = name;
    this.size = size;
    this.slab = slab;
    this.every = every;
    this.readers = readers;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long size() {
    return size;
  }

  @Override
  public int alignment() {
    return 1;
  }

  @Override
  public int maxTransfer() {
    return 1 << 20;
  }

  @Override
  public boolean readOnly() {
    return false;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return CompletableFuture.runAsync(
        () -> {
          long at = offset;
          while (into.hasRemaining()) {
            int from = (int) (at % slab.capacity());
            int length = Math.min(into.remaining(), slab.capacity() - from);
            into.put(slab.slice(from, length));
            at += length;
          }
        },
        readers);
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return done();
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return done();
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return done();
  }

  @Override
  public CompletableFuture<Void> flush() {
    return done();
  }

  @SuppressWarnings("NullAway") // Void futures complete with null.
  private static CompletableFuture<Void> done() {
    return CompletableFuture.completedFuture(null);
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    if (every == 1) {
      return CompletableFuture.completedFuture(List.of(new Extent(offset, length, false)));
    }
    List<Extent> extents = new ArrayList<>();
    long at = offset;
    while (at < offset + length && extents.size() < TOLD) {
      long within = at % (every * MIB);
      boolean data = within < MIB;
      long end = Math.min(offset + length, at - within + (data ? MIB : every * MIB));
      extents.add(new Extent(at, end - at, !data));
      at = end;
    }
    return CompletableFuture.completedFuture(extents);
  }

  @Override
  public void close() {}
}
