package io.xenferry.server.http;

import io.xenferry.server.call.Origin;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.eclipse.jetty.http.HttpField;
import org.eclipse.jetty.http.HttpFields;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.server.HttpStream;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Blocker;
import org.eclipse.jetty.util.Callback;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What handlers have in common: bodies with a limit and a deadline, errors, upgrades. */
public final class Answers {
  // Of a body that is refused: enough for any honest mistake, and soon read.
  private static final int DISCARDED = 8 * 1024 * 1024;

  // Of the same, for one that trickles in.
  private static final Duration DISCARD_DEADLINE = Duration.ofSeconds(20);

  private static final Logger LOG = LoggerFactory.getLogger(Answers.class);

  private Answers() {}

  /** A request's body is larger than allowed. */
  public static final class TooLarge extends IOException {
    private static final long serialVersionUID = 1L;

    TooLarge() {
      super("the body is too large");
    }
  }

  /** A request's body did not arrive in time. */
  public static final class TooSlow extends IOException {
    private static final long serialVersionUID = 1L;

    TooSlow() {
      super("the body does not arrive");
    }
  }

  /**
   * The status for a body that could not be read: 408 when it did not arrive in time, else 400: it
   * is malformed or was cut off, or nobody is there any more to read the answer.
   */
  public static int unreadable(IOException failure) {
    for (Throwable e = failure; e != null; e = e.getCause()) {
      if (e instanceof TooSlow || e instanceof TimeoutException) {
        return HttpStatus.REQUEST_TIMEOUT_408;
      }
    }
    return HttpStatus.BAD_REQUEST_400;
  }

  /** The whole body; one that is too large is refused as soon as that is known. */
  public static byte[] body(Request request, int limit, Duration deadline) throws IOException {
    HttpFields headers = request.getHeaders();
    if (headers.getLongField(HttpHeader.CONTENT_LENGTH) > limit) {
      throw new TooLarge(); // also before a client that asks is told to go on
    }
    long end = System.nanoTime() + deadline.toNanos();
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    byte[] buffer = new byte[16 * 1024];
    // Not closed: that would fail what is left of it, which is discarded behind the answer.
    InputStream in = Content.Source.asInputStream(request);
    int n;
    while ((n = in.read(buffer)) >= 0) {
      if (body.size() + n > limit) {
        throw new TooLarge();
      }
      body.write(buffer, 0, n);
      // Each read has the idle timeout; somebody who sends a byte a second has this.
      if (System.nanoTime() - end > 0) {
        throw new TooSlow();
      }
    }
    return body.toByteArray();
  }

  /**
   * Reads what is left of a body that nobody wanted, within limits: closing a connection on bytes
   * that nobody has read resets it, and the client never sees the answer. A client that waits to be
   * told to go on is not told: it has sent nothing.
   */
  private static void discard(Request request) {
    HttpFields headers = request.getHeaders();
    if (!headers.contains(HttpHeader.CONTENT_LENGTH)
            && !headers.contains(HttpHeader.TRANSFER_ENCODING)
        || headers.contains(HttpHeader.EXPECT)) {
      return;
    }
    long end = System.nanoTime() + DISCARD_DEADLINE.toNanos();
    byte[] buffer = new byte[16 * 1024];
    try (InputStream in = Content.Source.asInputStream(request)) {
      long size = 0;
      int n;
      while (size <= DISCARDED && System.nanoTime() - end < 0 && (n = in.read(buffer)) >= 0) {
        size += n;
      }
    } catch (IOException e) {
      // The client is gone, too slow, or its body was read to where it failed: it has its answer.
      LOG.debug("the rest of a refused body: {}", e.toString());
    }
  }

  /** A small page with the status; the connection ends. */
  public static void error(Response response, Callback callback, int status) {
    error(response, callback, status, "");
  }

  /**
   * The same, with what is wrong.
   *
   * @param why our own words, none of the client's: they are not escaped; may be empty
   */
  public static void error(Response response, Callback callback, int status, String why) {
    String text = status + " " + HttpStatus.getMessage(status);
    String more = why.isEmpty() ? "" : "<p>" + why + "</p>";
    response.getHeaders().put(HttpHeader.CONNECTION, "close");
    page(response, callback, status, "<html><body><h1>" + text + "</h1>" + more + "</body></html>");
  }

  static void page(Response response, Callback callback, int status, String html) {
    bytes(response, callback, status, "text/html", html.getBytes(StandardCharsets.UTF_8));
  }

  /**
   * The whole answer at once, before what is left of the request is read: whoever is refused shall
   * know it without sending more.
   */
  public static void bytes(
      Response response, Callback callback, int status, String type, byte[] body) {
    response.setStatus(status);
    response.getHeaders().put(new HttpField(HttpHeader.CONTENT_TYPE, type));
    response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache, no-store");
    response.getHeaders().put(HttpHeader.CONTENT_LENGTH, body.length);
    try (Blocker.Callback written = Blocker.callback()) {
      response.write(true, ByteBuffer.wrap(body), written);
      written.block();
    } catch (IOException e) {
      callback.failed(e);
      return;
    }
    discard(response.getRequest());
    callback.succeeded();
  }

  /** Who is at the other end. */
  public static Origin origin(Request request) {
    boolean trusted = request.getConnectionMetaData().getConnector() instanceof UnixConnector;
    return new Origin(
        trusted, String.valueOf(request.getConnectionMetaData().getRemoteSocketAddress()));
  }

  /**
   * Answers 101 and hands the connection's bytes to the work, which ends it by returning. The
   * caller has checked that the client asked for the protocol.
   *
   * @param protocol for the Upgrade header
   */
  public static void upgrade(
      Request request,
      Response response,
      Callback callback,
      String protocol,
      Consumer<RawStream> work) {
    EndPoint endPoint = request.getConnectionMetaData().getConnection().getEndPoint();
    request.setAttribute(
        HttpStream.UPGRADE_CONNECTION_ATTRIBUTE,
        new RawConnection(
            endPoint, request.getConnectionMetaData().getConnector().getExecutor(), work));
    response.setStatus(HttpStatus.SWITCHING_PROTOCOLS_101);
    response.getHeaders().put(HttpHeader.UPGRADE, protocol);
    response.getHeaders().put(HttpHeader.CONNECTION, "Upgrade");
    response.write(true, null, callback);
  }
}
