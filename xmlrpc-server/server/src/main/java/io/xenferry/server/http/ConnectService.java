package io.xenferry.server.http;

import io.xenferry.server.call.Origin;
import java.io.IOException;
import java.util.Map;

/** Answers CONNECT requests that name a path of this server. */
@FunctionalInterface
public interface ConnectService {
  /**
   * Writes the HTTP answer and, if that is a success, speaks whatever comes then; the connection
   * ends when it returns.
   *
   * @param target path and query as the client sent them
   * @param headers by lower-case name
   */
  void serve(String target, Map<String, String> headers, RawStream stream, Origin origin)
      throws IOException;
}
