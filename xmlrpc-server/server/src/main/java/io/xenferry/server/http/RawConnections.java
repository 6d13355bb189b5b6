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
 * Recognises a request by a connection's first bytes, and hands over the connection behind its head
 * to whoever speaks something other than HTTP there. A request that is not whole within the
 * deadline, or malformed, ends the connection without a word.
 *
 * @param <T> a request, read
 */
abstract class RawConnections<T> extends AbstractConnectionFactory
    implements ConnectionFactory.Detecting {
  private static final Logger LOG = LoggerFactory.getLogger(RawConnections.class);
  private static final int MAX_HEAD = 16 * 1024;

  private final byte[] start;
  private final LimitsConfig limits;
  private final HeadDeadline heads;

  /**
   * @param protocol the factory's name to Jetty
   * @param start the first bytes of every such request
   * @param heads whose say over a connection ends here
   */
  RawConnections(String protocol, String start, LimitsConfig limits, HeadDeadline heads) {
    super(protocol);
    this.start = start.getBytes(StandardCharsets.US_ASCII);
    this.limits = limits;
    this.heads = heads;
  }

  /**
   * A request's first line and its headers, whose names are in lower case; of several with one name
   * the last.
   */
  record Head(String line, Map<String, String> headers) {}

  /** Reads what follows the head and makes a request of both. */
  abstract T read(Head head, InputStream in) throws IOException;

  abstract void serve(T request, RawStream stream, Origin origin) throws IOException;

  @Override
  public Detection detect(ByteBuffer buffer) {
    int n = Math.min(buffer.remaining(), start.length);
    for (int i = 0; i < n; i++) {
      if (buffer.get(buffer.position() + i) != start[i]) {
        return Detection.NOT_RECOGNIZED;
      }
    }
    return n == start.length ? Detection.RECOGNIZED : Detection.NEED_MORE_BYTES;
  }

  @Override
  public Connection newConnection(Connector connector, EndPoint endPoint) {
    heads.release(endPoint);
    Origin origin =
        new Origin(
            connector instanceof UnixConnector, String.valueOf(endPoint.getRemoteSocketAddress()));
    RawConnection connection =
        new RawConnection(endPoint, connector.getExecutor(), stream -> begin(stream, origin));
    return configure(connection, connector, endPoint);
  }

  private void begin(RawStream stream, Origin origin) {
    try {
      CompletableFuture<Void> inTime = new CompletableFuture<>();
      inTime
          .orTimeout(limits.requestDeadline().toMillis(), TimeUnit.MILLISECONDS)
          .exceptionally(late -> {
            stream.close();
            return null;
          });
      T request;
      try {
        request = read(head(stream.input()), stream.input());
      } finally {
        inTime.complete(null);
      }
      serve(request, stream, origin);
    } catch (IOException e) {
      LOG.debug("{} from {}: {}", getProtocol(), origin.address(), e.toString());
    }
  }

  private static Head head(InputStream in) throws IOException {
    String first = "";
    Map<String, String> headers = new LinkedHashMap<>();
    StringBuilder line = new StringBuilder();
    for (int read = 0; read < MAX_HEAD; read++) {
      int c = in.read();
      if (c < 0) {
        break;
      }
      if (c != '\n') {
        line.append((char) c);
        continue;
      }
      String text = line.toString().strip();
      line.setLength(0);
      if (first.isEmpty()) {
        first = text;
      } else if (text.isEmpty()) {
        return new Head(first, headers);
      } else {
        int colon = text.indexOf(':');
        if (colon > 0) {
          headers.put(
              text.substring(0, colon).strip().toLowerCase(Locale.ROOT),
              text.substring(colon + 1).strip());
        }
      }
    }
    throw new IOException("no complete head");
  }
}
