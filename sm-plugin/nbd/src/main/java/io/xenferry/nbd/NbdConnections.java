package io.xenferry.nbd;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Extent;
import io.xenferry.block.LinkTimes;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;

/**
 * An export through several connections, if the server promises that they are one
 * (NBD_FLAG_CAN_MULTI_CONN: what completed on one is seen by all, and a flush on one covers it).
 * Each request goes to the connection with the fewest in flight. When one connection dies, all do.
 */
public final class NbdConnections implements BlockBackend {
  private final NbdClient first;
  private final List<Line> lines;

  /** A connection and how many requests are in flight on it. */
  private record Line(NbdClient client, AtomicInteger inFlight) {}

  private NbdConnections(List<NbdClient> clients) {
    this.first = clients.getFirst();
    this.lines = clients.stream().map(c -> new Line(c, new AtomicInteger())).toList();
  }

  /**
   * Connects; blocks until then.
   *
   * @param count of connections at most, from 1
   * @throws BlockException as {@link NbdClient#connect}; then none is left
   */
  public static NbdConnections connect(NbdUri uri, NbdClient.Options options, int count)
      throws BlockException {
    List<NbdClient> clients = new ArrayList<>();
    clients.add(NbdClient.connect(uri, options));
    try {
      NbdClient first = clients.getFirst();
      while (clients.size() < count && first.multiConn()) {
        NbdClient more = NbdClient.connect(uri, options);
        clients.add(more);
        if (more.size() != first.size()
            || more.alignment() != first.alignment()
            || more.maxTransfer() != first.maxTransfer()) {
          throw NbdChannel.protocol("another disk on another connection");
        }
      }
      return new NbdConnections(clients);
    } catch (BlockException | RuntimeException e) {
      clients.forEach(NbdClient::close);
      throw e;
    }
  }

  /** How many there are. */
  public int count() {
    return lines.size();
  }

  /** As {@link NbdClient#ended}, for all of them. */
  public boolean ended() {
    return lines.stream().allMatch(line -> line.client.ended());
  }

  private <T> CompletableFuture<T> through(Function<NbdClient, CompletableFuture<T>> request) {
    Line line = lines.getFirst();
    for (Line other : lines) {
      if (other.inFlight.get() < line.inFlight.get()) {
        line = other;
      }
    }
    Line chosen = line;
    chosen.inFlight.incrementAndGet();
    return request
        .apply(chosen.client)
        .whenComplete((done, failure) -> {
          chosen.inFlight.decrementAndGet();
          if (failure != null) {
            chosen.client.dead().ifPresent(cause -> lines.forEach(l -> l.client.kill(cause)));
          }
        });
  }

  @Override
  public String name() {
    return first.name();
  }

  @Override
  public long size() {
    return first.size();
  }

  @Override
  public int alignment() {
    return first.alignment();
  }

  @Override
  public int maxTransfer() {
    return first.maxTransfer();
  }

  @Override
  public boolean readOnly() {
    return first.readOnly();
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return through(client -> client.read(offset, into));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return through(client -> client.write(offset, from));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return through(client -> client.zero(offset, length));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return through(client -> client.trim(offset, length));
  }

  @Override
  public CompletableFuture<Void> flush() {
    return through(NbdClient::flush);
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return through(client -> client.extents(offset, length));
  }

  @Override
  public LinkTimes linkTimes() {
    return lines.stream()
        .map(line -> line.client.linkTimes())
        .reduce(LinkTimes.NONE, LinkTimes::plus);
  }

  @Override
  public void close() {
    lines.forEach(line -> line.client.close());
  }

  @Override
  public String toString() {
    return "NbdConnections[" + lines.size() + " × " + first.name() + "]";
  }
}
