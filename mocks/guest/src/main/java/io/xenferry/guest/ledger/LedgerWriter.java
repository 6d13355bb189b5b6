package io.xenferry.guest.ledger;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Appends to a ledger, made durable in batches by a thread of its own. An entry counts once it is
 * in the file; nobody is told that it is unless he asks with {@link #sync}. Thread-safe. Several
 * processes may append to one file: each batch is one write with O_APPEND.
 */
public final class LedgerWriter implements AutoCloseable {
  private static final int BATCH = 4096;

  /** An fdatasync takes 1 to 20 ms; this many a second leave the disk to the guest. */
  private static final long PAUSE_NANOS = 20_000_000;

  private final FileChannel file;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Thread flusher;
  private ByteBuffer pending = LedgerEntry.buffer(BATCH);
  private ByteBuffer spare = LedgerEntry.buffer(BATCH);
  private long appended;
  private long durable;
  private boolean urgent;
  private boolean closed;
  private @Nullable IOException failure;

  /** Opens or makes a ledger, and cuts off what a process that died left half written. */
  public LedgerWriter(Path ledger) throws IOException {
    try (FileChannel whole =
        FileChannel.open(ledger, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      long torn = whole.size() % LedgerEntry.SIZE;
      if (torn != 0) {
        whole.truncate(whole.size() - torn);
      }
    }
    file = FileChannel.open(ledger, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
    flusher = Thread.ofPlatform().daemon().name("ledger").start(this::flushLoop);
  }

  /** Adds an entry; waits when too many are not yet in the file. */
  public void append(LedgerEntry entry) throws IOException {
    lock.lock();
    try {
      while (!pending.hasRemaining()) {
        urgent = true;
        changed.signalAll();
        checkUsable();
        changed.awaitUninterruptibly();
      }
      checkUsable();
      entry.put(pending);
      appended++;
    } finally {
      lock.unlock();
    }
  }

  /** Returns when everything appended before is durable. */
  public void sync() throws IOException {
    lock.lock();
    try {
      long target = appended;
      while (durable < target) {
        checkUsable();
        urgent = true;
        changed.signalAll();
        changed.awaitUninterruptibly();
      }
      checkUsable();
    } finally {
      lock.unlock();
    }
  }

  private void checkUsable() throws IOException {
    if (failure != null) {
      throw new IOException("the ledger cannot be written", failure);
    }
    if (closed) {
      throw new IOException("the ledger is closed");
    }
  }

  private void flushLoop() {
    lock.lock();
    try {
      while (true) {
        long left = PAUSE_NANOS;
        while (!urgent && !closed && left > 0) {
          left = changed.awaitNanos(left);
        }
        urgent = false;
        if (pending.position() > 0) {
          flushBatch();
        } else if (closed) {
          return;
        }
        changed.signalAll();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (IOException e) {
      failure = e;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Called with the lock held, which is given up while the disk works. */
  private void flushBatch() throws IOException {
    ByteBuffer batch = pending;
    long upTo = appended;
    pending = spare.clear();
    lock.unlock();
    try {
      batch.flip();
      while (batch.hasRemaining()) {
        file.write(batch);
      }
      file.force(false);
    } finally {
      lock.lock();
    }
    spare = batch;
    durable = upTo;
  }

  /** Writes what is left. */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    try {
      flusher.join();
      file.close();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
