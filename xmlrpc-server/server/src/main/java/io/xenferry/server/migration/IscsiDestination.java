package io.xenferry.server.migration;

import io.xenferry.block.BlockException;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/** A destination disk behind an iSCSI URL; each opening is a session of its own. */
final class IscsiDestination implements DestinationOpener {
  private static final AtomicLong GENERATIONS = new AtomicLong();

  private final IscsiUrl url;
  private final IscsiOptions options;

  IscsiDestination(IscsiUrl url, IscsiOptions options) {
    this.url = url;
    this.options = options;
  }

  @Override
  public CompletableFuture<Destination> open() {
    return Effects.call(
        "open " + url,
        () -> new Destination(IscsiInitiator.connect(url, options), GENERATIONS.incrementAndGet()));
  }

  @Override
  public CompletableFuture<Void> fence(Destination destination) {
    return Effects.run(
        "fence " + url,
        () -> {
          IscsiDisk disk = (IscsiDisk) destination.backend();
          disk.close();
          if (!disk.fenced().join() && !disk.fenceAgain()) {
            throw new BlockException(
                BlockException.Kind.LOST,
                url + " has not confirmed that no write is under way any more");
          }
        });
  }
}
