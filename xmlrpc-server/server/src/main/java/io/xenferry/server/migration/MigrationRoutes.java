package io.xenferry.server.migration;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.Steering;
import io.xenferry.model.XenApiException;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.call.HttpAccess;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Router;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Fields;

/**
 * The REST interface of migrations, for people and their programs; docs/rest.md lists it.
 *
 * <pre>
 * GET    /v1/migrations                          all, oldest first
 * GET    /v1/migrations/{id}                     one
 * GET    /v1/migrations/{id}/events              its changes, as server-sent events, until it ends
 * GET    /v1/migrations/events                   those of all, without end
 * PATCH  /v1/migrations/{id}                     bandwidth, max-downtime, paused, cutover, strategy
 * POST   /v1/migrations/{id}/cancel | force-commit | force-resume | release
 * POST   /v1/migrations/accept-restored-ledger
 * POST   /v1/migrations?dry-run                  what stands against a move that is not begun
 * </pre>
 */
final class MigrationRoutes {
  private static final String BASE = "/v1/migrations";
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  /** An attribute of a request: who asks for more than to be told. */
  private static final String OPERATOR = "xenferry.operator";

  private static final Duration DECISION = Duration.ofSeconds(30);
  private static final Duration BODY = Duration.ofSeconds(20);

  /** Bytes; a handful of words. */
  private static final int LARGEST_CHANGE = 4096;

  private final Coordinator coordinator;
  private final SourceCopies copies;
  private final MoveQueue queue;
  private final Sessions sessions;
  private final DryRuns dryRuns;
  private final Audit audit;
  private final MigrationEvents events;

  MigrationRoutes(
      Coordinator coordinator,
      SourceCopies copies,
      MoveQueue queue,
      Sessions sessions,
      DryRuns dryRuns,
      Audit audit) {
    this.audit = audit;
    this.queue = queue;
    this.dryRuns = dryRuns;
    this.coordinator = coordinator;
    this.copies = copies;
    this.sessions = sessions;
    this.events = new MigrationEvents(coordinator, queue, this::json);
  }

  void mount(Router router) {
    router
        .route("GET", BASE, this::get)
        .route("POST", BASE, noted("post_migrations", this::post))
        .route("PATCH", BASE, noted("patch_migrations", this::patch));
  }

  /** In the audit log, with who asked for it. */
  private Request.Handler noted(String action, Request.Handler handler) {
    return (request, response, callback) -> {
      boolean handled = handler.handle(request, response, callback);
      if (request.getAttribute(OPERATOR) instanceof Session session) {
        String what = Request.getPathInContext(request).substring(BASE.length());
        Optional<Audit.Entry> entry =
            audit.request(
                action,
                Optional.of(session),
                Map.of("name", what),
                Answers.origin(request).address());
        int status = response.getStatus();
        if (status == HttpStatus.FORBIDDEN_403) {
          entry.ifPresent(Audit.Entry::denied);
        } else if (HttpStatus.isSuccess(status)) {
          entry.ifPresent(Audit.Entry::done);
        } else {
          entry.ifPresent(e -> e.failed(Integer.toString(status)));
        }
      }
      return handled;
    };
  }

  /** Ends all following, which would else keep a server from stopping at once. */
  void endFollowing() {
    events.end();
  }

  private boolean get(Request request, Response response, Callback callback) throws Exception {
    if (authenticate(request).isEmpty()) {
      return unauthorized(response, callback);
    }
    String path = Request.getPathInContext(request).substring(BASE.length());
    if (path.isEmpty() || path.equals("/")) {
      return send(response, callback, HttpStatus.OK_200, all().toString());
    }
    if (path.equals("/events")) {
      return events.follow(response, callback, Optional.empty(), Optional.empty());
    }
    String[] parts = path.substring(1).split("/", -1);
    Optional<Found> found = find(parts[0]);
    boolean follows = parts.length == 2 && parts[1].equals("events");
    if (found.isEmpty() || parts.length != 1 && !follows) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    if (follows) {
      return events.follow(
          response, callback, Optional.of(found.get().side()), found.get().queued());
    }
    return send(response, callback, HttpStatus.OK_200, json(found.get()).toString());
  }

  /** Those that wait are looked at first, so that one that begins meanwhile is not missed. */
  private ArrayNode all() {
    List<MoveQueue.Waiting> waiting = queue.waiting();
    ArrayNode all = JSON.arrayNode();
    Set<MigrationId> begun = new HashSet<>();
    for (MigrationStatus status : coordinator.statuses()) {
      all.add(json(status));
      if (status.role() == Role.SOURCE) {
        begun.add(status.migration());
      }
    }
    for (MoveQueue.Waiting waits : waiting) {
      if (!begun.contains(waits.migration())) {
        all.add(MigrationJson.of(waits));
      }
    }
    return all;
  }

