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
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.io.Content;
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

  /** A slow reader loses the oldest events: each holds the whole status. */
  private static final int QUEUE = 64;

  private static final Duration KEEP_ALIVE = Duration.ofSeconds(15);

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

  /** Of those who follow; an empty entry ends the following. */
  private final Set<BlockingQueue<Optional<MigrationStatus>>> followers =
      ConcurrentHashMap.newKeySet();

  private volatile boolean followingEnded;

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
    followingEnded = true;
    followers.forEach(queue -> put(queue, Optional.empty()));
  }

  private static void put(
      BlockingQueue<Optional<MigrationStatus>> queue, Optional<MigrationStatus> entry) {
    while (!queue.offer(entry)) {
      queue.poll();
    }
  }

  private boolean get(Request request, Response response, Callback callback) throws Exception {
    if (authenticate(request).isEmpty()) {
      return unauthorized(response, callback);
    }
    String path = Request.getPathInContext(request).substring(BASE.length());
    if (path.isEmpty() || path.equals("/")) {
      ArrayNode all = JSON.arrayNode();
      coordinator.statuses().forEach(s -> all.add(json(s)));
      queue.waiting().forEach(waits -> all.add(MigrationJson.of(waits)));
      return send(response, callback, HttpStatus.OK_200, all.toString());
    }
    if (path.equals("/events")) {
      return follow(response, callback, Optional.empty());
    }
    String[] parts = path.substring(1).split("/", -1);
    Optional<MoveQueue.Waiting> waits = waiting(parts[0]);
    if (waits.isPresent() && parts.length == 1) {
      return send(response, callback, HttpStatus.OK_200, MigrationJson.of(waits.get()).toString());
    }
    Optional<MigrationStatus> status = find(parts[0]);
    if (status.isEmpty() || parts.length > 2) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    if (parts.length == 1) {
      return send(response, callback, HttpStatus.OK_200, json(status.get()).toString());
    }
    if (parts[1].equals("events")) {
      return follow(response, callback, status);
    }
    Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
    return true;
  }

  private boolean patch(Request request, Response response, Callback callback) throws Exception {
    Optional<Session> session = operator(request, response, callback);
    if (session.isEmpty()) {
      return true;
    }
    String path = Request.getPathInContext(request).substring(BASE.length());
    Optional<MigrationStatus> status =
        path.startsWith("/") ? find(path.substring(1)) : Optional.empty();
    if (status.isEmpty()) {
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
    MigrationId id = status.get().migration();
    return decide(
        response,
        callback,
        coordinator.steer(id, status.get().role(), change),
        () -> find(id.toString()).map(known -> json(known).toString()).orElse("{}"));
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
    Optional<MoveQueue.Waiting> waits = parts.length == 3 ? waiting(parts[1]) : Optional.empty();
    if (waits.isPresent() && parts[2].equals("cancel") && queue.cancel(waits.get().migration())) {
      return send(response, callback, HttpStatus.OK_200, MigrationJson.of(waits.get()).toString());
    }
    Optional<MigrationStatus> status = parts.length == 3 ? find(parts[1]) : Optional.empty();
    if (status.isEmpty()) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    MigrationId id = status.get().migration();
    String operator = session.get().user();
    CompletableFuture<Void> decided;
    switch (parts[2]) {
      case "cancel" -> decided = coordinator.cancel(id, status.get().role());
      case "force-commit" -> decided = coordinator.forceCommit(id, operator);
      case "force-resume" -> decided = coordinator.forceResume(id, operator);
      case "release" -> decided = coordinator.release(id, status.get().role(), operator);
      default -> {
        Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
        return true;
      }
    }
    return decide(
        response,
        callback,
        decided,
        () -> find(parts[1]).map(known -> json(known).toString()).orElse("{}"));
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

  private Optional<MigrationStatus> find(String id) {
    MigrationId migration;
    try {
      migration = MigrationId.parse(id);
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
    return coordinator
        .status(migration, Role.SOURCE)
        .or(() -> coordinator.status(migration, Role.DESTINATION));
  }

  private Optional<MoveQueue.Waiting> waiting(String id) {
    return queue.waiting().stream()
        .filter(waits -> waits.migration().toString().equals(id))
        .findFirst();
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

  /** Sends the present state first, then each change. */
  private boolean follow(Response response, Callback callback, Optional<MigrationStatus> one)
      throws Exception {
    BlockingQueue<Optional<MigrationStatus>> queue = new ArrayBlockingQueue<>(QUEUE);
    AutoCloseable listener =
        coordinator.listen(status -> {
          if (one.isEmpty()
              || one.get().migration().equals(status.migration())
                  && one.get().role() == status.role()) {
            put(queue, Optional.of(status));
          }
        });
    response.getHeaders().put(HttpHeader.CONTENT_TYPE, "text/event-stream");
    response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache, no-store");
    try (listener;
        OutputStream out = Content.Sink.asOutputStream(response)) {
      followers.add(queue);
      out.flush(); // there may be nothing to tell for long
      for (MigrationStatus status : one.map(List::of).orElseGet(coordinator::statuses)) {
        event(out, status);
      }
      boolean ended = one.isPresent() && one.get().ended();
      while (!ended && !followingEnded) {
        Optional<MigrationStatus> next = queue.poll(KEEP_ALIVE.toSeconds(), TimeUnit.SECONDS);
        if (next == null) {
          out.write(":\n\n".getBytes(StandardCharsets.UTF_8));
          out.flush();
        } else if (next.isPresent()) {
          event(out, next.get());
          ended = one.isPresent() && next.get().ended();
        }
      }
    } catch (IOException e) {
      callback.failed(e);
      return true;
    } finally {
      followers.remove(queue);
    }
    callback.succeeded();
    return true;
  }

  private void event(OutputStream out, MigrationStatus status) throws IOException {
    out.write(("data: " + json(status) + "\n\n").getBytes(StandardCharsets.UTF_8));
    out.flush();
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
