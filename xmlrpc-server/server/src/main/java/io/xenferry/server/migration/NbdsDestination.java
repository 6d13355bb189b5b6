package io.xenferry.server.migration;

import io.xenferry.block.BlockException;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdConnections;
import io.xenferry.nbd.NbdUri;
import io.xenferry.nbd.SslUpgrade;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.storage.NbdsUrl;
import io.xenferry.wire.Trust;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A destination disk behind an nbds URL. Each opening asks for a later generation of the export
 * than any before, which is the fence too: the server lets a generation in when nothing of earlier
 * ones is under way.
 */
final class NbdsDestination implements DestinationOpener {
  /** A connection is encrypted by one core at a time; more than two have not been measured. */
  private static final int CONNECTIONS = 2;

  /** Later than those of a server before this one, whose clock was no further. */
  private static final AtomicLong GENERATIONS = new AtomicLong(System.currentTimeMillis());

  private final NbdsUrl url;
  private final NbdClient.Options options;

  NbdsDestination(NbdsUrl url, Certificate certificate) {
    this.url = url;
    this.options =
        NbdClient.Options.DEFAULT
            .withTls(SslUpgrade.client(certificate.context(Trust.pinned(url.fingerprint()))))
            .withMeasure();
  }

  private NbdUri generation(long number) {
    NbdUri uri = url.uri();
    return new NbdUri(uri.address(), uri.export() + "." + number, true);
  }

  @Override
  public CompletableFuture<Destination> open() {
    return Effects.call(
        "open " + url,
        () -> {
          long number = GENERATIONS.incrementAndGet();
          return new Destination(
              NbdConnections.connect(generation(number), options, CONNECTIONS), number);
        });
  }

  @Override
  public CompletableFuture<Void> fence(Destination destination) {
    return Effects.run("fence " + url, () -> fence((NbdConnections) destination.backend()));
  }

  private void fence(NbdConnections disk) throws BlockException {
    disk.close();
    if (!disk.ended()) {
      NbdClient.connect(generation(GENERATIONS.incrementAndGet()), options).close();
    }
  }
}
