package io.xenferry.server.storage;

import io.xenferry.spi.HypervisorException;
import java.util.concurrent.CompletableFuture;

/**
 * The limit of a guest's writes: changes of it take effect one after another, in the order in which
 * they are asked for, and nobody waits for them who does not want to. Thread-safe.
 */
public final class WriteLimit {
  private final Setting setting;
  private CompletableFuture<Void> last = CompletableFuture.completedFuture(null);

  /** Tells the guest. May block. */
  @FunctionalInterface
  public interface Setting {
    /**
     * @param bytesPerSecond 0 for none
     */
    void set(long bytesPerSecond) throws HypervisorException, InterruptedException;
  }

  public WriteLimit(Setting setting) {
    this.setting = setting;
  }

  /**
   * @param bytesPerSecond 0 for none
   * @return completes when the guest has been told, or fails as that does
   */
  public synchronized CompletableFuture<Void> set(long bytesPerSecond) {
    CompletableFuture<Void> told = new CompletableFuture<>();
    var unused =
        last.whenComplete((done, failure) ->
            Thread.ofVirtual()
                .name("limit the writes of a guest")
                .start(() -> tell(bytesPerSecond, told)));
    last = told;
    return told;
  }

  private void tell(long bytesPerSecond, CompletableFuture<Void> told) {
    try {
      setting.set(bytesPerSecond);
      told.complete(null);
    } catch (Throwable e) { // whoever is next in the row waits for this one
      told.completeExceptionally(e);
    }
  }
}
