package io.xenferry.server.http;

import io.xenferry.server.call.Origin;
import java.io.IOException;

/** The server half of {@code xe}: everything after the request's body is read. */
@FunctionalInterface
public interface CliService {
  /**
   * Speaks the thin CLI protocol until the command is done; the connection ends when it returns.
   */
  void serve(byte[] body, RawStream stream, Origin origin) throws IOException;
}
