package io.xenferry.migration.peer;

import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import javax.net.ssl.SSLSocket;

/**
 * The source's end of the memory stream: an HTTP/1.1 request with {@code Upgrade: xenferry-memory};
 * after the 101 the connection carries raw bytes both ways, which both servers relay to their
 * guest's Unix socket.
 */
public final class MemoryStream {
  /** The protocol named in the Upgrade header. */
  public static final String PROTOCOL = "xenferry-memory";

  /** Bytes; a 101 has a handful of short headers. */
  private static final int MAX_HEAD = 8192;

  private MemoryStream() {}

  /**
   * Opens the stream; blocks up to the deadline.
   *
   * @return a connected socket, to be closed by the caller
   * @throws IOException if the destination cannot be reached, is not the pinned one, or refuses
   */
  public static Socket open(MemoryTarget target, Duration deadline) throws IOException {
    URI uri = URI.create(target.url());
    boolean tls = "https".equals(uri.getScheme());
    int port = uri.getPort() >= 0 ? uri.getPort() : tls ? 443 : 80;
    int millis = Math.toIntExact(Math.min(deadline.toMillis(), Integer.MAX_VALUE));
    Socket plain = new Socket();
    try {
      plain.connect(new InetSocketAddress(uri.getHost(), port), millis);
      plain.setSoTimeout(millis);
      plain.setTcpNoDelay(true);
      Socket socket = plain;
      if (tls) {
        SSLSocket secured =
            (SSLSocket)
                Trust.pinned(new Fingerprint(target.fingerprint()))
                    .context()
                    .getSocketFactory()
                    .createSocket(plain, uri.getHost(), port, true);
        secured.startHandshake();
        socket = secured;
      }
      upgrade(socket, target, uri.getHost() + ":" + port);
      socket.setSoTimeout(0);
      return socket;
    } catch (IOException | RuntimeException e) {
      plain.close();
      throw e;
    }
  }

  private static void upgrade(Socket socket, MemoryTarget target, String host) throws IOException {
    PeerRequest request = PeerClient.memoryRequest(target.migration(), target.key());
    StringBuilder head = new StringBuilder();
    head.append(request.method()).append(' ').append(request.path()).append(" HTTP/1.1\r\n");
    head.append("Host: ").append(host).append("\r\n");
    head.append("Connection: Upgrade\r\nUpgrade: ").append(PROTOCOL).append("\r\n");
    head.append("Content-Length: 0\r\n");
    for (Map.Entry<String, String> header : request.headers().entrySet()) {
      head.append(header.getKey()).append(": ").append(header.getValue()).append("\r\n");
    }
    head.append("\r\n");
    socket.getOutputStream().write(head.toString().getBytes(StandardCharsets.US_ASCII));
    socket.getOutputStream().flush();
    String answer = head(socket.getInputStream());
    if (!answer.startsWith("HTTP/1.1 101 ")) {
      throw new IOException(
          "the destination refused the memory stream: " + answer.lines().findFirst().orElse(""));
    }
  }

  /** Byte by byte, so that nothing of the stream after it is taken. */
  private static String head(InputStream in) throws IOException {
    StringBuilder text = new StringBuilder();
    while (text.length() < MAX_HEAD) {
      int next = in.read();
      if (next < 0) {
        throw new IOException("the destination closed the memory stream");
      }
      text.append((char) next);
      if (text.toString().endsWith("\r\n\r\n")) {
        return text.toString();
      }
    }
    throw new IOException("the destination's answer is too long");
  }
}
