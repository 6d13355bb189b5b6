package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.iscsi.pdu.HeaderReader;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.ProtocolException;
import io.xenferry.iscsi.pdu.TextKeys;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;

/**
 * A connection as long as the conversation is a dialogue: login and discovery, on the caller's
 * thread, with one deadline over all. Whatever the peer does, a call ends by then.
 */
final class LoginConnection implements AutoCloseable {
  /** RFC 7143 section 13.12: what a side may send before it has been told otherwise. */
  private static final int MAX_LOGIN_SEGMENT = 8192;

  record Received(Pdu pdu, ByteBuffer data) {}

  private final SocketChannel socket;
  private final InputStream in;
  private final long deadline;
  private final String peer;
  private boolean handedOver;

  /**
   * Connects.
   *
   * @throws BlockException LOST or TIMEOUT
   */
  LoginConnection(String host, int port, IscsiOptions options) throws BlockException {
    peer = host + ":" + port;
    try {
      socket = SocketChannel.open();
      try {
        socket
            .socket()
            .connect(
                new InetSocketAddress(InetAddress.getByName(host), port),
                millis(options.connectTimeout()));
        socket.setOption(StandardSocketOptions.TCP_NODELAY, true);
        in = socket.socket().getInputStream();
      } catch (IOException e) {
        socket.close();
        throw e;
      }
    } catch (SocketTimeoutException e) {
      throw new BlockException(Kind.TIMEOUT, peer + " does not answer", e);
    } catch (IOException e) {
      throw new BlockException(Kind.LOST, "cannot connect to " + peer + ": " + e.getMessage(), e);
    }
    deadline = System.nanoTime() + options.loginTimeout().toNanos();
  }

  private static int millis(Duration duration) {
    return (int) Math.clamp(duration.toMillis(), 1, Integer.MAX_VALUE);
  }

  void send(Pdu pdu, TextKeys keys) throws BlockException {
    byte[] text = keys.toBytes();
    if (text.length > MAX_LOGIN_SEGMENT) {
      throw new BlockException(Kind.PROTOCOL, "login text of " + text.length + " bytes");
    }
    ByteBuffer header = ByteBuffer.allocate(Headers.LENGTH);
    Headers.write(pdu, text.length, header);
    ByteBuffer data = ByteBuffer.allocate((text.length + 3) & ~3).put(0, text);
    try {
      // Login requests are far smaller than any socket's send buffer, so this cannot block.
      socket.write(new ByteBuffer[] {header, data});
    } catch (IOException e) {
      throw lost(e);
    }
  }

  Received receive() throws BlockException {
    try {
      ByteBuffer header = ByteBuffer.wrap(readFully(Headers.LENGTH));
      int length = HeaderReader.dataLength(header);
      if (length > TextKeys.MAX_BYTES) {
        throw new ProtocolException("data segment of " + length + " bytes during login");
      }
      Pdu pdu = HeaderReader.read(header);
      byte[] data = readFully((length + 3) & ~3);
      return new Received(pdu, ByteBuffer.wrap(data, 0, length));
    } catch (SocketTimeoutException e) {
      throw new BlockException(Kind.TIMEOUT, peer + " does not answer during login", e);
    } catch (ProtocolException e) {
      throw new BlockException(Kind.PROTOCOL, peer + ": " + e.getMessage(), e);
    } catch (IOException e) {
      throw lost(e);
    }
  }

  private byte[] readFully(int length) throws IOException {
    byte[] bytes = new byte[length];
    for (int at = 0; at < length; ) {
      long left = deadline - System.nanoTime();
      if (left <= 0) {
        throw new SocketTimeoutException();
      }
      socket.socket().setSoTimeout((int) Math.clamp(left / 1_000_000, 1, Integer.MAX_VALUE));
      int got = in.read(bytes, at, length - at);
      if (got < 0) {
        throw new EOFException("closed by the peer");
      }
      at += got;
    }
    return bytes;
  }

  private BlockException lost(IOException e) {
    return new BlockException(Kind.LOST, peer + " during login: " + e.getMessage(), e);
  }

  /** The socket, now the caller's to close. */
  SocketChannel handOver() {
    handedOver = true;
    return socket;
  }

  @Override
  public void close() {
    if (!handedOver) {
      try {
        socket.close();
      } catch (IOException e) {
        // Nothing was promised on this connection.
      }
    }
  }
}
