package io.xenferry.server.messages;

import io.xenferry.model.Type;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.event.Alert;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.schema.Coercion;
import io.xenferry.wire.Content;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** The class {@code message}: alerts, which clients make, list and dismiss. */
final class AlertMessages {
  private static final String TEST = "AlertTest.";

  /** Classes of objects by the words of the enumeration; the others are named like theirs. */
  private static final Map<String, String> CLASSES = Map.of("Host", "host", "Pool", "pool");

  private AlertMessages() {}

  static void register(Registry r) {
    r.implement("message.create", AlertMessages::create, TEST + "anAlertComesAndGoes");
    r.implement(
        "message.destroy", c -> destroy(c, List.of(c.text(0))), TEST + "anAlertComesAndGoes");
    r.implement(
        "message.destroy_many", c -> destroy(c, c.texts(0)), TEST + "severalAreDismissedAtOnce");
    r.implement(
        "message.destroy_all", AlertMessages::destroyAll, TEST + "thoseThatFitAreDismissed");
    r.implement(
        "message.get_all",
        c -> Value.ofTexts(alerts(c).all().stream().map(Alert::ref).toList()),
        TEST + "anAlertComesAndGoes");
    r.stream("message.get_all_records", c -> records(c, a -> true), TEST + "theyAreListed");
    // Whatever is asked, as with the published server: they are in no table.
    r.stream("message.get_all_records_where", c -> records(c, a -> true), TEST + "theyAreListed");
    r.stream(
        "message.get_since",
        c -> records(c, a -> a.timestamp().isAfter(c.time(0))),
        TEST + "theyAreListed");
    r.stream(
        "message.get",
        c ->
            records(
                c,
                a ->
                    a.of().equals(c.text(0))
                        && a.object().equals(c.text(1))
                        && a.timestamp().isAfter(c.time(2))),
        TEST + "theyAreListed");
    r.implement(
        "message.get_record", c -> alerts(c).get(c.text(0)).record(), TEST + "anAlertComesAndGoes");
    r.implement("message.get_by_uuid", AlertMessages::byUuid, TEST + "anAlertComesAndGoes");
  }

  private static Alerts alerts(Call c) {
    return c.server().alerts();
  }

  private static Value create(Call c) throws XenApiException {
    String of = c.text(2);
    String object = c.text(3);
    String className = CLASSES.getOrDefault(of, of);
    if (c.server().db().snapshot().byUuid(className, object).isEmpty()) {
      throw new XenApiException("UUID_INVALID", of, object);
    }
    return Value.of(alerts(c).create(c.text(0), c.integer(1), of, object, c.text(4)).ref());
  }

  private static Value destroy(Call c, List<String> refs) throws XenApiException {
    alerts(c).destroy(refs);
    return Value.VOID;
  }

  /** Those older than {@code before}, newer than {@code after} and of one {@code priority}. */
  private static Value destroyAll(Call c) throws XenApiException {
    Predicate<Alert> wanted = a -> true;
    for (Map.Entry<String, String> filter : c.textMap(0).entrySet()) {
      wanted = wanted.and(filter(filter.getKey(), filter.getValue()));
    }
    alerts(c).destroyIf(wanted);
    return Value.VOID;
  }

  private static Predicate<Alert> filter(String key, String value) throws XenApiException {
    return switch (key) {
      case "before" -> {
        Instant before = time(key, value);
        yield a -> a.timestamp().isBefore(before);
      }
      case "after" -> {
        Instant after = time(key, value);
        yield a -> a.timestamp().isAfter(after);
      }
      case "priority" -> {
        long priority = ((Value.Int) Coercion.coerce(key, Type.Basic.INT, Value.of(value))).value();
        yield a -> a.priority() == priority;
      }
      default -> throw new XenApiException("INVALID_VALUE", "filters", key);
    };
  }

  private static Instant time(String key, String value) throws XenApiException {
    return ((Value.Time) Coercion.coerce(key, Type.Basic.DATETIME, Value.of(value))).instant();
  }

  private static Value byUuid(Call c) throws XenApiException {
    return alerts(c).all().stream()
        .filter(a -> a.uuid().equals(c.text(0)))
        .findFirst()
        .map(a -> Value.of(a.ref()))
        .orElseThrow(() -> new XenApiException("UUID_INVALID", "message", c.text(0)));
  }

  /** The newest first. */
  private static Content records(Call c, Predicate<Alert> wanted) {
    List<Map.Entry<String, Content>> records = new ArrayList<>();
    for (Alert alert : alerts(c).all().reversed()) {
      if (wanted.test(alert)) {
        records.add(Map.entry(alert.ref(), Content.of(alert.record())));
      }
    }
    return new Content.Members(records);
  }
}
