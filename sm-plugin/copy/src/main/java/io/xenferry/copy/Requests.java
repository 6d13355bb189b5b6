package io.xenferry.copy;

import io.xenferry.time.Scheduler;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Splits a transfer into requests as large as the backend takes. */
final class Requests {
  private Requests() {}

  /** One request; the bytes count from the start of the transfer. */
  interface Piece {
    CompletableFuture<Void> request(int at, int bytes);
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
