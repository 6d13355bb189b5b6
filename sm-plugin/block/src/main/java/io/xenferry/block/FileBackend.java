package io.xenferry.block;

import io.xenferry.block.BlockException.Kind;
import java.io.EOFException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A raw image: a regular, mostly sparse, file, or a block device.
 *
 * <p>A few threads of its own do positional I/O. Holes are seen and made through lseek(2) and
 * fallocate(2) where the system has them; else zeroes are written and everything counts as data.
 * After a flush has failed all later ones fail: the kernel reports a lost page once only.
 */
public final class FileBackend implements BlockBackend {
  private static final Logger LOG = LoggerFactory.getLogger(FileBackend.class);

  /** Enough to keep a disk busy; more threads only fight over the page cache. */
  private static final int THREADS = 4;

  /** Requests waiting for a thread before new ones are refused with BUSY. */
  private static final int MAX_QUEUED = 1024;

  /** As large as NBD allows; the file system splits as it likes. */
  private static final int MAX_TRANSFER = 32 << 20;

  /** Extents in one answer, so that a fragmented file does not fill the memory. */
  private static final int MAX_EXTENTS = 4096;

  private static final int ZERO_STEP = 1 << 20;

  /** How {@link #open} opens. */
  public enum Mode {
    READ_ONLY,
    /** Refused with ACCESS while another writer, QEMU included, has the image open. */
    READ_WRITE,
    /** For the one who knows that the other writer is quiet, for example behind a target. */
    READ_WRITE_SHARED
  }

  private final String name;
  private final Path path;
  private final FileChannel channel;
  private final Optional<LinuxFile> linux;
  private final boolean readOnly;
  private final long size;
  private final Set<Thread> workers = ConcurrentHashMap.newKeySet();
  private final ThreadPoolExecutor pool;

  /** Held by reads from memory, which no thread of the pool makes. */
  private final ReentrantReadWriteLock atOnce = new ReentrantReadWriteLock();

  private volatile boolean closed;
  private volatile @Nullable BlockException flushFailure;
  private volatile boolean canPunch = true;

  private FileBackend(
      Path path, FileChannel channel, Optional<LinuxFile> linux, boolean readOnly, long size) {
    this.name = path.toString();
    this.path = path;
    this.channel = channel;
    this.linux = linux;
    this.readOnly = readOnly;
    this.size = size;
    pool =
        new ThreadPoolExecutor(
            THREADS,
            THREADS,
            10,
            TimeUnit.SECONDS,
            new LinkedBlockingQueue<>(MAX_QUEUED),
            task -> {
              Thread t =
                  Thread.ofPlatform().daemon().name("file-" + path.getFileName()).unstarted(task);
              workers.add(t);
              return t;
            });
    pool.allowCoreThreadTimeOut(true);
  }

