package io.xenferry.nbd;

import io.xenferry.block.BlockBackend;
import java.io.IOException;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves block backends as NBD exports on one Unix or TCP socket; exports come and go while it
 * runs.
 *
 * <p>Access to a Unix socket is that to its directory. A TCP socket without TLS is for loopback.
 * Clients that send junk, or nothing where they owe something, are disconnected.
 */
public final class NbdExportServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NbdExportServer.class);

  private final Limits limits;
  private final Optional<TlsUpgrade> tls;
  private final ServerSocketChannel listener;
  private final SocketAddress address;
  private final ExportTable exports;
  private final Set<ServerSession> sessions = ConcurrentHashMap.newKeySet();
  private final BufferPool buffers;
  private final Thread acceptor;
  private volatile boolean closed;

  /**
   * What clients may use.
   *
   * @param connections at once; more are turned away
   * @param inFlight requests of one connection; it is not read from while it has as many
   * @param memory bytes of payload of all connections; at least 64 MiB
   * @param negotiation how long a client may take to choose an export
   * @param stall how long a client may stop in the middle of a frame, or not take its replies
   */
  public record Limits(
      int connections, int inFlight, long memory, Duration negotiation, Duration stall) {
    public static final Limits DEFAULT =
        new Limits(64, 64, 256L << 20, Duration.ofSeconds(10), Duration.ofSeconds(30));

    public Limits {
      if (connections < 1 || inFlight < 1 || memory < 64L << 20) {
        throw new IllegalArgumentException("limits too low");
      }
    }
  }

  private NbdExportServer(
      ServerSocketChannel listener,
      Limits limits,
      Optional<TlsUpgrade> tls,
      ExportTable.Names names)
      throws IOException {
    this.exports = new ExportTable(names);
    this.listener = listener;
    this.limits = limits;
    this.tls = tls;
    this.address = listener.getLocalAddress();
    this.buffers = new BufferPool(limits.memory(), limits.memory() / 4);
    this.acceptor =
        Thread.ofPlatform().daemon().name("nbd-accept " + address).unstarted(this::accept);
  }

  /** Listens with default limits and without TLS. */
  public static NbdExportServer listen(SocketAddress address) throws IOException {
    return listen(address, Limits.DEFAULT, Optional.empty());
  }

  /**
   * Listens. A Unix socket left behind by a dead process is replaced.
   *
   * @param address an {@link InetSocketAddress} (port 0: any) or {@link UnixDomainSocketAddress}
   * @param tls when given, exports are told only to clients that began TLS
   */
  public static NbdExportServer listen(
      SocketAddress address, Limits limits, Optional<TlsUpgrade> tls) throws IOException {
    return start(address, limits, tls, ExportTable.Names.LISTED);
  }

  /**
   * Listens for clients that know the name of what they want: names are not told, one that is wrong
   * is refused in the same time as any other, and TLS is demanded.
   *
   * <p>A client may ask for {@code NAME.GENERATION} (a number up to 10^18 - 1; none means 0). It
   * displaces all clients of lower generations: they are disconnected, and it is let in when
   * nothing that they sent is under way any more. So a client that has lost a connection and was
   * let in with a higher generation knows that what it sent before cannot take effect later.
   */
  public static NbdExportServer listenForSecrets(
      SocketAddress address, Limits limits, TlsUpgrade tls) throws IOException {
    return start(address, limits, Optional.of(tls), ExportTable.Names.SECRET);
  }

  private static NbdExportServer start(
      SocketAddress address, Limits limits, Optional<TlsUpgrade> tls, ExportTable.Names names)
      throws IOException {
    ServerSocketChannel listener = bind(address);
    NbdExportServer server = new NbdExportServer(listener, limits, tls, names);
    server.acceptor.start();
    return server;
  }

  /** Where it listens, with the port that the system chose. */
  public SocketAddress address() {
    return address;
  }

  public NbdUri uri(String export) {
    return new NbdUri(address, export, tls.isPresent());
  }

  /** The names of all exports. */
  public List<String> exports() {
    return exports.all();
  }

  /**
   * Offers a backend from now on.
   *
   * @throws IllegalArgumentException if the name is taken or longer than 4096 bytes
   */
  public void add(String name, NbdExport export) {
    exports.add(name, export);
  }

  public void add(String name, BlockBackend backend) {
    add(name, NbdExport.of(backend));
  }

  /**
   * Takes an export away: its clients are disconnected at once. The future completes when the last
   * of their requests has left the backend, so that nothing changes it any more.
   *
   * @throws NoSuchElementException if there is none of that name
   */
  public CompletableFuture<Void> remove(String name) {
    return exports.remove(name);
  }

  /** How many clients are connected to an export. */
  public int clients(String name) {
    return exports.get(name).map(ExportTable.Entry::sessions).orElse(0);
  }

  /** Disconnects everybody and waits shortly for their requests; backends stay open. */
  @Override
  public void close() {
    shut().completeOnTimeout(null, 5, java.util.concurrent.TimeUnit.SECONDS).join();
  }

  /**
   * Disconnects everybody at once; backends stay open.
   *
   * @return completes when the last of their requests has left the backends
   */
  public CompletableFuture<Void> shut() {
    closed = true;
    try {
      listener.close();
      if (address instanceof UnixDomainSocketAddress unix) {
        Files.deleteIfExists(unix.getPath());
      }
    } catch (IOException e) {
      LOG.debug("closing {}", address, e);
    }
    List<CompletableFuture<Void>> drained = new ArrayList<>();
    for (String name : exports()) {
      drained.add(remove(name));
    }
    sessions.forEach(ServerSession::disconnect);
    return CompletableFuture.allOf(drained.toArray(CompletableFuture[]::new));
  }

  ExportTable table() {
    return exports;
  }

  Limits limits() {
    return limits;
  }

  Optional<TlsUpgrade> tls() {
    return tls;
  }

  BufferPool buffers() {
    return buffers;
  }

  void ended(ServerSession session) {
    sessions.remove(session);
  }

  private void accept() {
    while (!closed) {
      try {
        SocketChannel socket = listener.accept();
        if (sessions.size() >= limits.connections() && !dropOneThatNegotiates()) {
          LOG.warn("{}: {} connections already, turned one away", address, limits.connections());
          socket.close();
          continue;
        }
        if (address instanceof InetSocketAddress) {
          socket.setOption(StandardSocketOptions.TCP_NODELAY, true);
        }
        ServerSession session = new ServerSession(this, socket);
        sessions.add(session);
        session.start();
        if (closed) {
          session.disconnect();
        }
      } catch (IOException | RuntimeException | OutOfMemoryError e) {
        if (closed || !listener.isOpen()) {
          return;
        }
        LOG.warn("{}: cannot accept", address, e);
        pause();
      }
    }
  }

  /** Whoever has not named an export for the longest time makes room: it may never do so. */
  private boolean dropOneThatNegotiates() {
    Optional<ServerSession> oldest =
        sessions.stream()
            .filter(ServerSession::negotiates)
            .min((a, b) -> Long.compare(a.began() - b.began(), 0));
    oldest.ifPresent(session -> {
      sessions.remove(session);
      session.disconnect();
    });
    return oldest.isPresent();
  }

  /** Out of file descriptors, most likely: do not spin until some are free again. */
  private static void pause() {
    try {
      Thread.sleep(100);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static ServerSocketChannel bind(SocketAddress address) throws IOException {
    boolean unix = address instanceof UnixDomainSocketAddress;
    ServerSocketChannel listener =
        unix ? ServerSocketChannel.open(StandardProtocolFamily.UNIX) : ServerSocketChannel.open();
    try {
      try {
        listener.bind(address, 64);
      } catch (BindException e) {
        if (!(address instanceof UnixDomainSocketAddress u) || isAlive(u.getPath())) {
          throw e;
        }
        Files.delete(u.getPath());
        listener.bind(address, 64);
      }
      return listener;
    } catch (IOException | RuntimeException e) {
      listener.close();
      throw e;
    }
  }

  private static boolean isAlive(Path socket) {
    try (SocketChannel probe = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      return probe.isConnected();
    } catch (IOException refused) {
      return false;
    }
  }
}
