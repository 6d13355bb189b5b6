package io.xenferry.packaging;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import io.xenferry.wire.XmlRpcXenApi;
import java.io.IOException;
import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The XenAPI of one site with a session of root's; quicker than a client as a process. */
final class Api implements AutoCloseable {
  private final XmlRpcXenApi server;
  private final Value session;

  Api(Site site) throws IOException, XenApiException {
    server =
        new XmlRpcXenApi(
            URI.create("https://" + site.hostAndPort()),
            Trust.pinned(new Fingerprint(site.fingerprint())),
            Duration.ofSeconds(60));
    session =
        server.call("session.login_with_password", Value.of("root"), Value.of(site.rootPassword()));
  }

  Value call(String method, Value... parameters) throws XenApiException {
    List<Value> all = new ArrayList<>(List.of(session));
    all.addAll(List.of(parameters));
    return server.call(method, all);
  }

  String text(String method, String... parameters) throws XenApiException {
    return text(call(method, values(parameters)));
  }

  List<String> texts(String method, String... parameters) throws XenApiException {
    return ((Value.Array) call(method, values(parameters)))
        .items().stream().map(Api::text).toList();
  }

  /** Makes an object of a class; its reference. */
  String create(String className, Map<String, Value> record) throws XenApiException {
    return text(call(className + ".create", Value.Struct.of(record)));
  }

  private static Value[] values(String... texts) {
    Value[] all = new Value[texts.length];
    for (int i = 0; i < texts.length; i++) {
      all[i] = Value.of(texts[i]);
    }
    return all;
  }

  private static String text(Value value) {
    return ((Value.Text) value).text();
  }

  @Override
  public void close() {
    server.close();
  }
}
