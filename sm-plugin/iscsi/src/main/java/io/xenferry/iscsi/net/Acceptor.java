package io.xenferry.iscsi.net;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.channels.SelectionKey;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A listening socket on a loop. Whatever one connection does, accepting goes on. */
public final class Acceptor implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Acceptor.class);
  private static final int BACKLOG = 128;

  /** When there are no file descriptors left, accepting again at once would only spin. */
  private static final Duration PAUSE = Duration.ofMillis(100);

  /** Takes a connection; called on the loop. */
  public interface Taker {
    void take(SocketChannel socket) throws IOException;
  }

  private final EventLoop loop;
  private final ServerSocketChannel server;
  private final Taker taker;
  private final SelectionKey key;

  /** Listens; from any thread but the loop's. */
  public Acceptor(EventLoop loop, InetSocketAddress address, Taker taker) throws IOException {
    this.loop = loop;
    this.taker = taker;
    server = ServerSocketChannel.open();
    try {
      server.setOption(StandardSocketOptions.SO_REUSEADDR, true);
      server.bind(address, BACKLOG);
      server.configureBlocking(false);
      CompletableFuture<SelectionKey> registered = new CompletableFuture<>();
      loop.execute(() -> {
        try {
          registered.complete(loop.register(server, SelectionKey.OP_ACCEPT, this::ready));
        } catch (IOException e) {
          registered.completeExceptionally(e);
        }
      });
      key = registered.join();
    } catch (IOException | CompletionException e) {
      server.close();
      throw e instanceof IOException io ? io : new IOException(e.getCause());
    }
  }

  /** The port, as the system chose it. */
  public int port() {
    return server.socket().getLocalPort();
  }

  private void ready(SelectionKey ready) {
    try {
      for (SocketChannel socket = server.accept(); socket != null; socket = server.accept()) {
        try {
          socket.setOption(StandardSocketOptions.TCP_NODELAY, true);
          taker.take(socket);
        } catch (IOException | RuntimeException e) {
          log.info("a connection could not be taken: {}", e.getMessage());
          socket.close();
        }
      }
    } catch (IOException e) {
      log.warn("cannot accept: {}", e.getMessage());
      key.interestOps(0);
      loop.schedule(
          PAUSE,
          () -> {
            if (key.isValid()) {
              key.interestOps(SelectionKey.OP_ACCEPT);
            }
          });
    }
  }

  @Override
  public void close() throws IOException {
    key.cancel();
    server.close();
  }
}
