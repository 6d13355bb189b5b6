package io.xenferry.fuzz;

import io.xenferry.block.BlockException;
import io.xenferry.block.MemoryBackend;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdExportServer;
import io.xenferry.nbd.NbdUri;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** Clients of our NBD server, byte by byte. */
final class NbdServerSurface implements Surface {
  private static final int RUNS_BETWEEN_CHECKS = 256;

  private final NbdServer server = new NbdServer();
  private int runs;

  NbdServerSurface() throws Exception {}

  /** What our own client says. */
  @Override
  public List<byte[]> seeds() throws Exception {
    try (Relay relay = new Relay(server.port())) {
      try (NbdClient client = NbdServer.connect(relay.port(), NbdClient.Options.DEFAULT)) {
        Requests.everyKind(client);
      }
      return List.of(relay.said());
    }
  }

  @Override
  public void take(byte[] input) throws Exception {
    try (Socket socket = Visit.connect(server.port())) {
      Visit.say(socket, input);
    }
    if (++runs % RUNS_BETWEEN_CHECKS == 0) {
      try (NbdClient client = NbdServer.connect(server.port(), NbdClient.Options.DEFAULT)) {
        client.read(0, ByteBuffer.allocate(4096)).get(20, TimeUnit.SECONDS);
      }
    }
  }

  @Override
  public void close() {
    server.close();
  }

  /** A disk of 1 MiB in memory. */
  static final class NbdServer implements AutoCloseable {
    private static final String EXPORT = "fuzzed";

    private final NbdExportServer server;

    NbdServer() throws Exception {
      server =
          NbdExportServer.listen(
              new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
              new NbdExportServer.Limits(
                  64, 16, 64L << 20, Duration.ofSeconds(2), Duration.ofSeconds(2)),
              Optional.empty());
      server.add(EXPORT, new MemoryBackend(EXPORT, 1 << 20));
    }

    static NbdClient connect(int port, NbdClient.Options options) throws BlockException {
      return NbdClient.connect(NbdUri.tcp("127.0.0.1", port, EXPORT), options);
    }

    int port() {
      return ((InetSocketAddress) server.address()).getPort();
    }

    @Override
    public void close() {
      server.close();
    }
  }
}
