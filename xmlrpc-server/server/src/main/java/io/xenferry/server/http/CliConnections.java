package io.xenferry.server.http;

import io.xenferry.server.call.Origin;
import io.xenferry.server.config.LimitsConfig;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
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
 * Recognises {@code POST /cli } in a connection's first bytes. {@code xe} wants no HTTP answer:
 * after the body the connection belongs to the thin CLI protocol. What is wrong with the request
 * ends the connection without a word, as {@code xe} expects.
 */
final class CliConnections extends AbstractConnectionFactory
    implements ConnectionFactory.Detecting {
  private static final Logger LOG = LoggerFactory.getLogger(CliConnections.class);
  private static final byte[] START = "POST /cli ".getBytes(StandardCharsets.US_ASCII);
  private static final int MAX_HEAD = 16 * 1024;

  private final CliService service;
  private final LimitsConfig limits;

  CliConnections(CliService service, LimitsConfig limits) {
    super("thin-cli");
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

  private void serve(RawStream stream, Origin origin) {
    try {
      CompletableFuture<Void> read = new CompletableFuture<>();
      read.orTimeout(limits.requestDeadline().toMillis(), TimeUnit.MILLISECONDS)
          .exceptionally(late -> {
            stream.close();
            return null;
          });
      byte[] body;
      try {
        body = readBody(stream.input());
      } finally {
        read.complete(null);
      }
      service.serve(body, stream, origin);
    } catch (IOException e) {
      LOG.debug("cli connection from {}: {}", origin.address(), e.toString());
    }
  }

  private byte[] readBody(InputStream in) throws IOException {
    int length = -1;
    int head = 0;
    StringBuilder line = new StringBuilder();
    while (true) {
      int c = in.read();
      if (c < 0 || ++head > MAX_HEAD) {
        throw new IOException("no complete head");
      }
      if (c != '\n') {
        line.append((char) c);
        continue;
      }
      String text = line.toString().strip();
      line.setLength(0);
      if (text.isEmpty()) {
        break;
      }
      if (text.toLowerCase(Locale.ROOT).startsWith("content-length:")) {
        try {
          length = Integer.parseInt(text.substring("content-length:".length()).strip());
        } catch (NumberFormatException e) {
          throw new IOException("malformed length", e);
        }
      }
    }
    if (length < 0 || length > limits.cliBodyBytes()) {
      throw new IOException("a body of " + length + " bytes");
    }
    byte[] body = in.readNBytes(length);
    if (body.length < length) {
      throw new IOException("the body ends early");
    }
    return body;
  }
}
