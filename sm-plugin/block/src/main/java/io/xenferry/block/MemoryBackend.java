package io.xenferry.block;

import io.xenferry.block.BlockException.Kind;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A sparse disk in memory, for tests and simulations; terabytes cost nothing until written.
 *
 * <p>By default requests are done when the call returns, so that a seeded simulation stays in
 * order; with an executor they are done there.
 */
public final class MemoryBackend implements BlockBackend {
  private static final int CHUNK = 64 << 10;
  private static final int MAX_TRANSFER = 32 << 20;

  private final String name;
  private final long size;
  private final int alignment;
  private final Executor executor;
  private final TreeMap<Long, byte[]> chunks = new TreeMap<>();
  private long capacity = Long.MAX_VALUE;
  private boolean readOnly;
  private volatile boolean closed;

  public MemoryBackend(String name, long size) {
    this(name, size, 1, Runnable::run);
  }

  /**
   * Makes a disk of zeroes.
   *
   * @param size bytes; a multiple of {@code alignment}
   * @param alignment a power of two, at most 64 KiB
   * @param executor runs the requests
   */
  public MemoryBackend(String name, long size, int alignment, Executor executor) {
    if (size < 0
        || Integer.bitCount(alignment) != 1
        || alignment > CHUNK
        || size % alignment != 0) {
      throw new IllegalArgumentException("size " + size + ", alignment " + alignment);
    }
    this.name = name;
    this.size = size;
    this.alignment = alignment;
    this.executor = executor;
  }

  /** Limits the bytes that can be allocated; beyond it writes fail with NO_SPACE. */
  public synchronized MemoryBackend withCapacity(long bytes) {
    capacity = bytes;
    return this;
  }

  public synchronized MemoryBackend withReadOnly(boolean value) {
    readOnly = value;
    return this;
  }

  /** Bytes of memory held for content. */
  public synchronized long allocated() {
    return (long) chunks.size() * CHUNK;
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
    return alignment;
  }

  @Override
  public int maxTransfer() {
    return MAX_TRANSFER;
  }

  @Override
  public synchronized boolean readOnly() {
    return readOnly;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return BlockRequests.checkTransfer(this, offset, into.remaining(), false)
        .<CompletableFuture<Void>>map(CompletableFuture::failedFuture)
        .orElseGet(() -> submit(() -> readNow(offset, into)));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return BlockRequests.checkTransfer(this, offset, from.remaining(), true)
        .<CompletableFuture<Void>>map(CompletableFuture::failedFuture)
        .orElseGet(() -> submit(() -> writeNow(offset, from)));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return BlockRequests.checkRange(this, offset, length, true)
        .<CompletableFuture<Void>>map(CompletableFuture::failedFuture)
        .orElseGet(() -> submit(() -> zeroNow(offset, length)));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return zero(offset, length);
  }

  @Override
  @SuppressWarnings("NullAway") // Void futures complete with null.
  public CompletableFuture<Void> flush() {
    return submit(() -> null);
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return BlockRequests.checkRange(this, offset, length, false)
        .<CompletableFuture<List<Extent>>>map(CompletableFuture::failedFuture)
        .orElseGet(() -> submit(() -> extentsNow(offset, length)));
  }

  @Override
  public synchronized void close() {
    closed = true;
  }

  @Override
  public String toString() {
    return "MemoryBackend[" + name + "]";
  }

  private <T> CompletableFuture<T> submit(Supplier<@Nullable T> body) {
    CompletableFuture<T> future = new CompletableFuture<>();
    executor.execute(() -> run(body, future));
    return future;
  }

  @SuppressWarnings("NullAway") // Void futures complete with null.
  private <T> void run(Supplier<@Nullable T> body, CompletableFuture<T> future) {
    T answer;
    try {
      synchronized (this) {
        if (closed) {
          throw new Refusal(Kind.CLOSED, "closed");
        }
        answer = body.get();
      }
    } catch (Refusal e) {
      future.completeExceptionally(new BlockException(e.kind, name + ": " + e.getMessage()));
      return;
    }
    future.complete(answer);
  }

  /** Carries a failure out of a request's body. */
  private static final class Refusal extends RuntimeException {
    private static final long serialVersionUID = 1L;
    final Kind kind;

    Refusal(Kind kind, String message) {
      super(message, null, false, false);
      this.kind = kind;
    }
  }

  private @Nullable Void readNow(long offset, ByteBuffer into) {
    long at = offset;
    while (into.hasRemaining()) {
      int within = (int) (at % CHUNK);
      int n = Math.min(CHUNK - within, into.remaining());
      byte[] chunk = chunks.get(at / CHUNK);
      into.put(chunk == null ? ZEROES : chunk, within, n);
      at += n;
    }
    return null;
  }

  private static final byte[] ZEROES = new byte[CHUNK];

  private @Nullable Void writeNow(long offset, ByteBuffer from) {
    long at = offset;
    while (from.hasRemaining()) {
      int within = (int) (at % CHUNK);
      int n = Math.min(CHUNK - within, from.remaining());
      from.get(chunkForWriting(at / CHUNK), within, n);
      at += n;
    }
    return null;
  }

  private byte[] chunkForWriting(long index) {
    byte[] chunk = chunks.get(index);
    if (chunk == null) {
      if (allocated() + CHUNK > capacity) {
        throw new Refusal(Kind.NO_SPACE, "all " + capacity + " bytes are in use");
      }
      chunk = new byte[CHUNK];
      chunks.put(index, chunk);
    }
    return chunk;
  }

  private @Nullable Void zeroNow(long offset, long length) {
    long end = offset + length;
    long firstWhole = (offset + CHUNK - 1) / CHUNK;
    long afterWhole = end / CHUNK;
    if (firstWhole < afterWhole) {
      chunks.subMap(firstWhole, afterWhole).clear();
    }
    clear(offset, Math.min(end, firstWhole * CHUNK));
    if (afterWhole >= firstWhole) {
      clear(Math.max(offset, afterWhole * CHUNK), end);
    }
    return null;
  }

  private void clear(long from, long to) {
    if (from < to) {
      byte[] chunk = chunks.get(from / CHUNK);
      if (chunk != null) {
        int within = (int) (from % CHUNK);
        java.util.Arrays.fill(chunk, within, within + (int) (to - from), (byte) 0);
      }
    }
  }

  private List<Extent> extentsNow(long offset, long length) {
    List<Extent> extents = new ArrayList<>();
    long end = offset + length;
    long at = offset;
    while (at < end) {
      Map.Entry<Long, byte[]> next = chunks.ceilingEntry(at / CHUNK);
      long data = next == null ? end : Math.min(end, Math.max(at, next.getKey() * CHUNK));
      if (data > at) {
        extents.add(new Extent(at, data - at, true));
        at = data;
        continue;
      }
      long stop = at / CHUNK + 1;
      while (stop * CHUNK < end && chunks.containsKey(stop)) {
        stop++;
      }
      long hole = Math.min(end, stop * CHUNK);
      extents.add(new Extent(at, hole - at, false));
      at = hole;
    }
    return extents;
  }
}
