package io.xenferry.copy;

import io.xenferry.block.Range;
import java.util.concurrent.CompletableFuture;

/**
 * Tells what a destination's disk holds without sending it: hashed where the disk is.
 *
 * <p>What is told was there at some instant between the question and the answer. So whoever
 * compares must know that nobody has written the range meanwhile; a copy knows from its {@link
 * WriteOrderingPoint}. A copy uses it for two things: {@link Verification} compares what it has
 * sent, and {@link Comparison} what it is about to send. The latter is how a copy goes on whose
 * dirty log, or whose hypervisor's bitmap, cannot be trusted, and how one begins on a disk that
 * perhaps holds most of it: a plan with {@link DiskPlan#comparing} takes every range of its first
 * pass for unknown, and sends those that differ.
 */
@FunctionalInterface
public interface DestinationDigests {

  /**
   * @param range begins at a multiple of the block size, and ends at one or where the copied disk
   *     does
   * @param blockSize bytes
   * @param digest by which blocks are told
   * @return of the range's first blocks, one at least, and as many more as could be hashed at once;
   *     the rest is to be asked about again. {@link UnsupportedOperationException} where the
   *     destination cannot, and never will; any other failure may pass. Completes on any thread,
   *     within a time that is the implementation's to bound
   */
  CompletableFuture<BlockHashes> digests(Range range, int blockSize, Digest digest);
}
