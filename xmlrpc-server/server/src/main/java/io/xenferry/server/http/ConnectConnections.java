package io.xenferry.server.http;

import io.xenferry.server.call.Origin;
import io.xenferry.server.config.LimitsConfig;
import java.io.IOException;
import java.io.InputStream;
import java.util.Map;

/**
 * {@code CONNECT /…}. Published clients send a path where HTTP wants a host, decoded, so that it
 * may hold spaces: it lies between the line's first and last one.
 */
final class ConnectConnections extends RawConnections<ConnectConnections.Request> {
  private final ConnectService service;

  ConnectConnections(ConnectService service, LimitsConfig limits, HeadDeadline heads) {
    super("connect", "CONNECT /", limits, heads);
    this.service = service;
  }

  record Request(String target, Map<String, String> headers) {}

  @Override
  Request read(Head head, InputStream in) throws IOException {
    int first = head.line().indexOf(' ');
    int last = head.line().lastIndexOf(' ');
    if (last <= first) {
      throw new IOException("no request line");
    }
    return new Request(head.line().substring(first + 1, last).strip(), head.headers());
  }

  @Override
  void serve(Request request, RawStream stream, Origin origin) throws IOException {
    service.serve(request.target(), request.headers(), stream, origin);
  }
}
