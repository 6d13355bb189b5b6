package io.xenferry.migration.ports;

import io.xenferry.block.Range;
import io.xenferry.copy.BlockHashes;
import io.xenferry.copy.Digest;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** What the destination tells the source of the disks of a migration. Thread-safe. */
public interface DestinationDisks {

  /**
   * Whether a disk began as a copy of one that was there, so that it may hold much already.
   *
   * @param disk uuid at the source
   */
  boolean isBased(UUID disk);

  /**
   * What a disk holds, hashed there; as {@link io.xenferry.copy.DestinationDigests} promises.
   *
   * @param disk uuid at the source
   */
  CompletableFuture<BlockHashes> digests(UUID disk, Range range, int blockSize, Digest digest);
}
