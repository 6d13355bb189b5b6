package io.xenferry.server.http;

import io.xenferry.model.XenApiException;
import io.xenferry.server.call.HttpAccess;
import io.xenferry.server.session.Sessions;
import io.xenferry.server.task.Tasks;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Fields;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Paths beside the calls that want a session, or a user's name and password. A client may name a
 * task of its own, {@code task_id}, which ends with the request: it waits for that.
 */
public final class AdmittedRoutes {
  private static final Logger LOG = LoggerFactory.getLogger(AdmittedRoutes.class);

  private final HttpAccess access;
  private final Tasks tasks;

  public AdmittedRoutes(Sessions sessions, Tasks tasks) {
    this.access = new HttpAccess(sessions);
    this.tasks = tasks;
  }

  /**
   * A request of somebody who may make it.
   *
   * @param failure what went wrong after the answer had begun, for the request's task
   */
  public record Exchange(
      Request request,
      Fields query,
      HttpAccess.Answer who,
      Response response,
      Callback callback,
      AtomicReference<@Nullable XenApiException> failure) {

    /** A parameter of the address. */
    public @Nullable String value(String name) {
      return query.getValue(name);
    }
  }

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
    return (request, response, callback) -> {
      if (!Request.getPathInContext(request).equals(path)) {
        Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
        return true;
      }
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
      try {
        if (who instanceof HttpAccess.Refused(int status)) {
          if (status == HttpStatus.UNAUTHORIZED_401) {
            response.getHeaders().put(HttpHeader.WWW_AUTHENTICATE, "Basic realm=\"XenFerry\"");
          }
          Answers.error(response, callback, status);
        } else {
          within(
              parameter(request, query, "task_id"),
              new Exchange(request, query, who, response, callback, new AtomicReference<>()),
              work);
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

  private void within(Optional<String> task, Exchange exchange, Work work) {
    if (task.isEmpty()) {
      work.answer(exchange);
      return;
    }
    String ref = task.get();
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
    try {
      work.answer(exchange);
    } finally {
      end(ref, exchange);
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
