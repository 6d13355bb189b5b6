package io.xenferry.wire;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.spi.XenApi;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/**
 * Another server's XenAPI over HTTPS (or plain HTTP, where the URI says so).
 *
 * <p>Follows nothing: neither HTTP redirects nor HOST_IS_SLAVE, which the caller gets to see.
 * Thread-safe; close it to end its connections. Errors of its own:
 *
 * <ul>
 *   <li>TLS_CONNECTION_FAILED [address, port] when the handshake fails or the certificate is not
 *       the trusted one;
 *   <li>CANNOT_CONTACT_HOST [address] for everything else: no connection, no answer in time, HTTP
 *       errors, too much, or nonsense. The cause tells which.
 * </ul>
 */
public final class XmlRpcXenApi implements XenApi, AutoCloseable {

  /** Largest answer: all records of a pool of ten thousand objects take some 100 MiB. */
  public static final long DEFAULT_ANSWER_LIMIT = 256L << 20;

  private final URI uri;
  private final Duration deadline;
  private final long answerLimit;
  private final HttpClient http;
  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);

  /**
   * @param server scheme, host and port; calls are posted to its root
   * @param deadline for a whole call, from connecting to the last byte
   */
  public XmlRpcXenApi(URI server, Trust trust, Duration deadline) {
    this(server, trust, deadline, DEFAULT_ANSWER_LIMIT);
  }

  public XmlRpcXenApi(URI server, Trust trust, Duration deadline, long answerLimit) {
    this.uri = server.resolve("/");
    this.deadline = deadline;
    this.answerLimit = answerLimit;
    this.http =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(deadline)
            .sslContext(trust.context())
            .build();
  }

  @Override
  public Value call(String method, List<Value> params) throws XenApiException {
    HttpRequest request =
        HttpRequest.newBuilder(uri)
            .timeout(deadline)
            .header("Content-Type", "text/xml")
            .header("User-Agent", "xenferry")
            .POST(HttpRequest.BodyPublishers.ofByteArray(codec.writeCall(method, params)))
            .build();
    // Sending and reading are one job under one deadline: a peer may stall in the body, too.
    CompletableFuture<HttpResponse<InputStream>> sent =
        http.sendAsync(request, HttpResponse.BodyHandlers.ofInputStream());
    long end = System.nanoTime() + deadline.toNanos();
    try {
      HttpResponse<InputStream> response = sent.get(deadline.toNanos(), TimeUnit.NANOSECONDS);
      try (InputStream body = response.body()) {
        if (response.statusCode() != 200) {
          throw unreachable(new WireException("HTTP status " + response.statusCode()));
        }
        return readWithin(body, end);
      }
    } catch (ExecutionException e) {
      throw failure(e.getCause());
    } catch (TimeoutException | IOException e) {
      sent.cancel(true);
      throw failure(e);
    } catch (InterruptedException e) {
      sent.cancel(true);
      Thread.currentThread().interrupt();
      throw failure(e);
    }
  }

  private Value readWithin(InputStream body, long end) throws IOException, XenApiException {
    CompletableFuture<Void> done = new CompletableFuture<>();
    done.orTimeout(Math.max(1, end - System.nanoTime()), TimeUnit.NANOSECONDS)
        .exceptionally(late -> {
          try {
            body.close(); // wakes the reader
          } catch (IOException e) {
            late.addSuppressed(e);
          }
          return null;
        });
    try {
      return codec.readAnswer(new Limited(body, answerLimit));
    } finally {
      done.complete(null);
    }
  }

  private XenApiException failure(@Nullable Throwable cause) {
    for (Throwable t = cause; t != null; t = t.getCause()) {
      if (t instanceof SSLException) {
        return new XenApiException(
                "TLS_CONNECTION_FAILED", uri.getHost(), Integer.toString(uri.getPort()))
            .withCause(t);
      }
    }
    return unreachable(cause == null ? new IOException("no cause") : cause);
  }

  private XenApiException unreachable(Throwable cause) {
    return new XenApiException("CANNOT_CONTACT_HOST", uri.getHost()).withCause(cause);
  }

  @Override
  public void close() {
    http.shutdownNow();
  }

  /** Ends with an error once more than the limit was read. */
  private static final class Limited extends FilterInputStream {
    private long left;

    Limited(InputStream in, long limit) {
      super(in);
      this.left = limit;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] b, int off, int len) throws IOException {
      int n = super.read(b, off, len);
      if (n > 0 && (left -= n) < 0) {
        throw new WireException("the answer is too large");
      }
      return n;
    }
  }
}
