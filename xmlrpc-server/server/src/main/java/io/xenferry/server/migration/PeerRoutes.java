package io.xenferry.server.migration;

import io.xenferry.migration.peer.MemoryStream;
import io.xenferry.migration.peer.PeerEndpoint;
import io.xenferry.migration.peer.PeerRequest;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.RawStream;
import io.xenferry.server.http.Router;
import io.xenferry.spi.Guest;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.eclipse.jetty.http.HttpField;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Mounts the peers' protocol in the HTTP server. */
final class PeerRoutes {
  private static final Logger log = LoggerFactory.getLogger(PeerRoutes.class);

  private static final Duration BODY = Duration.ofSeconds(20);

  private final PeerEndpoint endpoint;
  private final Guests guests;

  /** The guest that waits for the memory of a migration. */
  @FunctionalInterface
  interface Guests {
    Optional<Guest> of(MigrationId migration) throws Exception;
  }

  PeerRoutes(PeerEndpoint endpoint, Guests guests) {
    this.endpoint = endpoint;
    this.guests = guests;
  }

  void mount(Router router) {
    for (String method : new String[] {"PUT", "POST"}) {
      router.route(method, "/v1/incoming", this::handle);
      router.route(method, "/v1/outgoing", this::handle);
    }
  }

  private boolean handle(Request request, Response response, Callback callback) {
    String path = Request.getPathInContext(request);
    Map<String, String> headers = new LinkedHashMap<>();
    for (HttpField field : request.getHeaders()) {
      String value = field.getValue();
      headers.put(field.getName().toLowerCase(Locale.ROOT), value == null ? "" : value);
    }
    if (path.endsWith("/memory")) {
      takeMemory(
          new PeerRequest(request.getMethod(), path, headers, new byte[0]),
          request,
          response,
          callback);
      return true;
    }
    byte[] body;
    try {
      body = Answers.body(request, PeerEndpoint.MAX_OPEN, BODY);
    } catch (Answers.TooLarge e) {
      Answers.error(response, callback, HttpStatus.PAYLOAD_TOO_LARGE_413);
      return true;
    } catch (IOException e) {
      Answers.error(response, callback, Answers.unreadable(e));
      return true;
    }
    endpoint
        .handle(new PeerRequest(request.getMethod(), path, headers, body))
        .whenComplete((answer, failure) -> {
          if (failure == null) {
            Answers.bytes(response, callback, answer.status(), "application/json", answer.body());
          } else {
            log.error("{} {} failed", request.getMethod(), path, failure);
            Answers.error(response, callback, HttpStatus.INTERNAL_SERVER_ERROR_500);
          }
        });
    return true;
  }

  private void takeMemory(
      PeerRequest message, Request request, Response response, Callback callback) {
    Optional<MigrationId> migration = endpoint.admitMemory(message);
    if (migration.isEmpty()
        || !MemoryStream.PROTOCOL.equals(message.headers().getOrDefault("upgrade", ""))) {
      Answers.error(response, callback, HttpStatus.FORBIDDEN_403);
      return;
    }
    Optional<Guest> guest;
    try {
      guest = guests.of(migration.get());
    } catch (Exception e) {
      log.warn("no guest for the memory of {}", migration.get(), e);
      guest = Optional.empty();
    }
    if (guest.isEmpty()) {
      Answers.error(response, callback, HttpStatus.SERVICE_UNAVAILABLE_503);
      return;
    }
    Guest incoming = guest.get();
    Answers.upgrade(
        request,
        response,
        callback,
        MemoryStream.PROTOCOL,
        stream -> {
          try {
            MemoryRelay.deliver(incoming, new Arriving(stream));
          } catch (IOException e) {
            log.warn("the memory stream of {} broke off", migration.get(), e);
          }
        });
  }

  private record Arriving(RawStream raw) implements MemoryRelay.Stream {
    @Override
    public InputStream in() {
      return raw.input();
    }

    @Override
    public OutputStream out() {
      return raw.output();
    }

    @Override
    public void shutdownOutput() {
      // The sender has nothing to wait for: it closes once the guest here has the whole stream.
    }

    @Override
    public void close() {
      raw.close();
    }
  }
}
