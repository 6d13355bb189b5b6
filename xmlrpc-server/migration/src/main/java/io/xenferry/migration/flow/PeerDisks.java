package io.xenferry.migration.flow;

import io.xenferry.block.Range;
import io.xenferry.copy.BlockHashes;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationDisks;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** The disks of a migration at its destination, which is asked by the peers' protocol. */
final class PeerDisks implements DestinationDisks {
  /** To read 16 MiB from a disk that is busy, and hash it. */
  private static final Duration ANSWER = Duration.ofSeconds(20);

  private final SourceMigration migration;
  private final Set<UUID> based;

  PeerDisks(SourceMigration migration, List<UUID> based) {
    this.migration = migration;
    this.based = Set.copyOf(based);
  }

  @Override
  public boolean isBased(UUID disk) {
    return based.contains(disk);
  }

  @Override
  public CompletableFuture<BlockHashes> digests(UUID disk, Range range, int blockSize) {
    return migration
        .host()
        .peers()
        .send(
            migration.peer(),
            migration.id(),
            migration.row().token(),
            migration.row().key(),
            new PeerMessage.Digests(disk, range.offset(), range.length(), blockSize),
            ANSWER)
        .thenCompose(answer -> told(answer, range, blockSize));
  }

  private CompletableFuture<BlockHashes> told(PeerAnswer answer, Range range, int blockSize) {
    if (answer.code().equals("MESSAGE_METHOD_UNKNOWN")) {
      return CompletableFuture.failedFuture(
          new UnsupportedOperationException("the destination's server does not hash its disks"));
    }
    if (answer.refused() || !answer.incarnation().equals(migration.row().peerIncarnation())) {
      return CompletableFuture.failedFuture(
          new IOException(
              "the destination does not tell what its disk holds: " + answer.sentence()));
    }
    try {
      return CompletableFuture.completedFuture(
          answer.holdings().told((int) ((range.length() + blockSize - 1) / blockSize)));
    } catch (IllegalArgumentException e) {
      return CompletableFuture.failedFuture(
          new IOException("what the destination tells of its disk makes no sense", e));
    }
  }
}
