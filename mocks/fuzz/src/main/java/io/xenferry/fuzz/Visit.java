package io.xenferry.fuzz;

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;

/** A client that says its piece, takes whatever is answered, and expects the server to hang up. */
final class Visit {
  /** Far beyond every deadline that the servers are given here. */
  private static final int PATIENCE_MILLIS = 20_000;

  private Visit() {}

  static Socket connect(int port) throws IOException {
    Socket socket = new Socket(InetAddress.getLoopbackAddress(), port);
    socket.setTcpNoDelay(true);
    socket.setSoTimeout(PATIENCE_MILLIS);
    return socket;
  }

  /**
   * @throws AssertionError the server neither answers nor ends the connection
   */
  static void say(Socket socket, byte[] words) throws IOException {
    try {
      Thread reader = Thread.ofVirtual().start(() -> drain(socket));
      socket.getOutputStream().write(words);
      socket.shutdownOutput();
      reader.join(PATIENCE_MILLIS);
      if (reader.isAlive()) {
        throw new AssertionError("the server keeps a connection that has ended");
      }
    } catch (SocketException e) {
      // The server had heard enough.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void drain(Socket socket) {
    byte[] buffer = new byte[65536];
    try {
      InputStream in = socket.getInputStream();
      while (in.read(buffer) >= 0) {}
    } catch (SocketTimeoutException e) {
      // Waited for by the other one.
    } catch (IOException e) {
      // As good as an end.
    }
  }
}
