package io.xenferry.copy;

import java.util.concurrent.CompletableFuture;

/** Opens the destination disk, again after each loss. */
public interface DestinationOpener {

  /** Opens the disk under a new generation; fails with a BlockException. */
  CompletableFuture<Destination> open();

  /**
   * Closes the destination, dead or not, and completes when no write issued through it can change
   * the disk any more. The engine opens and writes anew only after that.
   */
  default CompletableFuture<Void> fence(Destination destination) {
    try {
      destination.backend().close();
      return CompletableFuture.completedFuture(null);
    } catch (RuntimeException e) {
      return CompletableFuture.failedFuture(e);
    }
  }
}
