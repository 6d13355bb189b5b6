package io.xenferry.server.http;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.LongAdder;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.jspecify.annotations.Nullable;

/**
 * Finds the handler by method and the longest registered path that is the request's or a parent of
 * it. An address that can be read in two ways (encoded slashes, dots, zero bytes) or breaks the
 * rules of addresses is 400, whatever it names. A method with routes but none for the path is 403,
 * a method without any is 501, as published servers answer.
 */
public final class Router extends Handler.Abstract {
  private final Map<String, TreeMap<String, Route>> routes = new HashMap<>();

  /** Where requests go, and how many have gone there. */
  private static final class Route {
    final Request.Handler handler;
    final LongAdder requests = new LongAdder();
    final LongAdder connections = new LongAdder();

    Route(Request.Handler handler) {
      this.handler = handler;
    }
  }

  /**
   * Requests that a path has had since the start.
   *
   * @param connections of which this was the first request
   */
  public record Requests(String method, String path, long count, long connections) {}

  /**
   * Before the server starts only.
   *
   * @param path without a slash at the end, unless it is {@code /}, which matches everything
   */
  public Router route(String method, String path, Request.Handler handler) {
    if (routes.computeIfAbsent(method, m -> new TreeMap<>()).put(path, new Route(handler))
        != null) {
      throw new IllegalArgumentException(method + " " + path + " has two handlers");
    }
    return this;
  }

  @Override
  public boolean handle(Request request, Response response, Callback callback) throws Exception {
    if (request.getHttpURI().hasViolations()) {
      Answers.error(response, callback, HttpStatus.BAD_REQUEST_400);
      return true;
    }
    TreeMap<String, Route> paths = routes.get(request.getMethod());
    if (paths == null) {
      Answers.error(response, callback, HttpStatus.NOT_IMPLEMENTED_501);
      return true;
    }
    Route route = find(paths, Request.getPathInContext(request));
    if (route == null) {
      Answers.error(response, callback, HttpStatus.FORBIDDEN_403);
      return true;
    }
    route.requests.increment();
    if (request.getConnectionMetaData().getConnection().getMessagesIn() <= 1) {
      route.connections.increment();
    }
    return route.handler.handle(request, response, callback);
  }

  /** By method and path. */
  public List<Requests> requests() {
    List<Requests> all = new ArrayList<>();
    new TreeMap<>(routes)
        .forEach((method, paths) ->
            paths.forEach((path, route) ->
                all.add(
                    new Requests(method, path, route.requests.sum(), route.connections.sum()))));
    return all;
  }

  private static @Nullable Route find(TreeMap<String, Route> paths, String path) {
    for (String p = path; !p.isEmpty(); p = p.substring(0, p.lastIndexOf('/'))) {
      Route h = paths.get(p);
      if (h != null) {
        return h;
      }
      if (p.lastIndexOf('/') < 0) {
        break;
      }
    }
    return paths.get("/");
  }
}
