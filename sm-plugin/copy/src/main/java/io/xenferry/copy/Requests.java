package io.xenferry.copy;

import io.xenferry.block.Range;
import io.xenferry.time.Scheduler;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Asks backends, in requests as large as they take. */
final class Requests {
  private Requests() {}

  /** One request; the bytes count from the start of the transfer. */
  interface Piece {
    CompletableFuture<Void> request(int at, int bytes);
  }

  /** Asks what a destination holds; one that throws has failed like any other. */
  static CompletableFuture<BlockHashes> digests(
      DestinationDigests digests, Range range, int blockSize, Digest digest) {
    try {
      return digests.digests(range, blockSize, digest);
    } catch (RuntimeException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  /** Issues one request a piece; the callback runs once, on the scheduler, when all are done. */
  static void inPieces(
      int max, int length, Scheduler scheduler, Piece piece, Consumer<@Nullable Throwable> done) {
    if (length <= max) {
      piece
          .request(0, length)
          .whenComplete((ok, failure) -> scheduler.execute(() -> done.accept(failure)));
      return;
    }
    List<CompletableFuture<Void>> requests = new ArrayList<>();
    for (int at = 0; at < length; at += max) {
      requests.add(piece.request(at, Math.min(max, length - at)));
    }
    CompletableFuture.allOf(requests.toArray(CompletableFuture[]::new))
        .whenComplete((ok, failure) -> scheduler.execute(() -> done.accept(failure)));
  }
}
