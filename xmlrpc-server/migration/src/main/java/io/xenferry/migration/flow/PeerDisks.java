package io.xenferry.migration.flow;

import io.xenferry.block.Range;
import io.xenferry.copy.BlockHashes;
import io.xenferry.copy.Digest;
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

  /** Of servers that do not know the message, or not all that it says now. */
  private static final Set<String> CANNOT = Set.of("MESSAGE_METHOD_UNKNOWN", "MALFORMED_MESSAGE");

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
  public CompletableFuture<BlockHashes> digests(
      UUID disk, Range range, int blockSize, Digest digest) {
    return migration
        .host()
        .peers()
        .send(
            migration.peer(),
            migration.id(),
            migration.row().token(),
            migration.row().key(),
            new PeerMessage.Digests(disk, range.offset(), range.length(), blockSize, digest),
            ANSWER)
        .thenCompose(answer -> told(answer, range, blockSize, digest));
  }

  private CompletableFuture<BlockHashes> told(
      PeerAnswer answer, Range range, int blockSize, Digest digest) {
    if (CANNOT.contains(answer.code())) {
      return CompletableFuture.failedFuture(
          new UnsupportedOperationException(
              "the destination's server does not hash its disks, or not so"));
    }
    if (answer.refused() || !answer.incarnation().equals(migration.row().peerIncarnation())) {
      return CompletableFuture.failedFuture(
          new IOException(
              "the destination does not tell what its disk holds: " + answer.sentence()));
    }
    try {
      return CompletableFuture.completedFuture(
          answer.holdings().told((int) ((range.length() + blockSize - 1) / blockSize), digest));
    } catch (IllegalArgumentException e) {
      return CompletableFuture.failedFuture(
          new IOException("what the destination tells of its disk makes no sense", e));
    }
  }
}
