package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * What freezes a disk that is being written, for {@link SnapshotSource}: the storage beneath it. It
 * names the snapshots that it takes. Methods return at once, futures complete on any thread; one
 * call follows the other, except for {@link #close}, and {@link #done} after it.
 */
public interface Snapshots extends AutoCloseable {

  /** Of the disk, for messages. */
  String name();

  /** Bytes. */
  long size();

  /** As {@link SourceDisk#isWhole}. */
  default boolean isWhole() {
    return true;
  }

  /** Freezes the disk as it is at some instant before the result completes. */
  CompletableFuture<String> take();

  /**
   * Opens what a snapshot holds.
   *
   * @param since an earlier snapshot of which the destination has everything; empty for none
   */
  CompletableFuture<Content> open(String snapshot, Optional<String> since);

  /**
   * The same for the disk itself, of a guest that stands still; should it go on, the content is
   * whatever the disk has when it is read.
   */
  CompletableFuture<Content> openStill(String since);

  /** A content has been read; it is closed when the result completes, which it always does well. */
  CompletableFuture<Void> done(Content content);

  /** Bytes written since the last snapshot was taken, or an upper estimate of it. */
  CompletableFuture<Long> written();

  /**
   * Gives a snapshot back that nobody reads any more. What cannot be given back now is left to
   * whoever owns the copy, to be removed at its end: the result always completes well.
   */
  CompletableFuture<Void> remove(String snapshot);

  /** Takes no further snapshots; what is under way may go on. Returns at once. Idempotent. */
  @Override
  void close();

  /**
   * What is to be sent.
   *
   * @param backend to be closed by {@link #done} alone
   * @param ranges all that differs, or may; in ascending order, without overlaps
   */
  record Content(BlockBackend backend, List<Range> ranges) {}
}