  private boolean patch(Request request, Response response, Callback callback) throws Exception {
    Optional<Session> session = operator(request, response, callback);
    if (session.isEmpty()) {
      return true;
    }
    String path = Request.getPathInContext(request).substring(BASE.length());
    Optional<Found> found = path.startsWith("/") ? find(path.substring(1)) : Optional.empty();
    if (found.isEmpty()) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    Steering.Change change;
    try {
      change = SteeringWords.readJson(Answers.body(request, LARGEST_CHANGE, BODY));
    } catch (Answers.TooLarge e) {
      Answers.error(response, callback, HttpStatus.PAYLOAD_TOO_LARGE_413);
      return true;
    } catch (IOException e) {
      Answers.error(response, callback, Answers.unreadable(e));
      return true;
    } catch (XenApiException e) {
      return send(response, callback, HttpStatus.BAD_REQUEST_400, error(e.code(), e.params()));
    }
    if (found.get() instanceof Found.Queued) {
      return notBegun(response, callback, found.get());
    }
    MigrationEvents.One side = found.get().side();
    return decide(
        response,
        callback,
        coordinator.steer(side.migration(), side.role(), change),
        () -> now(found.get()));
  }

  /** Who asks, if he may decide; else he has been answered. */
  private Optional<Session> operator(Request request, Response response, Callback callback)
      throws Exception {
    Optional<Session> session = authenticate(request);
    session.ifPresent(s -> request.setAttribute(OPERATOR, s));
    if (session.isEmpty()) {
      unauthorized(response, callback);
    } else if (!session.get().operator()) {
      send(
          response, callback, HttpStatus.FORBIDDEN_403, error("RBAC_PERMISSION_DENIED", List.of()));
      return Optional.empty();
    }
    return session;
  }

  private boolean post(Request request, Response response, Callback callback) throws Exception {
    String path = Request.getPathInContext(request).substring(BASE.length());
    if (path.isEmpty() || path.equals("/")) {
      Optional<Session> asking = authenticate(request);
      return asking.isPresent()
          ? dryRun(request, response, callback, asking.get())
          : unauthorized(response, callback);
    }
    Optional<Session> session = operator(request, response, callback);
    if (session.isEmpty()) {
      return true;
    }
    if (path.equals("/accept-restored-ledger")) {
      return decide(
          response, callback, coordinator.acceptRestoredLedger(session.get().user()), () -> "{}");
    }
    String[] parts = path.split("/", -1);
    Optional<Found> found = parts.length == 3 ? find(parts[1]) : Optional.empty();
    if (found.isEmpty()) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    boolean begun = found.get() instanceof Found.Begun;
    MigrationEvents.One side = found.get().side();
    MigrationId id = side.migration();
    String operator = session.get().user();
    CompletableFuture<Void> decided;
    switch (parts[2]) {
      case "cancel" -> decided = cancel(side);
      case "force-commit", "force-resume", "release" -> {
        if (!begun) {
          return notBegun(response, callback, found.get());
        }
        decided =
            switch (parts[2]) {
              case "force-commit" -> coordinator.forceCommit(id, operator);
              case "force-resume" -> coordinator.forceResume(id, operator);
              default -> coordinator.release(id, side.role(), operator);
            };
      }
      default -> {
        Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
        return true;
      }
    }
    return decide(response, callback, decided, () -> now(found.get()));
  }

  /** Of a move that waits for its turn, or is just beginning, as of one that has begun. */
  private CompletableFuture<Void> cancel(MigrationEvents.One side) {
    return queue
        .cancel(side.migration())
        .orElseGet(() -> coordinator.cancel(side.migration(), side.role()));
  }

  private static boolean notBegun(Response response, Callback callback, Found found) {
    XenApiException refused = MoveQueue.notBegun(found.side().migration());
    return send(
        response, callback, HttpStatus.CONFLICT_409, error(refused.code(), refused.params()));
  }

  /** Nothing is begun this way: what is no dry run is refused. */
  private boolean dryRun(Request request, Response response, Callback callback, Session session)
      throws Exception {
    Fields query = Request.extractQueryParameters(request);
    Fields.Field asked = query.get("dry-run");
    if (asked == null || asked.getValue() != null && asked.getValue().equals("false")) {
      return send(
          response,
          callback,
          HttpStatus.BAD_REQUEST_400,
          error("OPERATION_NOT_ALLOWED", List.of("A move is begun by VM.migrate_send.")));
    }
    try {
      DryRuns.authorize(session);
    } catch (XenApiException e) {
      return send(response, callback, HttpStatus.FORBIDDEN_403, error(e.code(), e.params()));
    }
    byte[] body;
    try {
      body = Answers.body(request, DryRuns.MAX_BODY, BODY);
    } catch (Answers.TooLarge e) {
      Answers.error(response, callback, HttpStatus.PAYLOAD_TOO_LARGE_413);
      return true;
    } catch (IOException e) {
      Answers.error(response, callback, Answers.unreadable(e));
      return true;
    }
    try {
      return send(
          response,
          callback,
          HttpStatus.OK_200,
          dryRuns.answer(body, Answers.origin(request).address()).toString());
    } catch (XenApiException e) {
      return send(response, callback, HttpStatus.BAD_REQUEST_400, error(e.code(), e.params()));
    }
  }

