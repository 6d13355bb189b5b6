package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import java.time.Duration;
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

  /**
   * Whether what the first pass leaves out reads as zeroes. If not, it is about differences to what
   * the destination has already in a layer below, and leaves out what is equal.
   */
  default boolean isWhole() {
    return true;
  }

  /** Begins the next pass; the previous must have ended. */
  CompletableFuture<Pass> beginPass();

  /**
   * Begins a pass of which a guest that stands still waits. Should it go on before the pass has
   * ended, the next pass hands out again what this one had.
   */
  default CompletableFuture<Pass> beginLastPass() {
    return beginPass();
  }

  /**
   * Whether a pass costs much, however little it sends: then none is begun while what is dirty can
   * wait for the switch.
   */
  default boolean passesAreDear() {
    return false;
  }

  /** Bytes dirty since the last pass began, as of now, or an upper estimate of it. */
  CompletableFuture<Long> dirtyBytes();

  /**
   * Hands every write of the guest to the sink, from the moment at which the result completes:
   * after the source has it, and before the guest hears of it. Writes are noted all the same, so
   * that the next pass has whatever a mirror that died did not hand over.
   *
   * <p>The owner calls {@link BlockBackend#flush} of the sink every now and then, to see that
   * somebody is there; a sink that hangs, or whose process does, ends the mirror, not the guest.
   *
   * @param patience how long the sink may be silent, and with it a write of the guest
   * @return fails when the disk cannot be mirrored, now or at all; the guest is as before
   */
  default CompletableFuture<Mirror> mirror(BlockBackend sink, Duration patience) {
    return CompletableFuture.failedFuture(
        new UnsupportedOperationException(name() + " cannot be mirrored"));
  }

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

  /** The guest's writes on their way to a sink as well. */
  interface Mirror {
    /**
     * Completes when no further write is handed over: exceptionally when the mirror died, or was
     * aborted. The guest does not notice.
     */
    CompletableFuture<Void> ended();

    /**
     * Ends the mirror of a guest that stands still.
     *
     * @return completes when every write since the beginning was handed over and answered well;
     *     else fails, and what was noted must be sent
     */
    CompletableFuture<Void> end();

    /** Ends it at once, the guest running or not. Idempotent; {@link #ended} tells when. */
    void abort(String reason);
  }
}
