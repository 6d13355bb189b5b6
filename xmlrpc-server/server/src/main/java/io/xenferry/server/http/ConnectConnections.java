package io.xenferry.server.http;

import io.xenferry.server.call.Origin;
import io.xenferry.server.config.LimitsConfig;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.io.Connection;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.server.AbstractConnectionFactory;
import org.eclipse.jetty.server.ConnectionFactory;
import org.eclipse.jetty.server.Connector;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Recognises {@code CONNECT /} in a connection's first bytes. Published clients send a path where
 * HTTP wants a host, decoded, so that it may hold spaces: it lies between the line's first and last
 * one.
 */
final class ConnectConnections extends AbstractConnectionFactory
    implements ConnectionFactory.Detecting {
  private static final Logger LOG = LoggerFactory.getLogger(ConnectConnections.class);
  private static final byte[] START = "CONNECT /".getBytes(StandardCharsets.US_ASCII);
  private static final int MAX_HEAD = 16 * 1024;

  private final ConnectService service;
  private final LimitsConfig limits;

  ConnectConnections(ConnectService service, LimitsConfig limits) {
    super("connect");
    this.service = service;
    this.limits = limits;
  }

  @Override
  public Detection detect(ByteBuffer buffer) {
    int n = Math.min(buffer.remaining(), START.length);
    for (int i = 0; i < n; i++) {
      if (buffer.get(buffer.position() + i) != START[i]) {
        return Detection.NOT_RECOGNIZED;
      }
    }
    return n == START.length ? Detection.RECOGNIZED : Detection.NEED_MORE_BYTES;
  }

  @Override
  public Connection newConnection(Connector connector, EndPoint endPoint) {
    Origin origin =
        new Origin(
            connector instanceof UnixConnector, String.valueOf(endPoint.getRemoteSocketAddress()));
    RawConnection connection =
        new RawConnection(endPoint, connector.getExecutor(), stream -> serve(stream, origin));
    return configure(connection, connector, endPoint);
  }

  private record Head(String target, Map<String, String> headers) {}

  private void serve(RawStream stream, Origin origin) {
    try {
      CompletableFuture<Void> read = new CompletableFuture<>();
      read.orTimeout(limits.requestDeadline().toMillis(), TimeUnit.MILLISECONDS)
          .exceptionally(late -> {
            stream.close();
            return null;
          });
      Head head;
      try {
        head = head(stream.input());
      } finally {
        read.complete(null);
      }
      service.serve(head.target(), head.headers(), stream, origin);
    } catch (IOException e) {
      LOG.debug("CONNECT from {}: {}", origin.address(), e.toString());
    }
  }

  private static Head head(InputStream in) throws IOException {
    String request = "";
    Map<String, String> headers = new LinkedHashMap<>();
    StringBuilder line = new StringBuilder();
    for (int read = 0; ; read++) {
      int c = in.read();
      if (c < 0 || read >= MAX_HEAD) {
        throw new IOException("no complete head");
      }
      if (c != '\n') {
        line.append((char) c);
        continue;
      }
      String text = line.toString().strip();
      line.setLength(0);
      if (request.isEmpty()) {
        request = text;
      } else if (text.isEmpty()) {
        break;
      } else {
        int colon = text.indexOf(':');
        if (colon > 0) {
          headers.put(
              text.substring(0, colon).strip().toLowerCase(Locale.ROOT),
              text.substring(colon + 1).strip());
        }
      }
    }
    int first = request.indexOf(' ');
    int last = request.lastIndexOf(' ');
    if (last <= first) {
      throw new IOException("no request line");
    }
    return new Head(request.substring(first + 1, last).strip(), headers);
  }
}
