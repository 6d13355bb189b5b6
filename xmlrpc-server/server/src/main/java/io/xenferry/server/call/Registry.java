package io.xenferry.server.call;

import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.model.XenApiException;
import io.xenferry.wire.Content;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * Messages with code of their own, and those that are refused although they could be done
 * generically. Filled once at start-up, then only read.
 */
public final class Registry {

  /** What becomes of a message. */
  public sealed interface Entry {}

  /**
   * @param test the test that shows it, {@code Class.method}
   */
  public record Implemented(StreamHandler handler, String test) implements Entry {}

  /** Follows from the fields. */
  public record Generic() implements Entry {}

  /**
   * @param code what it answers
   */
  public record Refused(String code) implements Entry {}

  // Custom messages with an accessor's name that do nothing but store: words for people, and maps
  // and lists that clients keep for themselves or that are read when something else happens.
  private static final Set<String> STORED =
      Set.of(
          "name_label",
          "name_description",
          "other_config",
          "tags",
          "platform",
          "blocked_operations",
          "start_delay",
          "shutdown_delay",
          "order",
          "actions_after_crash");

  // Generated setters that ought to act on a guest, a disk or the network.
  private static final Set<String> ACTS =
      Set.of(
          "VBD.set_qos_algorithm_type",
          "VBD.set_qos_algorithm_params",
          "VBD.add_to_qos_algorithm_params",
          "VBD.remove_from_qos_algorithm_params",
          "VIF.set_qos_algorithm_type",
          "VIF.set_qos_algorithm_params",
          "VIF.add_to_qos_algorithm_params",
          "VIF.remove_from_qos_algorithm_params",
          "pool.set_ha_allow_overcommit",
          "pool.set_wlb_enabled",
          "pool.set_wlb_verify_cert",
          "VM.set_ha_restart_priority",
          "VM.set_ha_always_run",
          "VM.set_HVM_shadow_multiplier",
          "host.set_display");

  private final Map<String, Entry> entries = new TreeMap<>();

  /**
   * @param test the test that shows it, {@code Class.method}, for the table of coverage
   */
  public void implement(String wireName, Handler handler, String test) {
    stream(wireName, call -> Content.of(handler.call(call)), test);
  }

  public void stream(String wireName, StreamHandler handler, String test) {
    require(wireName);
    entries.put(wireName, new Implemented(handler, test));
  }

  /** Answers NOT_IMPLEMENTED [name] although it could be done generically. */
  public void refuse(String... wireNames) {
    for (String n : wireNames) {
      require(n);
      entries.put(n, new Refused("NOT_IMPLEMENTED"));
    }
  }

  /** Lets a custom message with an accessor's name be done generically: it only stores. */
  public void generic(String... wireNames) {
    for (String n : wireNames) {
      require(n);
      entries.put(n, new Generic());
    }
  }

  private static void require(String wireName) {
    if (DataModel.message(wireName).isEmpty()) {
      throw new IllegalArgumentException("the data model has no message " + wireName);
    }
  }

  public Entry entry(MessageDef m) {
    Entry known = entries.get(m.wireName());
    if (known != null) {
      return known;
    }
    if (m.lifecycle().removed()) {
      return new Refused("MESSAGE_REMOVED");
    }
    if (ACTS.contains(m.wireName())) {
      return new Refused("NOT_IMPLEMENTED");
    }
    if (m.generated()) {
      return new Generic();
    }
    Optional<MessageDef.Kind> kind = DataModel.accessorKind(m);
    if (kind.isPresent() && m.field().isPresent()) {
      boolean stores = kind.get() != MessageDef.Kind.GET;
      if (!stores || STORED.contains(m.field().get().name())) {
        return new Generic();
      }
    }
    return new Refused("NOT_IMPLEMENTED");
  }

  static XenApiException refusal(MessageDef m, Refused r) {
    return r.code().equals("NOT_IMPLEMENTED")
        ? new XenApiException(r.code(), m.wireName())
        : new XenApiException(r.code());
  }
}
