package io.xenferry.server.call;

import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Type;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.wire.Content;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

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
   * @param params and with which parameters; those of NOT_IMPLEMENTED and HANDLE_INVALID follow
   *     from the call
   */
  public record Refused(String code, List<String> params) implements Entry {
    Refused(String code) {
      this(code, List.of());
    }
  }

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
          "order");

  // Fields whose generated setters ought to act on a guest, a disk, the network or this host, now
  // or when a guest starts, which nothing here does. To store only would be a promise not kept.
  private static final Set<String> ACTS =
      Set.of(
          "GPU_group.allocation_algorithm",
          "SR.sm_config",
          "VBD.qos_algorithm_params",
          "VBD.qos_algorithm_type",
          "VDI.sm_config",
          "VDI.xenstore_data",
          "VGPU.extra_args",
          "VIF.qos_algorithm_params",
          "VIF.qos_algorithm_type",
          "VM.PCI_bus",
          "VM.PV_bootloader",
          "VM.PV_bootloader_args",
          "VM.PV_legacy_args",
          "VM.hardware_platform_version",
          "VM.xenstore_data",
          "host.address",
          "host.display",
          "host.hostname",
          "host.logging",
          "pool.auto_update_vm_secureboot_certificates",
          "pool.ha_allow_overcommit",
          "pool.ha_reboot_vm_on_internal_shutdown",
          "pool.is_psr_pending",
          "pool.limit_console_sessions",
          "pool.live_patching_disabled",
          "pool.migration_compression",
          "pool.policy_no_vendor_device",
          "pool.vm_console_idle_timeout",
          "pool.wlb_enabled",
          "pool.wlb_verify_cert",
          "tunnel.protocol",
          "tunnel.status");

  // Classes whose constructor ought to set something going: an account, a console, a
  // cache, a trace, a limit.
  private static final Set<String> NOT_MADE =
      Set.of("Caller", "Observer", "PVS_cache_storage", "Rate_limit", "console", "user");

  private final Map<String, Entry> entries = new TreeMap<>();
  private final Map<String, Guard> recordGuards = new TreeMap<>();
  private final Set<String> cancellable = new TreeSet<>();
  private final Set<String> withoutObjects = new TreeSet<>();

  /**
   * @param test the test that shows it, {@code Class.method}, for the table of coverage
   */
  public void implement(String wireName, Handler handler, String test) {
    stream(wireName, call -> Content.of(handler.call(call)), test);
  }

  /** Asked before a message, and told when it is over. */
  @FunctionalInterface
  public interface Guard {
    /**
     * @return closed when the message has been obeyed, or has failed
     * @throws XenApiException what is answered instead
     */
    Closeable enter(Call call) throws XenApiException;

    /** Closes without failing. */
    interface Closeable extends AutoCloseable {
      @Override
      void close();
    }
  }

  /** Something that may carry out a message in place of what is registered. */
  @FunctionalInterface
  public interface Special {
    /**
     * @return whether it did; if not, the message is carried out as registered
     */
    boolean done(Call call) throws XenApiException;
  }

  /** Lets a special case of a message that is implemented already be carried out otherwise. */
  public void instead(String wireName, Special special) {
    if (!(entries.get(wireName) instanceof Implemented(StreamHandler handler, String test))) {
      throw new IllegalArgumentException(wireName + " is not implemented");
    }
    StreamHandler first = call -> special.done(call) ? Content.of(Value.VOID) : handler.call(call);
    entries.put(wireName, new Implemented(first, test));
  }

  /** Lets a guard decide on a message that is implemented already. */
  public void guard(String wireName, Guard guard) {
    if (!(entries.get(wireName) instanceof Implemented(StreamHandler handler, String test))) {
      throw new IllegalArgumentException(wireName + " is not implemented");
    }
    StreamHandler guarded =
        call -> {
          try (var entered = guard.enter(call)) {
            return handler.call(call);
          }
        };
    entries.put(wireName, new Implemented(guarded, test));
  }

  /** Told of a message that has been obeyed. */
  @FunctionalInterface
  public interface Afterwards {
    /** Must not fail: the message has been obeyed. */
    void told(Call call, Content answer);
  }

  /** Tells of each time that a message which is implemented already has been obeyed. */
  public void afterwards(String wireName, Afterwards afterwards) {
    if (!(entries.get(wireName) instanceof Implemented(StreamHandler handler, String test))) {
      throw new IllegalArgumentException(wireName + " is not implemented");
    }
    StreamHandler telling =
        call -> {
          Content answer = handler.call(call);
          afterwards.told(call, answer);
          return answer;
        };
    entries.put(wireName, new Implemented(telling, test));
  }

  /** Lets a guard decide on every message that changes a field of a class's records. */
  public void guardRecords(String className, Guard guard) {
    if (recordGuards.putIfAbsent(className, guard) != null) {
      throw new IllegalArgumentException(className + " is guarded twice");
    }
  }

  /** Asks whoever guards the records that a message changes, if it does. */
  Guard.Closeable enter(Call call) throws XenApiException {
    Guard guard = recordGuards.get(call.message().className());
    if (guard == null
        || !changesField(call.message())
        || entry(call.message()) instanceof Refused) {
      return () -> {};
    }
    return guard.enter(call);
  }

  private static boolean changesField(MessageDef m) {
    return switch (DataModel.kindOf(m)) {
      case SET, ADD, REMOVE -> true;
      default -> false;
    };
  }

  public void stream(String wireName, StreamHandler handler, String test) {
    require(wireName);
    add(wireName, new Implemented(handler, test));
  }

  /** Their tasks may be cancelled from the first moment on; the work says when no longer. */
  public void cancellable(String... wireNames) {
    for (String n : wireNames) {
      require(n);
      cancellable.add(n);
    }
  }

  boolean isCancellable(MessageDef m) {
    return cancellable.contains(m.wireName());
  }

  /** Answers NOT_IMPLEMENTED [name] although it could be done generically. */
  public void refuse(String... wireNames) {
    for (String n : wireNames) {
      require(n);
      add(n, new Refused("NOT_IMPLEMENTED"));
    }
  }

  /** Answers a code without parameters: what published servers say where they lack the thing. */
  public void refuseWith(String code, String... wireNames) {
    for (String n : wireNames) {
      require(n);
      add(n, new Refused(code));
    }
  }

  /** The same where a license is said to be lacking: LICENCE_RESTRICTION [feature]. */
  public void refuseFeature(String feature, String... wireNames) {
    for (String n : wireNames) {
      require(n);
      add(n, new Refused("LICENCE_RESTRICTION", List.of(feature)));
    }
  }

  /**
   * Classes of which there are no objects, since nothing here makes any: whatever is not
   * implemented of them, for an object, answers HANDLE_INVALID.
   */
  public void withoutObjects(String... classNames) {
    for (String name : classNames) {
      DataModel.classDef(name);
      withoutObjects.add(name);
    }
  }

  /** Lets a custom message with an accessor's name be done generically: it only stores. */
  public void generic(String... wireNames) {
    for (String n : wireNames) {
      require(n);
      add(n, new Generic());
    }
  }

  private void add(String wireName, Entry entry) {
    if (entries.putIfAbsent(wireName, entry) != null) {
      throw new IllegalArgumentException(wireName + " is registered twice");
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
    if (m.poolInternal()) {
      // As the dispatcher answers it: there are no sessions between servers of a pool.
      return new Refused("INTERNAL_ERROR");
    }
    Entry derived = derived(m);
    return derived instanceof Refused && withoutObjects.contains(m.className()) && ofObject(m)
        ? new Refused("HANDLE_INVALID")
        : derived;
  }

  private static Entry derived(MessageDef m) {
    if (m.generated()) {
      return actsByItself(m) ? new Refused("NOT_IMPLEMENTED") : new Generic();
    }
    MessageDef.Kind kind = DataModel.kindOf(m);
    if (kind != MessageDef.Kind.CUSTOM && m.field().isPresent()) {
      boolean stores = kind != MessageDef.Kind.GET;
      if (!stores || STORED.contains(m.field().get().name())) {
        return new Generic();
      }
    }
    return new Refused("NOT_IMPLEMENTED");
  }

  private static boolean ofObject(MessageDef m) {
    return !m.params().isEmpty()
        && m.params().getFirst().type().equals(new Type.RefTo(m.className()));
  }

  /** Whether a generated message would have to do more than its field or its row. */
  private static boolean actsByItself(MessageDef m) {
    return switch (m.kind()) {
      case SET, ADD, REMOVE -> ACTS.contains(m.field().orElseThrow().wireName());
      case CREATE -> NOT_MADE.contains(m.className());
      default -> false;
    };
  }

  static XenApiException refusal(Call call, Refused r) {
    MessageDef m = call.message();
    if (r.code().equals("HANDLE_INVALID")) {
      String ref = call.args().getFirst() instanceof Value.Text(String text) ? text : "";
      return call.server().db().snapshot().row(m.className(), ref).isPresent()
          ? new XenApiException("NOT_IMPLEMENTED", m.wireName())
          : new XenApiException(r.code(), m.className(), ref);
    }
    return r.code().equals("NOT_IMPLEMENTED")
        ? new XenApiException(r.code(), m.wireName())
        : new XenApiException(r.code(), r.params());
  }
}
