package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Registry;

/** The class {@code message}: this server keeps no alerts, and says so in the class's own terms. */
final class AlertMessages {
  private static final String TEST = "CoverageTest.thereAreNoAlerts";

  private AlertMessages() {}

  static void register(Registry r) {
    r.implement("message.get_all", c -> Value.ofTexts(java.util.List.of()), TEST);
    for (String name :
        new String[] {"get", "get_since", "get_all_records", "get_all_records_where"}) {
      r.implement("message." + name, c -> Value.ofTexts(java.util.Map.of()), TEST);
    }
    for (String name : new String[] {"get_record", "destroy"}) {
      r.implement(
          "message." + name,
          c -> {
            throw new XenApiException("HANDLE_INVALID", "message", c.text(0));
          },
          TEST);
    }
    r.implement(
        "message.get_by_uuid",
        c -> {
          throw new XenApiException("UUID_INVALID", "message", c.text(0));
        },
        TEST);
  }
}
