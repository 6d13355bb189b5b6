package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.server.call.Registry;

/** Events, which the database's generations tell. */
final class EventMessages {
  private static final String TEST = "EventTest";

  private EventMessages() {}

  static void register(Registry r) {
    r.stream(
        "event.from",
        c -> c.server().events().from(c.caller().ref(), c.texts(0), c.text(1), c.real(2)),
        TEST + ".aChangeWakesAWaitingCall");
    r.stream(
        "event.next",
        c -> c.server().events().next(c.caller().ref()),
        TEST + ".theOldInterfaceWorks");
    r.implement(
        "event.register",
        c -> {
          c.server().events().register(c.caller().ref(), c.texts(0));
          return Value.VOID;
        },
        TEST + ".theOldInterfaceWorks");
    r.implement(
        "event.unregister",
        c -> {
          c.server().events().unregister(c.caller().ref(), c.texts(0));
          return Value.VOID;
        },
        TEST + ".theOldInterfaceWorks");
    r.implement(
        "event.get_current_id",
        c -> Value.of(c.server().events().currentId()),
        TEST + ".theOldInterfaceWorks");
    r.implement(
        "event.inject",
        c -> Value.of(c.server().events().inject(c.text(0), c.text(1))),
        TEST + ".anInjectedChangeIsAFence");
  }
}
