package io.xenferry.server.migration;

import io.xenferry.spi.Guest;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Carries a guest's memory stream between its Unix socket and the stream to the other server, both
 * ways, so that the hypervisors never see the network: it is encrypted and pinned by the servers.
 */
final class MemoryRelay implements AutoCloseable {
  /** As large as a pipe's worth of pages that QEMU writes at once. */
  private static final int CHUNK = 256 * 1024;

  private static final Logger log = LoggerFactory.getLogger(MemoryRelay.class);

  private final Path socket;
  private final ServerSocketChannel server;
  private final CompletableFuture<Void> ended = new CompletableFuture<>();
  private volatile boolean closed;
  private boolean nameless;
  private volatile @Nullable SocketChannel local;
  private volatile @Nullable Stream remote;

  private MemoryRelay(Path socket, ServerSocketChannel server) {
    this.socket = socket;
    this.server = server;
  }

  /** A connection to the other server. */
  interface Stream extends AutoCloseable {
    InputStream in() throws IOException;

    OutputStream out() throws IOException;

    /** Says that nothing more will be sent; the other direction stays open. */
    void shutdownOutput() throws IOException;

    /** Closes without regard for what is still being written; returns at once. */
    default void abort() {
      close();
    }

    @Override
    void close();
  }

  /** Opens a stream to a destination. */
  @FunctionalInterface
  interface Opener {
    Stream open(io.xenferry.migration.ports.MemoryTarget target) throws IOException;
  }

  /** Opens the one stream that this relay is for. */
  @FunctionalInterface
  interface RemoteOpener {
    Stream open() throws IOException;
  }

  /** Listens for the hypervisor's one connection; then opens the remote stream and relays. */
  static MemoryRelay listen(Guest guest, RemoteOpener opener) throws IOException {
    Path socket = guest.outgoingSocket();
    Files.deleteIfExists(socket); // of an attempt whose server was killed
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      server.bind(UnixDomainSocketAddress.of(socket), 1);
    } catch (IOException e) {
      server.close();
      throw e;
    }
    MemoryRelay relay = new MemoryRelay(socket, server);
    Thread.ofVirtual().name("memory relay " + guest.vm()).start(() -> relay.serve(opener));
    return relay;
  }

  /**
   * At the destination: relays between a stream that has arrived and the incoming guest, until the
   * guest closes its end.
   */
  static void deliver(Guest guest, Stream remote) throws IOException {
    try (SocketChannel local =
            SocketChannel.open(UnixDomainSocketAddress.of(guest.incomingSocket()));
        Stream stream = remote) {
      pumpBoth(local, stream);
    }
  }

  Path socket() {
    return socket;
  }

  /** Why the relay broke off, if it did before it was closed. */
  Optional<IOException> failure() {
    if (!ended.isCompletedExceptionally()) {
      return Optional.empty();
    }
    Throwable cause = ended.exceptionNow();
    return Optional.of(cause instanceof IOException io ? io : new IOException(cause));
  }

  private void serve(RemoteOpener opener) {
    try (server;
        SocketChannel guest = server.accept();
        Stream stream = opener.open()) {
      local = guest;
      remote = stream;
      removeName(); // the connection stays
      if (closed) {
        return;
      }
      pumpBoth(guest, stream);
      ended.complete(null);
    } catch (AsynchronousCloseException e) {
      ended.completeExceptionally(e);
    } catch (IOException e) {
      ended.completeExceptionally(e);
    } catch (RuntimeException e) {
      ended.completeExceptionally(new IOException(e));
    } finally {
      ended.complete(null);
      removeName();
    }
  }

  /** Once, and not when it may already be the next relay's. */
  private synchronized void removeName() {
    if (nameless) {
      return;
    }
    nameless = true;
    try {
      Files.deleteIfExists(socket);
    } catch (IOException e) {
      log.debug("{} stays behind", socket, e);
    }
  }

  private static void pumpBoth(SocketChannel local, Stream remote) throws IOException {
    CompletableFuture<Void> back = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            pump(remote.in(), Channels.newOutputStream(local), "to the guest");
            local.shutdownOutput();
            back.complete(null);
          } catch (IOException e) {
            back.completeExceptionally(e);
          }
        });
    pump(Channels.newInputStream(local), remote.out(), "to the other host");
    remote.shutdownOutput();
    try {
      back.get(30, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException(e);
    } catch (ExecutionException | TimeoutException e) {
      // The forward direction is complete: what the peer still had to say no longer matters.
      remote.close();
    }
  }

  /**
   * @param where the output leads, for the error
   */
  private static void pump(InputStream in, OutputStream out, String where) throws IOException {
    byte[] chunk = new byte[CHUNK];
    int n;
    while ((n = in.read(chunk)) >= 0) {
      try {
        out.write(chunk, 0, n);
        out.flush();
      } catch (IOException e) {
        throw new IOException("the connection " + where + " is broken: " + e.getMessage(), e);
      }
    }
  }

  @Override
  public void close() {
    closed = true;
    removeName();
    try {
      server.close();
      SocketChannel l = local;
      if (l != null) {
        l.close();
      }
    } catch (IOException e) {
      ended.completeExceptionally(e);
    }
    Stream r = remote;
    if (r != null) {
      r.abort();
    }
  }
}
