package io.xenferry.copy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.zip.CRC32C;

/**
 * A dirty log in a file that survives a crash at any instant.
 *
 * <p>The file is a sequence of pages of 4 KiB, each in two copies that are written in turn; a copy
 * has a generation and a checksum, and the valid one of the higher generation counts. A page whose
 * copies are both unreadable counts as dirty throughout. Page 0 is the header (block size, disk
 * size, begun); the others hold the bits. Marks that arrive during a write go with the next one, so
 * that many guest writes share one {@code fdatasync}.
 */
public final class FileDirtyLog implements DirtyLog {
  private static final int PAGE = 4096;
  private static final long MAGIC = 0x5846_4449_5254_5931L;
  private static final int HEAD = 32;
  private static final int BITS = (PAGE - HEAD) * 8;

  private final Path path;
  private final BlockMap map;
  private final FileChannel channel;
  private final Executor io;
  private final int pages;
  private final long[] generations;

  // Guarded by this.
  private final BitSet current = new BitSet();
  private final BitSet durable = new BitSet();
  private final BitSet clearedSince = new BitSet();
  private final TreeSet<Integer> changed = new TreeSet<>();
  private List<CompletableFuture<Void>> waiters = new ArrayList<>();
  private boolean writing;
  private boolean begun;

  /**
   * Opens the log, or makes a new one.
   *
   * @param io where blocking writes run; one task at a time
   * @throws IOException when the file cannot be read, or belongs to a disk of another shape
   */
  public static FileDirtyLog open(Path path, BlockMap map, Executor io) throws IOException {
    FileChannel channel =
        FileChannel.open(
            path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    try {
      FileDirtyLog log = new FileDirtyLog(path, map, channel, io);
      log.load();
      return log;
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  private FileDirtyLog(Path path, BlockMap map, FileChannel channel, Executor io) {
    this.path = path;
    this.map = map;
    this.channel = channel;
    this.io = io;
    this.pages = 1 + (map.count() + BITS - 1) / BITS;
    this.generations = new long[pages];
  }

  @Override
  public BlockMap map() {
    return map;
  }

  @Override
  public synchronized CompletableFuture<Void> mark(int first, int end) {
    if (durable.nextClearBit(first) >= end) {
      return CompletableFuture.completedFuture(null);
    }
    current.set(first, end);
    for (int page = pageOf(first); page <= pageOf(end - 1); page++) {
      changed.add(page);
    }
    return enqueue();
  }

  @Override
  public synchronized void clear(BitSet blocks) {
    current.andNot(blocks);
    durable.andNot(blocks);
    clearedSince.or(blocks);
    for (int block = blocks.nextSetBit(0); block >= 0; ) {
      int page = pageOf(block);
      changed.add(page);
      block = blocks.nextSetBit(page * BITS);
    }
  }

  @Override
  public synchronized BitSet marked() {
    return (BitSet) current.clone();
  }

  @Override
  public synchronized CompletableFuture<Void> sync() {
    return enqueue();
  }

  @Override
  public synchronized boolean begun() {
    return begun;
  }

  @Override
  public synchronized CompletableFuture<Void> begin() {
    begun = true;
    changed.add(0);
    return enqueue();
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(path.toString(), e);
    }
  }

  private static int pageOf(int block) {
    return 1 + block / BITS;
  }

  private CompletableFuture<Void> enqueue() {
    CompletableFuture<Void> done = new CompletableFuture<>();
    waiters.add(done);
    if (!writing) {
      writing = true;
      io.execute(this::writeBatches);
    }
    return done;
  }

  private void writeBatches() {
    while (true) {
      List<CompletableFuture<Void>> batch;
      List<Integer> pageNumbers;
      List<ByteBuffer> contents = new ArrayList<>();
      BitSet snapshot;
      synchronized (this) {
        if (waiters.isEmpty()) {
          writing = false;
          return;
        }
        batch = waiters;
        waiters = new ArrayList<>();
        pageNumbers = new ArrayList<>(changed);
        changed.clear();
        clearedSince.clear();
        snapshot = (BitSet) current.clone();
        for (int page : pageNumbers) {
          contents.add(encode(page, ++generations[page]));
        }
      }
      try {
        for (int i = 0; i < contents.size(); i++) {
          writeFully(
              contents.get(i), position(pageNumbers.get(i), generations[pageNumbers.get(i)]));
        }
        channel.force(false);
        synchronized (this) {
          snapshot.andNot(clearedSince);
          durable.or(snapshot);
        }
        batch.forEach(waiter -> waiter.complete(null));
      } catch (IOException e) {
        synchronized (this) {
          changed.addAll(pageNumbers);
        }
        batch.forEach(waiter -> waiter.completeExceptionally(e));
      }
    }
  }

  private static long position(int page, long generation) {
    return (2L * page + (generation & 1)) * PAGE;
  }

  private ByteBuffer encode(int page, long generation) {
    ByteBuffer buffer = ByteBuffer.allocate(PAGE);
    buffer.putLong(0, MAGIC).putLong(8, generation).putInt(16, page);
    buffer.position(HEAD);
    if (page == 0) {
      buffer.putLong(map.size()).putInt(map.blockSize()).put((byte) (begun ? 1 : 0));
    } else {
      int from = (page - 1) * BITS;
      buffer.put(current.get(from, Math.min(map.count(), from + BITS)).toByteArray());
    }
    buffer.putInt(24, checksum(buffer));
    return buffer.clear();
  }

  private static int checksum(ByteBuffer page) {
    CRC32C crc = new CRC32C();
    crc.update(page.array(), 0, 24);
    crc.update(page.array(), HEAD, PAGE - HEAD);
    return (int) crc.getValue();
  }

  private void load() throws IOException {
    boolean fresh = channel.size() == 0;
    ByteBuffer header = newest(0);
    if (fresh || header == null) {
      if (!fresh) {
        // Made, and crashed before the header was durable: nothing relied on it yet.
        current.clear();
      }
      for (int page = 0; page < pages; page++) {
        changed.add(page);
      }
      writing = true;
      CompletableFuture<Void> made = new CompletableFuture<>();
      waiters.add(made);
      writeBatches();
      made.handle((done, failure) -> failure).thenAccept(failure -> {}).join();
      if (made.isCompletedExceptionally()) {
        throw new IOException("cannot write " + path);
      }
      return;
    }
    header.position(HEAD);
    if (header.getLong() != map.size() || header.getInt() != map.blockSize()) {
      throw new IOException(path + " is the log of a disk of another size");
    }
    begun = header.get() != 0;
    for (int page = 1; page < pages; page++) {
      int from = (page - 1) * BITS;
      ByteBuffer content = newest(page);
      if (content == null) {
        current.set(from, Math.min(map.count(), from + BITS));
        changed.add(page);
        continue;
      }
      BitSet bits = BitSet.valueOf(Arrays.copyOfRange(content.array(), HEAD, PAGE));
      for (int bit = bits.nextSetBit(0); bit >= 0 && from + bit < map.count(); ) {
        int end = Math.min(bits.nextClearBit(bit), map.count() - from);
        current.set(from + bit, from + end);
        durable.set(from + bit, from + end);
        bit = bits.nextSetBit(end);
      }
    }
  }

  /** The valid copy of the higher generation, or null when neither is valid. */
  private @org.jspecify.annotations.Nullable ByteBuffer newest(int page) throws IOException {
    ByteBuffer best = null;
    for (int copy = 0; copy < 2; copy++) {
      ByteBuffer buffer = ByteBuffer.allocate(PAGE);
      long position = position(page, copy);
      while (buffer.hasRemaining() && channel.read(buffer, position + buffer.position()) > 0) {}
      if (!buffer.hasRemaining()
          && buffer.getLong(0) == MAGIC
          && buffer.getInt(16) == page
          && buffer.getInt(24) == checksum(buffer)
          && (buffer.getLong(8) & 1) == copy
          && (best == null || buffer.getLong(8) > best.getLong(8))) {
        best = buffer;
      }
    }
    if (best != null) {
      generations[page] = best.getLong(8);
    }
    return best;
  }

  private void writeFully(ByteBuffer buffer, long position) throws IOException {
    while (buffer.hasRemaining()) {
      position += channel.write(buffer, position);
    }
  }
}