  /** Waits for a decision to be durable, and answers with what has come of it. */
  private static boolean decide(
      Response response, Callback callback, CompletableFuture<Void> decided, Supplier<String> now)
      throws InterruptedException {
    try {
      decided.get(DECISION.toSeconds(), TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof MigrationException refused) {
        return send(
            response, callback, HttpStatus.CONFLICT_409, error(refused.code(), refused.params()));
      }
      throw new IllegalStateException(e.getCause());
    } catch (TimeoutException e) {
      return send(response, callback, HttpStatus.ACCEPTED_202, now.get());
    }
    return send(response, callback, HttpStatus.OK_200, now.get());
  }

  /** A migration that somebody names. */
  private sealed interface Found {
    MigrationEvents.One side();

    /** As it stands in the queue, if it does. */
    Optional<MoveQueue.Waiting> queued();

    /** It is in the ledger. */
    record Begun(MigrationStatus status) implements Found {
      @Override
      public MigrationEvents.One side() {
        return new MigrationEvents.One(status.migration(), status.role());
      }

      @Override
      public Optional<MoveQueue.Waiting> queued() {
        return Optional.empty();
      }
    }

    /** It waits for its turn, or is just beginning. */
    record Queued(MoveQueue.Waiting waits) implements Found {
      @Override
      public MigrationEvents.One side() {
        return new MigrationEvents.One(waits.migration(), Role.SOURCE);
      }

      @Override
      public Optional<MoveQueue.Waiting> queued() {
        return Optional.of(waits);
      }
    }
  }

  private Optional<Found> find(String id) {
    MigrationId migration;
    try {
      migration = MigrationId.parse(id);
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
    // First who waits: it may be in the ledger a moment later.
    Optional<Found> waits = queue.waiting(migration).map(Found.Queued::new);
    return coordinator
        .status(migration, Role.SOURCE)
        .or(() -> waits.isPresent() ? Optional.empty() : atDestination(migration))
        .<Found>map(Found.Begun::new)
        .or(() -> waits);
  }

  private Optional<MigrationStatus> atDestination(MigrationId migration) {
    return coordinator.status(migration, Role.DESTINATION);
  }

  private ObjectNode json(Found found) {
    return switch (found) {
      case Found.Begun(MigrationStatus status) -> json(status);
      case Found.Queued(MoveQueue.Waiting waits) -> MigrationJson.of(waits);
    };
  }

  /** As it is by now; of one that came to nothing in the queue as it was. */
  private String now(Found found) {
    return json(find(found.side().migration().toString()).orElse(found)).toString();
  }

  private ObjectNode json(MigrationStatus status) {
    boolean source = status.role() == Role.SOURCE;
    ObjectNode json =
        MigrationJson.of(status, source ? copies.snapshot(status.migration()) : Optional.empty());
    if (source) {
      copies.transport(status.migration()).ifPresent(t -> json.put("transport", t.word()));
    }
    return json;
  }

  /** A session by cookie or query, the Unix socket's root, or a name and password for this once. */
  private Optional<Session> authenticate(Request request) throws Exception {
    if (Answers.origin(request).trusted()) {
      return Optional.of(new Session("", "root", "unix", new Session.Superuser()));
    }
    Fields query = Request.extractQueryParameters(request);
    String ref = query.getValue("session_id");
    if (ref == null) {
      ref =
          Request.getCookies(request).stream()
              .filter(c -> c.getName().equals("session_id"))
              .map(c -> c.getValue())
              .findFirst()
              .orElse(null);
    }
    try {
      if (ref != null) {
        return Optional.of(sessions.check(ref));
      }
      Optional<HttpAccess.Password> password =
          Optional.ofNullable(request.getHeaders().get(HttpHeader.AUTHORIZATION))
              .flatMap(HttpAccess::basic);
      if (password.isEmpty()) {
        return Optional.empty();
      }
      Session session =
          sessions.loginInPassing(password.get().user(), password.get().password(), "rest");
      sessions.close(session.ref());
      return Optional.of(session);
    } catch (XenApiException | IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  private static boolean unauthorized(Response response, Callback callback) {
    response.getHeaders().put(HttpHeader.WWW_AUTHENTICATE, "Basic realm=\"xenferry\"");
    Answers.error(response, callback, HttpStatus.UNAUTHORIZED_401);
    return true;
  }

  private static String error(String code, List<String> params) {
    ObjectNode node = JSON.objectNode();
    node.put("code", code);
    ArrayNode list = node.putArray("params");
    params.forEach(list::add);
    return node.toString();
  }

  private static boolean send(Response response, Callback callback, int status, String json) {
    Answers.bytes(
        response, callback, status, "application/json", json.getBytes(StandardCharsets.UTF_8));
    return true;
  }
}
