package io.xenferry.server.http;

import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
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
  private final Map<String, TreeMap<String, Request.Handler>> routes = new HashMap<>();

  /**
   * Before the server starts only.
   *
   * @param path without a slash at the end, unless it is {@code /}, which matches everything
   */
  public Router route(String method, String path, Request.Handler handler) {
    if (routes.computeIfAbsent(method, m -> new TreeMap<>()).put(path, handler) != null) {
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
    TreeMap<String, Request.Handler> paths = routes.get(request.getMethod());
    if (paths == null) {
      Answers.error(response, callback, HttpStatus.NOT_IMPLEMENTED_501);
      return true;
    }
    Request.Handler handler = find(paths, Request.getPathInContext(request));
    if (handler == null) {
      Answers.error(response, callback, HttpStatus.FORBIDDEN_403);
      return true;
    }
    return handler.handle(request, response, callback);
  }

  private static Request.@Nullable Handler find(
      TreeMap<String, Request.Handler> paths, String path) {
    for (String p = path; !p.isEmpty(); p = p.substring(0, p.lastIndexOf('/'))) {
      Request.Handler h = paths.get(p);
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
