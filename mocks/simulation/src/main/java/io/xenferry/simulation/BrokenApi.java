package io.xenferry.simulation;

import io.xenferry.time.Threads;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;

/** Threads that do not wait where a {@link Variant} says so. */
final class BrokenApi implements Threads {
  private final Threads threads;

  private BrokenApi(Threads threads) {
    this.threads = threads;
  }

  /** For who cancels a task, and waits for whether it ends. */
  static Threads deciding(Threads threads, Variant variant) {
    return variant == Variant.CANCEL_ANSWERED_BEFORE_THE_DECISION
        ? new BrokenApi(threads)
        : threads;
  }

  @Override
  public void start(String name, Work work) {
    threads.start(name, work);
  }

  @Override
  public <T extends @Nullable Object> T await(CompletableFuture<T> future)
      throws InterruptedException, ExecutionException {
    return threads.await(future);
  }

  @Override
  @SuppressWarnings("NullAway") // nobody looks at what it returns
  public <T extends @Nullable Object> T await(CompletableFuture<T> future, Duration limit) {
    return null;
  }

  @Override
  public long nanoTime() {
    return threads.nanoTime();
  }
}
