package io.xenferry.xe.client;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import javax.net.ssl.SSLSocket;

/**
 * Opens connections to the server: the Unix socket when no server was named, TLS otherwise, plain
 * TCP on request.
 */
final class Transport {
  /** Names the Unix socket, for a server that runs without root's rights. */
  static final String SOCKET_VARIABLE = "XENFERRY_SOCKET";

  private static final Path PUBLISHED_SOCKET = Path.of("/var/lib/xcp/xapi");

  /** A host that does not answer for this long is not going to. */
  private static final int CONNECT_MILLIS = 30_000;

  private final Options options;
  private final Map<String, String> environment;

  Transport(Options options, Map<String, String> environment) {
    this.options = options;
    this.environment = environment;
  }

  /** A connection's two directions; closing it closes both. */
  record Connection(InputStream in, OutputStream out, Closeable socket) implements Closeable {
    @Override
    public void close() throws IOException {
      socket.close();
    }
  }

  /** The connection on which the server gives its instructions. */
  Connection control() throws IOException {
    if (local()) {
      String named = environment.get(SOCKET_VARIABLE);
      if (named != null && !named.isEmpty()) {
        return unix(Path.of(named));
      }
      if (Files.exists(PUBLISHED_SOCKET)) {
        try {
          return unix(PUBLISHED_SOCKET);
        } catch (IOException e) {
          // As the published client: then plain TCP to this machine.
        }
      }
      return plain("127.0.0.1");
    }
    return side(options.server().orElseThrow());
  }

  /** A connection for a transfer; the Unix socket is never used. */
  Connection transfer(String host) throws IOException {
    return host.isEmpty()
        ? local() ? plain("127.0.0.1") : side(options.server().orElseThrow())
        : side(host);
  }

  private boolean local() {
    return options.server().isEmpty() || options.server().get().equals("127.0.0.1");
  }

  private Connection side(String host) throws IOException {
    return options.ssl() ? tls(host) : plain(host);
  }

  private static Connection unix(Path path) throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      channel.connect(UnixDomainSocketAddress.of(path));
    } catch (IOException e) {
      channel.close();
      throw e;
    }
    return new Connection(
        Channels.newInputStream(channel), Channels.newOutputStream(channel), channel);
  }

  private Connection plain(String host) throws IOException {
    Socket socket = tcp(host, options.port().orElse(80));
    return new Connection(socket.getInputStream(), socket.getOutputStream(), socket);
  }

  private Connection tls(String host) throws IOException {
    int port = options.port().orElse(443);
    Socket tcp = tcp(host, port);
    try {
      Trust trust = Trust.of(environment, unbracketed(host) + ":" + port);
      SSLSocket socket =
          (SSLSocket) trust.sockets().createSocket(tcp, unbracketed(host), port, true);
      socket.setSoTimeout(CONNECT_MILLIS);
      socket.startHandshake();
      socket.setSoTimeout(0);
      return new Connection(socket.getInputStream(), socket.getOutputStream(), socket);
    } catch (IOException e) {
      tcp.close();
      throw e;
    }
  }

  private static Socket tcp(String host, int port) throws IOException {
    Socket socket = new Socket();
    try {
      socket.setTcpNoDelay(true);
      // A long vm-migrate is silent for hours: only this tells a dead peer from a busy one.
      socket.setKeepAlive(true);
      socket.connect(new InetSocketAddress(unbracketed(host), port), CONNECT_MILLIS);
    } catch (IOException e) {
      socket.close();
      throw e;
    }
    return socket;
  }

  private static String unbracketed(String host) {
    return host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
  }
}
