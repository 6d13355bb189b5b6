package io.xenferry.bench;

import io.xenferry.copy.Destination;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdConnections;
import io.xenferry.nbd.NbdUri;
import java.net.InetSocketAddress;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/** Opens an NBD export by our client, which nobody else uses; what blocks is on virtual threads. */
final class NbdOpener implements DestinationOpener {
  private final NbdUri uri;
  private final NbdClient.Options options;
  private final int connections;
  private final AtomicLong generations = new AtomicLong();

  NbdOpener(InetSocketAddress address, String export, NbdClient.Options options, int connections) {
    this.uri = new NbdUri(address, export, options.tls().isPresent());
    this.options = options;
    this.connections = connections;
  }

  @Override
  public CompletableFuture<Destination> open() {
    return Blocking.run(() ->
        new Destination(
            NbdConnections.connect(uri, options, connections), generations.incrementAndGet()));
  }

  @Override
  public CompletableFuture<Void> fence(Destination destination) {
    return Blocking.run(() -> {
      destination.backend().close();
      return null;
    });
  }
}
