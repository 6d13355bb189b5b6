package io.xenferry.fuzz;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;

/**
 * Stands between a client of ours and a server that keeps the rules, and changes what the server
 * says as the input tells. The input is a list of changes: how many bytes pass before it (two
 * bytes, after the one before), what it is (one), and what of (one).
 */
final class Relay implements AutoCloseable {
  /** A server that has nothing more to say makes the client wait for its deadline otherwise. */
  private static final int QUIET_MILLIS = 30;

  private static final int CHANGE = 4;

  private final ServerSocket listener;
  private final int server;
  private volatile byte[] changes = {};
  private final ByteArrayOutputStream said = new ByteArrayOutputStream();

  /**
   * @param server port on loopback
   */
  Relay(int server) throws IOException {
    this.server = server;
    this.listener = new ServerSocket(0, 8, InetAddress.getLoopbackAddress());
    Thread.ofPlatform().daemon().name("relay").start(this::accept);
  }

  int port() {
    return listener.getLocalPort();
  }

  /** For the connections to come. */
  void change(byte[] input) {
    changes = input;
  }

  /** What clients have said to the server until now. */
  byte[] said() {
    synchronized (said) {
      return said.toByteArray();
    }
  }

  private void accept() {
    try {
      while (true) {
        Socket client = listener.accept();
        byte[] input = changes;
        Thread.ofVirtual().start(() -> serve(client, input));
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  private void serve(Socket client, byte[] input) {
    try (client;
        Socket upstream = new Socket(InetAddress.getLoopbackAddress(), server)) {
      Thread.ofVirtual().start(() -> toServer(client, upstream));
      toClient(upstream, client, ByteBuffer.wrap(input));
    } catch (IOException e) {
      // One of the two has gone.
    }
  }

  private void toServer(Socket client, Socket upstream) {
    byte[] buffer = new byte[65536];
    try {
      InputStream in = client.getInputStream();
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        synchronized (said) {
          said.write(buffer, 0, n);
        }
        upstream.getOutputStream().write(buffer, 0, n);
      }
      upstream.shutdownOutput();
    } catch (IOException e) {
      // One of the two has gone.
    }
  }

  private static void toClient(Socket upstream, Socket client, ByteBuffer changes)
      throws IOException {
    InputStream in = upstream.getInputStream();
    OutputStream out = client.getOutputStream();
    byte[] buffer = new byte[65536];
    int before = changes.remaining() < CHANGE ? -1 : changes.getShort() & 0xFFFF;
    boolean shifted = false;
    while (true) {
      int most = before < 0 ? buffer.length : Math.clamp(before, 1, buffer.length);
      int n;
      try {
        n = in.read(buffer, 0, most);
      } catch (SocketTimeoutException e) {
        return;
      }
      if (n < 0) {
        return;
      }
      if (before >= 0) {
        before -= n;
      }
      if (before == 0) {
        int kind = changes.get() & 3;
        int value = changes.get() & 0xFF;
        switch (kind) {
          case 0 -> buffer[n - 1] ^= (byte) Math.max(1, value);
          case 1 -> n--;
          case 2 -> {
            out.write(buffer, 0, n);
            out.write(new byte[1 + value]);
            n = 0;
          }
          default -> {
            return;
          }
        }
        shifted |= kind != 0;
        if (shifted) {
          upstream.setSoTimeout(QUIET_MILLIS);
        }
        before = changes.remaining() < CHANGE ? -1 : Math.max(1, changes.getShort() & 0xFFFF);
      }
      out.write(buffer, 0, n);
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }
}
