package io.xenferry.guest;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.block.FileBackend;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A raw image. It is open for writing, and locked as QEMU locks it, from the start of the guest, or
 * in an incoming one from the end of the stream, until its memory was sent to another.
 */
final class GuestDisk implements AutoCloseable {
  final int index;
  volatile GuestSettings.Disk settings;
  final long size;
  private final Map<String, DirtyBitmap> bitmaps = new LinkedHashMap<>();
  private final AtomicLong writes = new AtomicLong();
  private final AtomicLong written = new AtomicLong();
  private final AtomicLong writing = new AtomicLong();
  private volatile @Nullable FileBackend writer;
  private volatile @Nullable MirrorJob mirror;

  GuestDisk(int index, GuestSettings.Disk settings) throws IOException {
    this.index = index;
    this.settings = settings;
    try (FileBackend reader = FileBackend.open(settings.file(), FileBackend.Mode.READ_ONLY)) {
      this.size = reader.size();
    }
  }

  private GuestDisk(GuestDisk other, String device) {
    this.index = other.index;
    this.settings =
        new GuestSettings.Disk(
            device, other.node(), other.settings.file(), other.settings.readOnly());
    this.size = other.size;
    this.bitmaps.putAll(other.bitmaps);
    this.writer = other.writer;
  }

  /** The same image under a device's name; this object is not to be used any more. */
  GuestDisk plugged(String device) {
    return new GuestDisk(this, device);
  }

  /** Goes on with the image of another, which is not to be used any more. */
  void take(GuestDisk other) throws IOException {
    FileBackend before = writer;
    if (before != null) {
      await(before.flush());
      other.activate();
    }
    settings =
        new GuestSettings.Disk(
            settings.device(), settings.node(), other.settings.file(), settings.readOnly());
    writer = before == null ? null : other.writer;
    if (before != null) {
      before.close();
    }
  }

  /** What the guest has written since it began; it never reads. */
  void tell(ObjectNode stats) {
    stats.put("rd_bytes", 0).put("rd_operations", 0).put("rd_total_time_ns", 0);
    stats.put("wr_bytes", written.get()).put("wr_operations", writes.get());
    stats.put("wr_total_time_ns", writing.get());
  }

  String node() {
    return settings.node();
  }

  boolean writable() {
    return !settings.readOnly();
  }

  boolean active() {
    return writer != null;
  }

  /** Fails when another has the image open for writing. */
  void activate() throws IOException {
    if (writable() && writer == null) {
      writer = FileBackend.open(settings.file(), FileBackend.Mode.READ_WRITE);
    }
  }

  void deactivate() throws IOException {
    FileBackend open = writer;
    if (mirror != null) {
      throw new IOException(settings.device() + " is still mirrored");
    }
    if (open != null) {
      await(open.flush());
      writer = null;
      open.close();
    }
  }

  /** For an export; the caller closes it. */
  BlockBackend openForReading() throws IOException {
    return FileBackend.open(settings.file(), FileBackend.Mode.READ_ONLY);
  }

  /** Returns when the disk has acknowledged the write; it is in the bitmaps by then. */
  void write(long offset, ByteBuffer content) throws IOException {
    long length = content.remaining();
    ByteBuffer again = content.duplicate();
    long begin = System.nanoTime();
    await(open().write(offset, content));
    written.addAndGet(length);
    writes.incrementAndGet();
    writing.addAndGet(System.nanoTime() - begin);
    synchronized (bitmaps) {
      bitmaps.values().forEach(bitmap -> bitmap.mark(offset, length));
    }
    MirrorJob job = mirror;
    if (job != null) {
      job.write(offset, again);
    }
  }

  /** Where writes go besides; null for nowhere. */
  void mirrorTo(@Nullable MirrorJob job) {
    mirror = job;
  }

  void flush() throws IOException {
    await(open().flush());
  }

  private FileBackend open() throws IOException {
    FileBackend open = writer;
    if (open == null) {
      throw new IOException(settings.device() + " is not open for writing");
    }
    return open;
  }

  private static void await(CompletableFuture<Void> done) throws IOException {
    try {
      done.get();
    } catch (ExecutionException e) {
      throw e.getCause() instanceof IOException io ? io : new IOException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  /** What is done with bitmaps, one at a time and never in the midst of a write's noting. */
  <T> T withBitmaps(BitmapAction<T> action) throws QmpError {
    synchronized (bitmaps) {
      return action.apply(bitmaps);
    }
  }

  /** Looks at or changes a disk's bitmaps. */
  @FunctionalInterface
  interface BitmapAction<T> {
    T apply(Map<String, DirtyBitmap> bitmaps) throws QmpError;
  }

  @Override
  public void close() {
    FileBackend open = writer;
    if (open != null) {
      open.close();
    }
  }
}
