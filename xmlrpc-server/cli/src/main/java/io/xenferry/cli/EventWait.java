package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** {@code event-wait}: ends once an object of a class is as described. */
final class EventWait {
  private static final double WAIT_SECONDS = 30.0;

  private static final Set<String> CLASSES =
      Set.of(
          "vm", "vdi", "sr", "host", "network", "vif", "pif", "vbd", "pbd", "pool", "task", "vmss",
          "secret", "subject", "role");

  private EventWait() {}

  /** One condition on a record. */
  private record Wish(Selection.Condition condition, String value, boolean equal) {
    boolean granted(String ref, Map<String, Value> record) {
      return condition.holds(ref, record, value) == equal;
    }
  }

  static void run(Run run) throws XenApiException, CliException {
    String name = run.arguments().need("class");
    if (!CLASSES.contains(name)) {
      throw CliException.failed("No events to wait for in class '%s'".formatted(name));
    }
    RecordClass type = RecordClass.of(name);
    Calls calls = run.calls();
    String token = "";
    // The first event.from with an empty token answers with all objects there are, so nothing is
    // lost
    // between a look at them and the wait.
    while (true) {
      // What references show may have changed since: look it up anew.
      List<Wish> wishes = wishes(run, type);
      Value answer =
          calls.call(
              "event.from", Value.ofTexts(List.of(name)), Value.of(token), Value.of(WAIT_SECONDS));
      Map<String, Value> batch = Calls.members(answer);
      if (batch.getOrDefault("events", Value.VOID) instanceof Value.Array events) {
        for (Value event : events.items()) {
          Map<String, Value> e = Calls.members(event);
          Map<String, Value> record = Calls.members(e.getOrDefault("snapshot", Value.VOID));
          String ref = Calls.field(e, "ref");
          if (!record.isEmpty() && wishes.stream().allMatch(w -> w.granted(ref, record))) {
            return;
          }
        }
      }
      token = Calls.field(batch, "token");
    }
  }

  private static List<Wish> wishes(Run run, RecordClass type) throws CliException {
    Selection fresh = new Selection(run.calls(), new Display(run.calls()));
    List<Wish> wishes = new ArrayList<>();
    for (Map.Entry<String, String> e : Selection.filters(run.arguments(), Set.of("class"))) {
      boolean equal = !e.getValue().startsWith("/=");
      wishes.add(
          new Wish(
              fresh.condition(type, e.getKey()),
              equal ? e.getValue() : e.getValue().substring(2),
              equal));
    }
    return wishes;
  }
}
