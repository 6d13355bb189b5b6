package io.xenferry.copy;

import java.util.BitSet;
import java.util.concurrent.CompletableFuture;

/**
 * The durable record of which blocks of a disk may differ between source and destination.
 *
 * <p>Marks are durable before anything relies on them; clears may be late, since a bit too many
 * costs only time. After a crash {@link #marked} holds every block whose mark had completed, save
 * those cleared since.
 *
 * <p>Called by one thread at a time; futures may complete on another.
 */
public interface DirtyLog extends AutoCloseable {

  BlockMap map();

  /**
   * Marks the blocks from {@code first} up to {@code end}, the latter excluded. Completes when the
   * marks are on stable storage, at once if they already were.
   */
  CompletableFuture<Void> mark(int first, int end);

  /** Clears the marks; reaches stable storage with a later mark or {@link #sync}. */
  void clear(BitSet blocks);

  /** A copy of the marks as set so far. */
  BitSet marked();

  /** Completes when everything before is on stable storage. */
  CompletableFuture<Void> sync();

  /**
   * Whether {@link #begin} completed in this or an earlier life: then the marks are all that is
   * left of the passes handed out so far, and a first pass is not needed again.
   */
  boolean begun();

  /** Notes durably that the first pass's blocks are all marked. */
  CompletableFuture<Void> begin();

  @Override
  void close();
}
