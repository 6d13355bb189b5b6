package io.xenferry.server.migration;

import io.xenferry.migration.peer.PeerClient;
import io.xenferry.migration.peer.PeerRequest;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import javax.net.SocketFactory;
import javax.net.ssl.SSLSocket;

/** Opens the connection that a guest's memory goes through: HTTP with an Upgrade, pinned. */
final class MemoryStreams implements MemoryRelay.Opener {
  /** The protocol's name in the Upgrade header. */
  static final String PROTOCOL = "xenferry-memory";

  private static final Duration CONNECT = Duration.ofSeconds(10);

  /** A guest's memory stream pauses while the hypervisor looks for dirty pages, not for minutes. */
  private static final Duration SILENCE = Duration.ofMinutes(2);

  private static final int HEAD_LIMIT = 8192;

  @Override
  public MemoryRelay.Stream open(MemoryTarget target) throws IOException {
    URI uri = URI.create(target.url());
    boolean tls = "https".equals(uri.getScheme());
    SocketFactory factory =
        tls
            ? Trust.pinned(new Fingerprint(target.fingerprint())).context().getSocketFactory()
            : SocketFactory.getDefault();
    Socket socket = factory.createSocket();
    try {
      int port = uri.getPort() >= 0 ? uri.getPort() : tls ? 443 : 80;
      socket.connect(new InetSocketAddress(uri.getHost(), port), (int) CONNECT.toMillis());
      socket.setSoTimeout((int) SILENCE.toMillis());
      socket.setTcpNoDelay(true);
      if (socket instanceof SSLSocket secured) {
        secured.startHandshake();
      }
      ask(socket, uri, PeerClient.memoryRequest(target.migration(), target.key()));
      return new Connection(socket);
    } catch (IOException | RuntimeException e) {
      socket.close();
      throw e;
    }
  }

  private static void ask(Socket socket, URI uri, PeerRequest request) throws IOException {
    StringBuilder head =
        new StringBuilder()
            .append(request.method())
            .append(' ')
            .append(request.path())
            .append(" HTTP/1.1\r\nHost: ")
            .append(uri.getRawAuthority())
            .append("\r\nConnection: Upgrade\r\nUpgrade: ")
            .append(PROTOCOL)
            .append("\r\n");
    for (Map.Entry<String, String> header : request.headers().entrySet()) {
      head.append(header.getKey()).append(": ").append(header.getValue()).append("\r\n");
    }
    socket.getOutputStream().write(head.append("\r\n").toString().getBytes(StandardCharsets.UTF_8));
    socket.getOutputStream().flush();
    String answer = head(socket.getInputStream());
    if (!answer.startsWith("HTTP/1.1 101 ")) {
      throw new IOException(
          "the destination does not take the memory stream: "
              + answer.lines().findFirst().orElse(""));
    }
  }

  /** Byte by byte, so that nothing after the empty line is taken. */
  private static String head(InputStream in) throws IOException {
    StringBuilder head = new StringBuilder();
    while (head.length() < HEAD_LIMIT) {
      int b = in.read();
      if (b < 0) {
        throw new IOException("the destination closed the connection");
      }
      head.append((char) b);
      if (head.length() >= 4 && head.substring(head.length() - 4).equals("\r\n\r\n")) {
        return head.toString();
      }
    }
    throw new IOException("the destination's answer has no end");
  }

  private record Connection(Socket socket) implements MemoryRelay.Stream {
    @Override
    public InputStream in() throws IOException {
      return socket.getInputStream();
    }

    @Override
    public OutputStream out() throws IOException {
      return socket.getOutputStream();
    }

    @Override
    public void shutdownOutput() throws IOException {
      socket.shutdownOutput();
    }

    @Override
    public void close() {
      try {
        socket.close();
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }
  }
}
