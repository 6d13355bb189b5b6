package io.xenferry.server.blob;

import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Router;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.http.HttpVersion;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Blocker;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Fields;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code GET /blob} and {@code PUT /blob}, the content of the blob that {@code ref} or {@code uuid}
 * names. Whoever brings neither a session nor a password may read public ones.
 */
public final class BlobRoutes {
  private static final Logger LOG = LoggerFactory.getLogger(BlobRoutes.class);

  private static final String PATH = "/blob";

  private static final int PIECE = 64 << 10;

  /** Transfers at once: each has a thread and a file. */
  private static final int AT_ONCE = 32;

  private final Blobs blobs;
  private final AdmittedRoutes routes;
  private final Semaphore transfers = new Semaphore(AT_ONCE);

  /** Of whoever says nothing of himself: he shall not keep the others out. */
  private final Semaphore anonymous = new Semaphore(AT_ONCE);

  public BlobRoutes(Blobs blobs, AdmittedRoutes routes) {
    this.blobs = blobs;
    this.routes = routes;
  }

  public void mount(Router router) {
    Request.Handler admitted = routes.handler(PATH, "get_blob", this::send);
    router.route(
        "GET",
        PATH,
        (request, response, callback) -> {
          Optional<Row> open = openToAll(request);
          if (open.isEmpty()) {
            return admitted.handle(request, response, callback);
          }
          send(open.get(), response, callback);
          return true;
        });
    router.route("PUT", PATH, routes.handler(PATH, "put_blob", this::receive));
  }

  /** What somebody may read who says nothing of himself, and waits for no task. */
  private Optional<Row> openToAll(Request request) {
    if (!Request.getPathInContext(request).equals(PATH)
        || request.getHeaders().contains(HttpHeader.AUTHORIZATION)
        || request.getHeaders().contains(HttpHeader.COOKIE)) {
      return Optional.empty();
    }
    try {
      Fields query = Request.extractQueryParameters(request);
      return query.get("session_id") == null && query.get("task_id") == null
          ? find(query).filter(blobs::isPublic)
          : Optional.empty();
    } catch (IllegalArgumentException e) { // a wrong escape, which is refused later
      return Optional.empty();
    }
  }

  private Optional<Row> find(Fields query) {
    return blobs.find(
        Optional.ofNullable(query.getValue("ref")), Optional.ofNullable(query.getValue("uuid")));
  }

  private void send(AdmittedRoutes.Exchange exchange) {
    Optional<Row> blob = find(exchange.query());
    if (blob.isEmpty()) {
      unknown(exchange);
    } else if (!transfers.tryAcquire()) {
      exchange.refuse(HttpStatus.SERVICE_UNAVAILABLE_503, new XenApiException("TOO_BUSY"));
    } else {
      try {
        send(
            blob.get(),
            exchange.response(),
            exchange.callback(),
            done -> {
              exchange.requireTime();
              exchange.task().ifPresent(task -> task.progress(done));
            });
      } catch (IOException e) {
        exchange.breakOff(e);
      } finally {
        transfers.release();
      }
    }
  }

  /** To whom says nothing of himself. */
  private void send(Row blob, Response response, Callback callback) {
    if (!anonymous.tryAcquire()) {
      Answers.error(response, callback, HttpStatus.SERVICE_UNAVAILABLE_503);
      return;
    }
    long end = System.nanoTime() + AdmittedRoutes.DEADLINE.toNanos();
    try {
      send(
          blob,
          response,
          callback,
          done -> {
            if (System.nanoTime() - end > 0) {
              throw new IOException("the client takes too long");
            }
          });
    } catch (IOException e) {
      callback.failed(e);
    } finally {
      anonymous.release();
    }
  }

  private static void unknown(AdmittedRoutes.Exchange exchange) {
    String named = String.valueOf(exchange.query().getValue("ref"));
    exchange.failure().set(new XenApiException("HANDLE_INVALID", "blob", named));
    Answers.error(
        exchange.response(), exchange.callback(), HttpStatus.NOT_FOUND_404, "Unknown reference");
  }

  private void send(Row blob, Response response, Callback callback, Blobs.Pace pace)
      throws IOException {
    Optional<FileChannel> content = blobs.open(blob);
    if (content.isEmpty()) {
      Answers.bytes(response, callback, HttpStatus.OK_200, blobs.mimeType(blob), new byte[0]);
      return;
    }
    try (FileChannel file = content.get()) {
      response.setStatus(HttpStatus.OK_200);
      response.getHeaders().put(HttpHeader.CONTENT_TYPE, blobs.mimeType(blob));
      response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache, no-store");
      // A browser shall not take for a page of ours what somebody has put here.
      response.getHeaders().put("X-Content-Type-Options", "nosniff");
      response.getHeaders().put("Content-Security-Policy", "sandbox");
      long size = file.size();
      long left = size;
      response.getHeaders().put(HttpHeader.CONTENT_LENGTH, left);
      ByteBuffer piece = ByteBuffer.allocate(PIECE);
      do {
        pace.told(size == 0 ? 0 : (double) (size - left) / size);
        piece.clear();
        while (piece.hasRemaining() && file.read(piece) >= 0) {
          // until it is full, or the file has ended
        }
        left -= piece.flip().remaining();
        try (Blocker.Callback written = Blocker.callback()) {
          response.write(left <= 0, piece, written);
          written.block();
        }
      } while (left > 0);
    }
    callback.succeeded();
  }

