package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * A disk that may be written by a guest while it is copied, as its owner (a hypervisor driver, a
 * file, the simulation) offers it to the engine: a sequence of passes.
 *
 * <p>The owner notes every write of the guest from before the first pass on. {@link #beginPass}
 * hands out everything that became dirty since the previous pass began (all allocated extents for
 * the first), and atomically starts noting anew. A range noted is read by the engine after that
 * instant, so the engine sees that write or a later one, and a later one is noted again.
 */
public interface SourceDisk extends AutoCloseable {

  String name();

  /** Bytes. */
  long size();

  /** Begins the next pass; the previous must have ended. */
  CompletableFuture<Pass> beginPass();

  /** Bytes dirty since the last pass began, as of now, or an upper estimate of it. */
  CompletableFuture<Long> dirtyBytes();

  /** Stops noting writes and gives everything back. Idempotent. */
  @Override
  void close();

  /** What one pass has to send. */
  interface Pass {
    /** Where to read; stays valid until {@link #end}. Not to be closed by the engine. */
    BlockBackend content();

    /** In ascending order, without overlaps; empty when nothing became dirty. */
    List<Range> ranges();

    /**
     * Ends the pass.
     *
     * @param done true when all ranges were sent and flushed at the destination; false gives them
     *     back, so that the next pass hands them out again
     */
    CompletableFuture<Void> end(boolean done);
  }
}
