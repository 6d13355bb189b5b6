package io.xenferry.server.http;

import io.xenferry.model.XenApiException;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.call.HttpAccess;
import io.xenferry.server.call.ServerContext;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.Tasks;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Fields;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Paths beside the calls that want a session, or a user's name and password. A client may name a
 * task of its own, {@code task_id}: it shows how far the work is, cancels it, and ends with the
 * request. What is more than reading figures is noted in the audit log.
 */
public final class AdmittedRoutes {
  private static final Logger LOG = LoggerFactory.getLogger(AdmittedRoutes.class);

  /** For content of any size; each read and write has the connection's own. */
  public static final Duration DEADLINE = Duration.ofMinutes(10);

  /** Parameters that name what a request is about, and are no secrets. */
  private static final List<String> TOLD =
      List.of("ref", "uuid", "cls", "vdi", "sr_id", "since", "dry_run");

  /** Of what may be told: a reference, a uuid, a time, a word. */
  private static final Pattern HARMLESS = Pattern.compile("[-A-Za-z0-9:._ ]{1,100}");

  private final HttpAccess access;
  private final Sessions sessions;
  private final Tasks tasks;
  private final Audit audit;

  public AdmittedRoutes(ServerContext server) {
    this.access = new HttpAccess(server.sessions());
    this.sessions = server.sessions();
    this.tasks = server.tasks();
    this.audit = server.audit();
  }

  /**
   * A request of somebody who may make it.
   *
   * @param task that the client has named
   * @param end of its time, in the clock of {@link System#nanoTime}
   * @param failure what went wrong, for the request's task
   */
  public record Exchange(
      Request request,
      Fields query,
      HttpAccess.Answer who,
      Response response,
      Callback callback,
      Optional<Task> task,
      long end,
      AtomicReference<@Nullable XenApiException> failure) {

    /** A parameter of the address. */
    public @Nullable String value(String name) {
      return query.getValue(name);
    }

    /**
     * Between the pieces of what comes or goes.
     *
     * @throws IOException the client takes too long, or has cancelled its task
     */
    public void requireTime() throws IOException {
      if (System.nanoTime() - end > 0) {
        throw new IOException("the client takes too long");
      }
      if (task.isPresent() && task.get().cancelled()) {
        failure.compareAndSet(null, new XenApiException("TASK_CANCELLED", task.get().ref()));
        throw new IOException("the task was cancelled");
      }
    }

    /** Refuses before anything is answered, and says why with the task. */
    public void refuse(int status, XenApiException why) {
      failure.compareAndSet(null, why);
      Answers.error(response, callback, status);
    }

    /** The connection breaks off: nobody shall take half an answer for a whole one. */
    public void breakOff(Exception why) {
      failure.compareAndSet(
          null,
          why instanceof XenApiException e
              ? e
              : new XenApiException("INTERNAL_ERROR", String.valueOf(why.getMessage()))
                  .withCause(why));
      callback.failed(why);
    }

    /** What writes an answer of unknown length. */
    @FunctionalInterface
    public interface Writer {
      void to(OutputStream out) throws IOException;
    }

    /** Answers with what is written as it is written. */
    public void stream(String contentType, Writer writer) {
      response.setStatus(HttpStatus.OK_200);
      response.getHeaders().put(HttpHeader.CONTENT_TYPE, contentType);
      response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache, no-store");
      OutputStream out = new BufferedOutputStream(Content.Sink.asOutputStream(response), PIECE);
      try {
        writer.to(out);
        out.close();
      } catch (IOException e) {
        breakOff(e);
        return;
      }
      callback.succeeded();
    }
  }

  private static final int PIECE = 64 << 10;

  /** What is done for whom is admitted. */
  @FunctionalInterface
  public interface Work {
    /** Answers, whatever comes of it. */
    void answer(Exchange exchange);
  }

  /**
   * @param path which the request's must be, not only begin with
   * @param action of the data model, for example {@code rrd_updates}
   */
  public Request.Handler handler(String path, String action, Work work) {
    Request.Handler admitted = below(action, work);
    return (request, response, callback) -> {
      if (!Request.getPathInContext(request).equals(path)) {
        Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
        return true;
      }
      return admitted.handle(request, response, callback);
    };
  }