  private void receive(AdmittedRoutes.Exchange exchange) {
    Optional<Row> blob = find(exchange.query());
    long length = exchange.request().getHeaders().getLongField(HttpHeader.CONTENT_LENGTH);
    if (blob.isEmpty()) {
      unknown(exchange);
    } else if (length < 0) {
      Answers.error(exchange.response(), exchange.callback(), HttpStatus.LENGTH_REQUIRED_411);
    } else if (length > Blobs.LIMIT) {
      exchange.refuse(
          HttpStatus.PAYLOAD_TOO_LARGE_413,
          new XenApiException(
              "VALUE_NOT_SUPPORTED",
              "size",
              Long.toString(length),
              "a blob has at most " + Blobs.LIMIT + " bytes"));
    } else if (!transfers.tryAcquire()) {
      exchange.refuse(HttpStatus.SERVICE_UNAVAILABLE_503, new XenApiException("TOO_BUSY"));
    } else {
      try (Blobs.Arrival arrival = blobs.expect(blob.get(), length)) {
        receive(exchange, arrival);
      } catch (Blobs.NoRoom e) {
        exchange.refuse(
            HttpStatus.INSUFFICIENT_STORAGE_507, new XenApiException("OUT_OF_SPACE", "blobs"));
      } finally {
        transfers.release();
      }
    }
  }

  /**
   * A client of HTTP/1.0, as xe is, sends the content once it has been answered, and learns from
   * its task what became of it. Any other is answered when that is known.
   */
  private static void receive(AdmittedRoutes.Exchange exchange, Blobs.Arrival arrival) {
    Response response = exchange.response();
    boolean answered =
        exchange.request().getConnectionMetaData().getHttpVersion() == HttpVersion.HTTP_1_0;
    // Not closed: that would fail what is left of a body that is refused.
    InputStream content = Content.Source.asInputStream(exchange.request());
    try {
      if (answered) {
        begin(response);
      }
      arrival.take(
          content,
          done -> {
            exchange.requireTime();
            exchange.task().ifPresent(task -> task.progress(done));
          });
    } catch (XenApiException | IOException e) {
      LOG.info("a blob was not replaced", e);
      exchange.failure().compareAndSet(null, why(e));
      if (answered) {
        // The client would see no more than that its connection is broken.
        discard(content);
        exchange.callback().failed(e);
      } else {
        Answers.error(response, exchange.callback(), status(e));
      }
      return;
    }
    if (answered) {
      exchange.callback().succeeded();
    } else {
      Answers.bytes(response, exchange.callback(), HttpStatus.OK_200, "text/plain", new byte[0]);
    }
  }

  private static void begin(Response response) throws IOException {
    response.setStatus(HttpStatus.OK_200);
    response.getHeaders().put(HttpHeader.CONNECTION, "close");
    response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache, no-store");
    try (Blocker.Callback written = Blocker.callback()) {
      response.write(false, ByteBuffer.allocate(0), written);
      written.block();
    }
  }

  private static void discard(InputStream content) {
    long end = System.nanoTime() + Blobs.DEADLINE.toNanos();
    byte[] piece = new byte[PIECE];
    try {
      while (content.read(piece) >= 0 && System.nanoTime() - end < 0) {
        // into nothing
      }
    } catch (IOException e) {
      LOG.debug("the rest of a blob: {}", e.toString());
    }
  }

  private static XenApiException why(Exception failure) {
    return switch (failure) {
      case XenApiException e -> e;
      case Blobs.NotKept e -> new XenApiException("OUT_OF_SPACE", "blobs");
      default -> new XenApiException("INTERNAL_ERROR", String.valueOf(failure.getMessage()));
    };
  }

  private static int status(Exception failure) {
    return switch (failure) {
      case XenApiException e -> HttpStatus.NOT_FOUND_404;
      case Blobs.NotKept e -> HttpStatus.INSUFFICIENT_STORAGE_507;
      case Blobs.TooSlow e -> HttpStatus.REQUEST_TIMEOUT_408;
      case IOException e -> Answers.unreadable(e);
      default -> throw new IllegalArgumentException(failure);
    };
  }
}
