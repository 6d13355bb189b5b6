package io.xenferry.block;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * What a client and a server have said to each other on one connection, to be said again up to any
 * byte. Clients are expected to say as much as when it was recorded, and each thing after the same
 * answers.
 */
public final class RecordedExchange {
  private static final int BUFFER = 64 << 10;

  /** Some bytes of one side, in the order in which they passed. */
  private record Said(boolean byServer, byte[] bytes) {}

  /** What a side does after the last byte that it says. */
  public enum Then {
    SILENCE,
    CLOSE
  }

  private final List<Said> said;

  private RecordedExchange(List<Said> said) {
    this.said = List.copyOf(said);
  }

  private byte[] all(boolean byServer) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    said.stream().filter(s -> s.byServer == byServer).forEach(s -> all.writeBytes(s.bytes));
    return all.toByteArray();
  }

  public byte[] fromClient() {
    return all(false);
  }

  public byte[] fromServer() {
    return all(true);
  }

  /** Stands between a client and a server, and takes the first connection down. */
  public static final class Recorder implements AutoCloseable {
    private final ServerSocket listener;
    private final int server;
    private final List<Said> said = Collections.synchronizedList(new ArrayList<>());

    /**
     * @param server its port on the loopback interface
     */
    public Recorder(int server) throws IOException {
      this.server = server;
      listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
      Thread.ofVirtual().start(this::run);
    }

    public int port() {
      return listener.getLocalPort();
    }

    /** Bytes of the server's so far. */
    public int fromServer() {
      return end().fromServer().length;
    }

    /** What has been said so far. */
    public RecordedExchange end() {
      synchronized (said) {
        return new RecordedExchange(said);
      }
    }

    private void run() {
      try (Socket client = listener.accept();
          Socket upstream = new Socket(InetAddress.getLoopbackAddress(), server)) {
        client.setTcpNoDelay(true);
        upstream.setTcpNoDelay(true);
        Thread back = Thread.ofVirtual().start(() -> copy(upstream, client, true));
        copy(client, upstream, false);
        back.join();
      } catch (IOException e) {
        // Closed: there is nothing more to record.
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }

    private void copy(Socket from, Socket to, boolean byServer) {
      byte[] buffer = new byte[BUFFER];
      try {
        InputStream in = from.getInputStream();
        OutputStream out = to.getOutputStream();
        for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
          said.add(new Said(byServer, java.util.Arrays.copyOf(buffer, n)));
          out.write(buffer, 0, n);
        }
        to.shutdownOutput();
      } catch (IOException e) {
        // One side has gone, and the other is told below.
        try {
          to.close();
        } catch (IOException again) {
          e.addSuppressed(again);
        }
      }
    }

    @Override
    public void close() throws IOException {
      listener.close();
    }
  }

  /** A server that says what was recorded to one client; others find nobody. */
  public static final class Server implements AutoCloseable {
    private final ServerSocket listener;
    private final CompletableFuture<Void> left = new CompletableFuture<>();

    private Server() throws IOException {
      listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
    }

    public int port() {
      return listener.getLocalPort();
    }

    /** Completes when the client has ended the connection. */
    public CompletableFuture<Void> left() {
      return left;
    }

    @Override
    public void close() throws IOException {
      listener.close();
    }
  }

  /**
   * Serves the first bytes of what the server said, each after what the client had said before.
   *
   * @param bytes that are said before it falls silent or ends the connection
   */
  public Server serve(int bytes, Then then) throws IOException {
    Server server = new Server();
    Thread.ofVirtual().start(() -> serve(server, bytes, then));
    return server;
  }

  private void serve(Server server, int bytes, Then then) {
    try (Socket client = server.listener.accept()) {
      server.listener.close();
      client.setTcpNoDelay(true);
      InputStream in = client.getInputStream();
      int rest = bytes;
      for (Said some : said) {
        if (!some.byServer) {
          in.skipNBytes(some.bytes.length);
        } else if (rest > 0) {
          int n = Math.min(rest, some.bytes.length);
          client.getOutputStream().write(some.bytes, 0, n);
          rest -= n;
        }
        if (rest == 0) {
          break;
        }
      }
      if (then == Then.SILENCE) {
        in.transferTo(OutputStream.nullOutputStream());
      }
    } catch (IOException e) {
      // The client has gone, which is what is told below.
    } finally {
      server.left.complete(null);
    }
  }
}
