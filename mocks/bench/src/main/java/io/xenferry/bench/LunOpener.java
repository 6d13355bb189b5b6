package io.xenferry.bench;

import io.xenferry.block.BlockException;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/** Opens a LUN by our initiator; what blocks runs on a virtual thread. */
final class LunOpener implements DestinationOpener {
  private final IscsiUrl url;
  private final IscsiOptions options;
  private final AtomicLong generations = new AtomicLong();

  /**
   * @param sessions to the LUN
   * @param digests whether headers and data have checksums
   */
  LunOpener(IscsiUrl url, int sessions, boolean digests) {
    this.url = url;
    IscsiOptions plain =
        IscsiOptions.defaults().withSessions(sessions).withCommandTimeout(Duration.ofSeconds(60));
    this.options = digests ? plain.withDigests() : plain;
  }

  @Override
  public CompletableFuture<Destination> open() {
    return Blocking.run(
        () -> new Destination(IscsiInitiator.connect(url, options), generations.incrementAndGet()));
  }

  @Override
  public CompletableFuture<Void> fence(Destination destination) {
    return Blocking.run(() -> {
      IscsiDisk disk = (IscsiDisk) destination.backend();
      disk.close();
      if (!disk.fenced().join() && !disk.fenceAgain()) {
        throw new BlockException(BlockException.Kind.LOST, url + " cannot be fenced yet");
      }
      return null;
    });
  }
}
