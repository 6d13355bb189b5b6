package io.xenferry.bench;

import io.xenferry.block.BlockException;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/** Opens a LUN by our initiator; what blocks runs on a virtual thread. */
final class LunOpener implements DestinationOpener {
  private final IscsiUrl url;
  private final IscsiOptions options;
  private final AtomicLong generations = new AtomicLong();

  /**
   * @param sessions to the LUN
   */
  LunOpener(IscsiUrl url, int sessions) {
    this.url = url;
    this.options =
        IscsiOptions.defaults().withSessions(sessions).withCommandTimeout(Duration.ofSeconds(60));
  }

  @Override
  public CompletableFuture<Destination> open() {
    return run(
        () -> new Destination(IscsiInitiator.connect(url, options), generations.incrementAndGet()));
  }

  @Override
  public CompletableFuture<Void> fence(Destination destination) {
    return run(() -> {
      IscsiDisk disk = (IscsiDisk) destination.backend();
      disk.close();
      if (!disk.fenced().join() && !disk.fenceAgain()) {
        throw new BlockException(BlockException.Kind.LOST, url + " cannot be fenced yet");
      }
      return null;
    });
  }

  private static <T extends @org.jspecify.annotations.Nullable Object> CompletableFuture<T> run(
      Callable<T> work) {
    CompletableFuture<T> result = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            result.complete(work.call());
          } catch (Exception e) {
            result.completeExceptionally(e);
          }
        });
    return result;
  }
}
