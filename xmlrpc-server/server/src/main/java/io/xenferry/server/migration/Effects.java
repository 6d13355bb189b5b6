package io.xenferry.server.migration;

import io.xenferry.migration.ports.RefusedException;
import io.xenferry.spi.HypervisorException;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;

/**
 * Runs blocking effects for the coordinator, each on a virtual thread of its own: the ports return
 * at once, the drivers beneath them block with deadlines of their own.
 */
final class Effects {
  private Effects() {}

  /** Something that blocks and answers nothing. */
  @FunctionalInterface
  interface Effect {
    void run() throws Exception;
  }

  static <T> CompletableFuture<T> call(String name, Callable<T> work) {
    CompletableFuture<T> future = new CompletableFuture<>();
    Thread.ofVirtual()
        .name(name)
        .start(() -> {
          try {
            future.complete(work.call());
          } catch (HypervisorException e) {
            future.completeExceptionally(
                e.kind() == HypervisorException.Kind.REFUSED
                    ? new RefusedException(String.valueOf(e.getMessage()), e)
                    : e);
          } catch (Throwable t) {
            if (t instanceof InterruptedException) {
              Thread.currentThread().interrupt();
            }
            future.completeExceptionally(t);
          }
        });
    return future;
  }

  static CompletableFuture<Void> run(String name, Effect work) {
    return call(
        name,
        () -> {
          work.run();
          return null;
        });
  }
}
