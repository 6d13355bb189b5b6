package io.xenferry.server.messages;

import io.xenferry.server.call.Registry;
import io.xenferry.server.http.Certificate;

/**
 * The list of all messages with code of their own. A class that adds messages has a method {@code
 * register(Registry)} and a line here; whoever needs more than the call's context gets it through
 * the constructor.
 */
public final class Messages {
  private Messages() {}

  public static void register(Registry r, AllowedOperations allowed, Certificate certificate) {
    SessionMessages.register(r);
    SubjectMessages.register(r);
    TaskMessages.register(r);
    EventMessages.register(r);
    RoleMessages.register(r);
    AlertMessages.register(r);
    PoolMessages.register(r);
    PoolOfOneMessages.register(r);
    Refusals.register(r);
    new HostMessages(certificate).register(r);
    PlacementMessages.register(r);
    SecretMessages.register(r);
    NetworkMessages.register(r);
    PifMessages.register(r);
    new VifMessages(allowed).register(r);
    new VbdMessages(allowed).register(r);
    new VmRecordMessages(allowed).register(r);
    new VmSettingMessages(allowed).register(r);
    BiosStringMessages.register(r);
    TrafficMessages.register(r);
  }
}