  /**
   * Opens an existing image.
   *
   * @throws BlockException IO when it cannot be opened, ACCESS when another has it
   */
  public static FileBackend open(Path path, Mode mode) throws BlockException {
    boolean readOnly = mode == Mode.READ_ONLY;
    Set<OpenOption> options =
        readOnly
            ? Set.of(StandardOpenOption.READ)
            : Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE);
    FileChannel channel = null;
    Optional<LinuxFile> linux = Optional.empty();
    try {
      if (Files.isDirectory(path)) {
        throw new BlockException(Kind.IO, path + ": is a directory");
      }
      channel = FileChannel.open(path, options);
      linux = LinuxFile.open(path, !readOnly);
      switch (mode) {
        case READ_ONLY -> ImageLock.lockForReading(path.toString(), linux);
        case READ_WRITE -> ImageLock.lockForWriting(path.toString(), linux, channel);
        case READ_WRITE_SHARED -> {}
      }
      return new FileBackend(path, channel, linux, readOnly, channel.size());
    } catch (IOException e) {
      linux.ifPresent(LinuxFile::close);
      closeQuietly(channel);
      throw e instanceof BlockException b ? b : new BlockException(Kind.IO, path + ": " + e, e);
    }
  }

  /**
   * Makes a sparse image of {@code size} bytes and opens it for writing.
   *
   * @throws BlockException IO when the file exists already or cannot be made
   */
  public static FileBackend create(Path path, long size) throws BlockException {
    if (size < 0) {
      throw new BlockException(Kind.OUT_OF_RANGE, path + ": size " + size);
    }
    try {
      Files.createFile(path, OwnerOnly.file());
      try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
        file.setLength(size);
      }
    } catch (IOException e) {
      throw new BlockException(Kind.IO, path + ": " + e, e);
    }
    return open(path, Mode.READ_WRITE);
  }

  /** Bytes that an image takes up, without its holes; its size where holes are not seen. */
  public static long allocated(Path path) throws IOException {
    long size = Files.size(path);
    Optional<LinuxFile> linux = LinuxFile.open(path, false);
    if (linux.isEmpty()) {
      return size;
    }
    try (LinuxFile file = linux.get()) {
      OptionalLong occupied = file.occupied();
      if (occupied.isPresent()) {
        return occupied.getAsLong();
      }
      long bytes = 0;
      long at = file.nextData(0);
      while (at >= 0 && at < size) {
        long hole = file.nextHole(at);
        long end = hole <= at ? size : hole;
        bytes += end - at;
        at = file.nextData(end);
      }
      return bytes;
    }
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
    return MAX_TRANSFER;
  }

  @Override
  public boolean readOnly() {
    return readOnly;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return BlockRequests.checkTransfer(this, offset, into.remaining(), false)
        .<CompletableFuture<Void>>map(CompletableFuture::failedFuture)
        .orElseGet(() -> submit(() -> readNow(offset, into)));
  }

  /**
   * Spares the way to another thread and back, which takes longer than the copy. Only for direct
   * buffers, on file systems that know preadv2(2) with RWF_NOWAIT.
   */
  @Override
  public boolean readCached(long offset, ByteBuffer into) {
    if (linux.isEmpty()
        || !into.isDirect()
        || BlockRequests.checkTransfer(this, offset, into.remaining(), false).isPresent()) {
      return false;
    }
    // The descriptor must not be given back, and be another file's, meanwhile.
    if (!atOnce.readLock().tryLock()) {
      return false;
    }
    try {
      return !closed && linux.get().readCached(offset, into);
    } finally {
      atOnce.readLock().unlock();
    }
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
    return BlockRequests.checkRange(this, offset, length, true)
        .<CompletableFuture<Void>>map(CompletableFuture::failedFuture)
        .orElseGet(() ->
            submit(() -> {
              punch(offset, length);
              return null;
            }));
  }

  @Override
  public CompletableFuture<Void> flush() {
    return submit(this::flushNow);
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return BlockRequests.checkRange(this, offset, length, false)
        .<CompletableFuture<List<Extent>>>map(CompletableFuture::failedFuture)
        .orElseGet(() -> submit(() -> extentsNow(offset, length)));
  }

  /** Fails what is queued, waits for what is at the disk, then gives the file back. */
  @Override
  public void close() {
    synchronized (pool) {
      closed = true;
    }
    List<Runnable> queued = new ArrayList<>();
    pool.getQueue().drainTo(queued);
    queued.forEach(r -> ((Request<?>) r).abandon());
    pool.shutdown();
    boolean interrupted = false;
    // A callback that closes us runs on one of our threads and cannot wait for itself.
    int self = workers.contains(Thread.currentThread()) ? 1 : 0;
    while (!pool.isTerminated() && (self == 0 || pool.getActiveCount() > 1)) {
      try {
        if (pool.awaitTermination(self == 0 ? 10_000 : 10, TimeUnit.MILLISECONDS)) {
          break;
        }
        if (self > 0) {
          continue;
        }
        LOG.warn("{}: still waiting for the disk to end requests", name);
      } catch (InterruptedException e) {
        // An interrupt must not leave a write behind that takes effect later.
        interrupted = true;
      }
    }
    atOnce.writeLock().lock();
    try {
      linux.ifPresent(LinuxFile::close);
    } finally {
      atOnce.writeLock().unlock();
    }
    closeQuietly(channel);
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public String toString() {
    return "FileBackend[" + name + "]";
  }

  private interface Body<T> {
    @Nullable T run() throws IOException;
  }

  private final class Request<T> implements Runnable {
    final CompletableFuture<T> future = new CompletableFuture<>();
    final Body<T> body;

    Request(Body<T> body) {
      this.body = body;
    }

    @Override
    @SuppressWarnings("NullAway") // Void futures complete with null.
    public void run() {
      try {
        future.complete(body.run());
      } catch (IOException e) {
        future.completeExceptionally(translate(e));
      } catch (RuntimeException | Error e) {
        future.completeExceptionally(new BlockException(Kind.IO, name + ": " + e, e));
      }
    }

    void abandon() {
      future.completeExceptionally(new BlockException(Kind.CLOSED, name + ": closed"));
    }
  }

  private <T> CompletableFuture<T> submit(Body<T> body) {
    Request<T> request = new Request<>(body);
    synchronized (pool) {
      if (closed) {
        return BlockRequests.failed(Kind.CLOSED, name + ": closed");
      }
      try {
        pool.execute(request);
      } catch (RejectedExecutionException e) {
        return BlockRequests.failed(Kind.BUSY, name + ": " + MAX_QUEUED + " requests wait already");
      }
    }
    return request.future;
  }

  private @Nullable Void readNow(long offset, ByteBuffer into) throws IOException {
    long at = offset;
    while (into.hasRemaining()) {
      int n = channel.read(into, at);
      if (n < 0) {
        throw new EOFException("the file ends at " + at + ", shorter than when it was opened");
      }
      at += n;
    }
    return null;
  }

  private @Nullable Void writeNow(long offset, ByteBuffer from) throws IOException {
    long at = offset;
    while (from.hasRemaining()) {
      at += channel.write(from, at);
    }
    return null;
  }

  private @Nullable Void flushNow() throws IOException {
    BlockException before = flushFailure;
    if (before != null) {
      throw before;
    }
    if (readOnly) {
      return null;
    }
    try {
      channel.force(false);
    } catch (IOException e) {
      BlockException failure = translate(e);
      flushFailure = failure;
      throw failure;
    }
    return null;
  }

  private @Nullable Void zeroNow(long offset, long length) throws IOException {
    if (length == 0 || punch(offset, length)) {
      return null;
    }
    if (linux.isPresent() && linux.get().zeroRange(offset, length)) {
      return null;
    }
    ByteBuffer zeroes = ByteBuffer.allocateDirect((int) Math.min(ZERO_STEP, length));
    for (long at = offset; at < offset + length; at += ZERO_STEP) {
      if (closed) {
        throw new ClosedChannelException();
      }
      writeNow(at, zeroes.clear().limit((int) Math.min(ZERO_STEP, offset + length - at)));
    }
    return null;
  }

  private boolean punch(long offset, long length) throws IOException {
    if (length == 0 || linux.isEmpty() || !canPunch) {
      return false;
    }
    canPunch = linux.get().punchHole(offset, length);
    return canPunch;
  }

  private List<Extent> extentsNow(long offset, long length) throws IOException {
    if (length == 0) {
      return List.of();
    }
    if (linux.isEmpty()) {
      return List.of(new Extent(offset, length, false));
    }
    List<Extent> extents = new ArrayList<>();
    long end = offset + length;
    long at = offset;
    while (at < end && extents.size() < MAX_EXTENTS) {
      long data = linux.get().nextData(at);
      data = data < 0 ? end : Math.min(end, data);
      if (data > at) {
        extents.add(new Extent(at, data - at, true));
        at = data;
        continue;
      }
      long hole = linux.get().nextHole(at);
      // A writer may have filled or punched it between the two calls.
      hole = hole <= at ? end : Math.min(end, hole);
      extents.add(new Extent(at, hole - at, false));
      at = hole;
    }
    return extents;
  }

  private BlockException translate(IOException e) {
    if (e instanceof BlockException block) {
      return block;
    }
    if (e instanceof ClosedChannelException) {
      return new BlockException(Kind.CLOSED, name + ": closed", e);
    }
    return new BlockException(isNoSpace(e) ? Kind.NO_SPACE : Kind.IO, name + ": " + e, e);
  }

  /** The channel hides errno; its message may be in any language, so the file system is asked. */
  private boolean isNoSpace(IOException e) {
    String message = String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT);
    if (message.contains("no space left") || message.contains("quota exceeded")) {
      return true;
    }
    try {
      return !readOnly && Files.getFileStore(path).getUsableSpace() == 0;
    } catch (IOException unknown) {
      return false;
    }
  }

  private static void closeQuietly(@Nullable FileChannel channel) {
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        LOG.debug("close failed", e);
      }
    }
  }
}
