package io.xenferry.time;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;

/**
 * What work that blocks needs of its surroundings: to wait, to have other work done beside it, and
 * to see how long that takes. {@link Scheduler} is the same for components that never block.
 *
 * <p>Whoever waits by nothing else can be simulated.
 */
public interface Threads {
  /** Virtual threads and the machine's clock. */
  Threads VIRTUAL = new Virtual();

  /** Work that may block. */
  @FunctionalInterface
  interface Work {
    void run() throws Exception;
  }

  /**
   * Does the work on a thread of its own; one that fails is logged.
   *
   * @param name of the thread, for stack dumps
   */
  void start(String name, Work work);

  /**
   * Waits for something.
   *
   * @throws ExecutionException when it fails
   */
  <T extends @Nullable Object> T await(CompletableFuture<T> future)
      throws InterruptedException, ExecutionException;

  /**
   * Waits for no longer than the limit.
   *
   * @throws TimeoutException when it is not done by then
   */
  <T extends @Nullable Object> T await(CompletableFuture<T> future, Duration limit)
      throws InterruptedException, ExecutionException, TimeoutException;

  /** Monotonic time in nanoseconds; only differences mean something. */
  long nanoTime();

  /** See {@link #VIRTUAL}. */
  final class Virtual implements Threads {
    private Virtual() {}

    @Override
    public void start(String name, Work work) {
      Thread.ofVirtual()
          .name(name)
          .start(() -> {
            try {
              work.run();
            } catch (InterruptedException e) {
              Thread.currentThread().interrupt();
            } catch (Exception e) {
              LoggerFactory.getLogger(Threads.class).error("{} failed", name, e);
            }
          });
    }

    @Override
    public <T extends @Nullable Object> T await(CompletableFuture<T> future)
        throws InterruptedException, ExecutionException {
      return future.get();
    }

    @Override
    public <T extends @Nullable Object> T await(CompletableFuture<T> future, Duration limit)
        throws InterruptedException, ExecutionException, TimeoutException {
      return future.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    }

    @Override
    public long nanoTime() {
      return System.nanoTime();
    }
  }
}