  /**
   * The same for the paths below as well: the work looks which it is.
   *
   * @param action of the data model
   */
  public Request.Handler below(String action, Work work) {
    return (request, response, callback) -> {
      Fields query;
      try {
        query = Request.extractQueryParameters(request);
      } catch (IllegalArgumentException e) { // a wrong escape
        Answers.error(response, callback, HttpStatus.BAD_REQUEST_400);
        return true;
      }
      HttpAccess.Answer who =
          access.admit(
              action,
              parameter(request, query, "session_id"),
              Optional.ofNullable(request.getHeaders().get(HttpHeader.AUTHORIZATION)),
              Answers.origin(request));
      Optional<Audit.Entry> entry = entry(action, who, request, query);
      try {
        if (who instanceof HttpAccess.Refused refused) {
          if (refused.session().isPresent()) {
            entry.ifPresent(Audit.Entry::denied);
          }
          if (refused.status() == HttpStatus.UNAUTHORIZED_401) {
            response.getHeaders().put(HttpHeader.WWW_AUTHENTICATE, "Basic realm=\"XenFerry\"");
          }
          Answers.error(response, callback, refused.status());
        } else {
          within(
              parameter(request, query, "task_id"),
              task ->
                  new Exchange(
                      request,
                      query,
                      who,
                      response,
                      callback,
                      task,
                      System.nanoTime() + DEADLINE.toNanos(),
                      new AtomicReference<>()),
              work,
              entry);
        }
      } finally {
        access.end(who);
      }
      return true;
    };
  }

  /** Of the address, else of a cookie. */
  private static Optional<String> parameter(Request request, Fields query, String name) {
    return Optional.ofNullable(query.getValue(name))
        .or(() ->
            Request.getCookies(request).stream()
                .filter(cookie -> cookie.getName().equals(name))
                .map(cookie -> cookie.getValue())
                .findFirst());
  }

  private Optional<Audit.Entry> entry(
      String action, HttpAccess.Answer who, Request request, Fields query) {
    Optional<Session> session =
        switch (who) {
          case HttpAccess.Local l -> Optional.empty();
          case HttpAccess.Refused r -> r.session();
          case HttpAccess.Admitted a -> Optional.of(a.session());
        };
    SequencedMap<String, String> told = new LinkedHashMap<>();
    for (String name : TOLD) {
      String value = query.getValue(name);
      if (value != null && HARMLESS.matcher(value).matches() && !sessions.isLive(value)) {
        told.put(name, value);
      }
    }
    return audit.request(action, session, told, Answers.origin(request).address());
  }

  private interface Made {
    Exchange with(Optional<Task> task);
  }

  private void within(Optional<String> named, Made made, Work work, Optional<Audit.Entry> entry) {
    if (named.isEmpty()) {
      Exchange exchange = made.with(Optional.empty());
      try {
        work.answer(exchange);
      } finally {
        note(exchange, entry);
      }
      return;
    }
    Exchange exchange = made.with(Optional.empty());
    String ref = named.get();
    if (!tasks.isPending(ref)) {
      Answers.error(
          exchange.response(),
          exchange.callback(),
          HttpStatus.BAD_REQUEST_400,
          "task_id must be a task that has not ended.");
      return;
    }
    if (!mayEnd(exchange.who(), ref)) {
      Answers.error(exchange.response(), exchange.callback(), HttpStatus.FORBIDDEN_403);
      return;
    }
    Optional<Task> task = tasks.carryOut(ref);
    if (task.isEmpty()) {
      Answers.error(
          exchange.response(),
          exchange.callback(),
          HttpStatus.CONFLICT_409,
          "task_id must be a task that nobody works at.");
      return;
    }
    Exchange inTask = made.with(task);
    try {
      work.answer(inTask);
    } finally {
      note(inTask, entry);
      end(ref, inTask);
    }
  }

  private static void note(Exchange exchange, Optional<Audit.Entry> entry) {
    if (entry.isEmpty()) {
      return;
    }
    int status = exchange.response().getStatus();
    XenApiException failure = exchange.failure().get();
    if (failure != null) {
      entry.get().failed(failure.code());
    } else if (HttpStatus.isSuccess(status)) {
      entry.get().done();
    } else {
      entry.get().failed(Integer.toString(status));
    }
  }

  /** Others' tasks are for operators, as with the calls. */
  private boolean mayEnd(HttpAccess.Answer who, String task) {
    return switch (who) {
      case HttpAccess.Local l -> true;
      case HttpAccess.Refused r -> false;
      case HttpAccess.Admitted(var session, var temporary) ->
          session.operator()
              || tasks.owner(task).map(owner -> owner.equals(session.user())).orElse(false);
    };
  }

  private void end(String task, Exchange exchange) {
    int status = exchange.response().getStatus();
    XenApiException failure = exchange.failure().get();
    try {
      if (failure != null) {
        tasks.fail(task, failure);
      } else if (HttpStatus.isSuccess(status)) {
        tasks.succeed(task, "");
      } else {
        tasks.fail(
            task, new XenApiException("INTERNAL_ERROR", "the request was answered " + status));
      }
    } catch (XenApiException e) {
      LOG.warn("task {} of a request could not be ended", task, e);
    }
  }
}
