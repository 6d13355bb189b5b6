package io.xenferry.bench.api;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * One kept-alive connection of HTTP/1.1, one request at a time, which does as little as it can:
 * what is measured is the server. Not thread-safe.
 */
final class Connection implements AutoCloseable {
  private static final int PATIENCE_MILLIS = 120_000;

  private final Socket socket;
  private final InputStream in;
  private final byte[] buffer = new byte[64 << 10];
  private int at;
  private int limit;

  Connection(int port) throws IOException {
    this(port, 1);
  }

  /**
   * @param from whose address it comes from: servers have limits for each
   */
  Connection(int port, int from) throws IOException {
    socket = new Socket();
    socket.bind(
        new InetSocketAddress(InetAddress.getByAddress(new byte[] {127, 0, 0, (byte) from}), 0));
    socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), PATIENCE_MILLIS);
    socket.setTcpNoDelay(true);
    socket.setSoTimeout(PATIENCE_MILLIS);
    in = socket.getInputStream();
  }

  /** A request with a body of XML. */
  static byte[] request(String body) {
    byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
    byte[] head =
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: "
                + bytes.length
                + "\r\n\r\n")
            .getBytes(StandardCharsets.US_ASCII);
    byte[] all = new byte[head.length + bytes.length];
    System.arraycopy(head, 0, all, 0, head.length);
    System.arraycopy(bytes, 0, all, head.length, bytes.length);
    return all;
  }

  /** Sends and takes the answer, and returns the length of its body. */
  long skip(byte[] request) throws IOException {
    return exchange(request, null);
  }

  /** Sends, and returns the answer's body. */
  byte[] exchange(byte[] request) throws IOException {
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    exchange(request, body);
    return body.toByteArray();
  }

  private long exchange(byte[] request, @Nullable ByteArrayOutputStream body) throws IOException {
    socket.getOutputStream().write(request);
    String status = line();
    if (!status.startsWith("HTTP/1.1 200")) {
      throw new IOException("the server answers " + status);
    }
    long length = -1;
    boolean chunked = false;
    for (String line = line(); !line.isEmpty(); line = line()) {
      String header = line.toLowerCase(Locale.ROOT);
      if (header.startsWith("content-length:")) {
        length = Long.parseLong(header.substring(15).strip());
      } else if (header.startsWith("transfer-encoding:")) {
        chunked = header.contains("chunked");
      }
    }
    if (!chunked) {
      if (length < 0) {
        throw new IOException("an answer without a length");
      }
      take(length, body);
      return length;
    }
    long all = 0;
    while (true) {
      long chunk = Long.parseLong(line(), 16);
      take(chunk, body);
      all += chunk;
      line();
      if (chunk == 0) {
        return all;
      }
    }
  }

  private void take(long length, @Nullable ByteArrayOutputStream body) throws IOException {
    long left = length;
    while (left > 0) {
      if (at == limit) {
        fill();
      }
      int n = (int) Math.min(left, limit - at);
      if (body != null) {
        body.write(buffer, at, n);
      }
      at += n;
      left -= n;
    }
  }

  private String line() throws IOException {
    StringBuilder line = new StringBuilder(64);
    while (true) {
      if (at == limit) {
        fill();
      }
      char c = (char) (buffer[at++] & 0xFF);
      if (c == '\n') {
        return line.toString();
      }
      if (c != '\r') {
        line.append(c);
      }
    }
  }

  private void fill() throws IOException {
    at = 0;
    limit = Math.max(0, in.read(buffer));
    if (limit == 0) {
      throw new EOFException("the server closed the connection");
    }
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
