package io.xenferry.server.metrics;

import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Router;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.Semaphore;
import java.util.function.Predicate;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Fields;
import org.jspecify.annotations.Nullable;

/**
 * {@code GET /rrd_updates}, what is new since a time, and {@code GET /vm_rrd}, {@code /host_rrd}
 * and {@code /sr_rrd}, all there is of one object. A session, or a user's name and password.
 */
final class RrdRoutes {
  /** Some 25 MB of text; ten minutes of 500 VMs. */
  private static final int VALUES_LIMIT = 1_500_000;

  /** A function that clients may know, and of which no archive is kept, here or elsewhere. */
  private static final String NOT_KEPT = "LAST";

  /** An answer is built in memory: no more than these at once. */
  private static final int AT_ONCE = 4;

  private final Figures figures;
  private final ObjectDatabase database;
  private final String host;
  private final AdmittedRoutes routes;
  private final Semaphore building = new Semaphore(AT_ONCE);

  /**
   * @param host uuid of this one
   */
  RrdRoutes(Figures figures, ObjectDatabase database, String host, AdmittedRoutes routes) {
    this.figures = figures;
    this.database = database;
    this.host = host;
    this.routes = routes;
  }

  void mount(Router router) {
    mount(router, "/rrd_updates", "rrd_updates", this::updates);
    mount(router, "/vm_rrd", "vm_rrd", q -> whole(q, Owner.Kind.VM));
    mount(router, "/host_rrd", "host_rrd", q -> whole(q, Owner.Kind.HOST));
    mount(router, "/sr_rrd", "sr_rrd", q -> whole(q, Owner.Kind.SR));
    // As older clients ask.
    mount(router, "/vm_rrds", "get_vm_rrds", q -> whole(q, Owner.Kind.VM));
    mount(router, "/host_rrds", "get_host_rrds", q -> whole(q, Owner.Kind.HOST));
  }

  /**
   * @param json whether the client wants that
   */
  private record Query(Fields fields, boolean json) {
    @Nullable String value(String name) {
      return fields.getValue(name);
    }
  }

  /**
   * What to answer.
   *
   * @param text the document, or what is wrong
   */
  private record Reply(int status, String text) {}

  private interface Work {
    Reply answer(Query query);
  }

  private void mount(Router router, String path, String action, Work work) {
    router.route("GET", path, routes.handler(path, action, exchange -> reply(exchange, work)));
  }

  private static boolean wantsJson(Request request, Fields fields) {
    String accepted = request.getHeaders().get(HttpHeader.ACCEPT);
    return fields.get("json") != null
        || (accepted != null && accepted.contains("application/json"));
  }

  private void reply(AdmittedRoutes.Exchange exchange, Work work) {
    Query query = new Query(exchange.query(), wantsJson(exchange.request(), exchange.query()));
    Response response = exchange.response();
    Callback callback = exchange.callback();
    Reply reply;
    if (!building.tryAcquire()) {
      Answers.error(response, callback, HttpStatus.SERVICE_UNAVAILABLE_503);
      return;
    }
    try {
      reply = work.answer(query);
    } finally {
      building.release();
    }
    if (reply.status() != HttpStatus.OK_200) {
      Answers.error(response, callback, reply.status(), reply.text());
      return;
    }
    response.getHeaders().put("Access-Control-Allow-Origin", "*");
    response.getHeaders().put("Access-Control-Allow-Headers", "X-Requested-With");
    Answers.bytes(
        response,
        callback,
        HttpStatus.OK_200,
        query.json() ? "application/json" : "text/xml",
        reply.text().getBytes(StandardCharsets.UTF_8));
  }

  private Reply updates(Query query) {
    OptionalLong start = number(query.value("start"));
    OptionalLong interval =
        query.value("interval") == null ? OptionalLong.of(0) : number(query.value("interval"));
    if (start.isEmpty()) {
      return wrong("start must be a time, in seconds since 1970.");
    }
    if (interval.isEmpty()) {
      return wrong("interval must be a number of seconds.");
    }
    if (NOT_KEPT.equals(query.value("cf"))) {
      return wrong("cf=LAST is not kept here: there are AVERAGE, MIN and MAX.");
    }
    // As published servers do: a word that is no function at all asks for all of them.
    Optional<Consolidation> how =
        Arrays.stream(Consolidation.values())
            .filter(c -> c.name().equals(query.value("cf")))
            .findFirst();
    Set<String> vms = Set.copyOf(query.fields().getValuesOrEmpty("vm_uuid"));
    Set<String> srs = Set.copyOf(query.fields().getValuesOrEmpty("sr_uuid"));
    boolean withHost = "true".equals(query.value("host"));
    Predicate<Owner> wanted =
        owner ->
            switch (owner.kind()) {
              case VM -> vms.isEmpty() || vms.contains(owner.uuid());
              case HOST -> withHost;
              case SR -> srs.contains(owner.uuid());
            };
    return figures
        .table(start.getAsLong(), interval.getAsLong(), how, wanted, VALUES_LIMIT)
        .map(table ->
            new Reply(
                HttpStatus.OK_200, query.json() ? Documents.json(table) : Documents.xml(table)))
        .orElseGet(() ->
            new Reply(
                HttpStatus.PAYLOAD_TOO_LARGE_413,
                "More than "
                    + VALUES_LIMIT
                    + " values: ask for fewer objects, a later start or a longer interval."));
  }

  private static Reply wrong(String why) {
    return new Reply(HttpStatus.BAD_REQUEST_400, why);
  }

  /** Seconds, with or without a fraction. */
  private static OptionalLong number(@Nullable String text) {
    if (text == null || !text.matches("[0-9]{1,12}([.][0-9]{0,20})?")) {
      return OptionalLong.empty();
    }
    int point = text.indexOf('.');
    return OptionalLong.of(Long.parseLong(point < 0 ? text : text.substring(0, point)));
  }

  private Reply whole(Query query, Owner.Kind kind) {
    String uuid = kind == Owner.Kind.HOST ? host : query.value("uuid");
    if (uuid == null) {
      return wrong("uuid must name the object.");
    }
    if (database.snapshot().byUuid(kind.className(), uuid).isEmpty()) {
      return new Reply(HttpStatus.NOT_FOUND_404, "");
    }
    return figures
        .with(
            new Owner(kind, uuid),
            archive ->
                query.json() ? Documents.rrdJson(archive, kind) : Documents.rrdXml(archive, kind))
        .map(document -> new Reply(HttpStatus.OK_200, document))
        .orElseGet(() -> new Reply(HttpStatus.NOT_FOUND_404, ""));
  }
}
