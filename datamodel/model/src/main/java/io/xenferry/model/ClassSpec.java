package io.xenferry.model;

import io.xenferry.model.MessageDef.Kind;
import io.xenferry.model.MessageDef.Param;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Takes the facts of one class from generated code, and adds the messages that follow from them.
 */
final class ClassSpec {
  private final String name;
  private final String flags;
  private final String role;
  private final List<String> readers;
  private final Lifecycle lifecycle;
  private final List<FieldDef> fields = new ArrayList<>();
  private final List<Message> messages = new ArrayList<>();

  /**
   * @param flags D in the database, E events, P persistent, C constructible, G get_all, A async
   */
  ClassSpec(String name, String flags, String role, String reader, String history) {
    this.name = name;
    this.flags = flags;
    this.role = role;
    this.readers = Roles.atLeast(reader);
    this.lifecycle = Lifecycle.parse(history);
  }

  /**
   * @param access RW, RO-constructor or RO-dynamic
   * @param flags i internal, t not persistent, d dangling
   * @param view the stored field it follows from: {@code VBD.VM}
   */
  <T, V> Field<T, V> field(
      String fieldName,
      String column,
      Codec<V> codec,
      String access,
      String setter,
      String setterAlso,
      String getter,
      String flags,
      String history,
      @Nullable Value defaultValue,
      @Nullable String view,
      Map<String, String> keyRoles) {
    FieldDef def =
        new FieldDef(
            name,
            fields.size(),
            fieldName,
            column,
            codec.type(),
            access.equals("RW"),
            access.equals("RO-constructor"),
            access.equals("RO-dynamic"),
            Optional.ofNullable(defaultValue),
            flags.indexOf('i') >= 0,
            flags.indexOf('t') < 0,
            flags.indexOf('d') >= 0,
            Lifecycle.parse(history),
            Optional.ofNullable(view).map(ClassSpec::storedEnd),
            Roles.of(setter, setterAlso),
            Roles.atLeast(getter),
            keyRoles);
    fields.add(def);
    return new Field<>(def, codec.toJava(), codec.toValue());
  }

  private static FieldDef.StoredEnd storedEnd(String name) {
    int dot = name.indexOf('.');
    return new FieldDef.StoredEnd(name.substring(0, dot), name.substring(dot + 1));
  }

  ClassDef build(Consumer<ClassSpec> custom) {
    return new ClassDef(
        name,
        flags,
        role,
        lifecycle,
        fields,
        () -> {
          ClassSpec fresh = new ClassSpec(name, flags, role, readers, lifecycle, fields);
          custom.accept(fresh);
          return fresh.loadMessages();
        });
  }

  private ClassSpec(
      String name,
      String flags,
      String role,
      List<String> readers,
      Lifecycle lifecycle,
      List<FieldDef> fields) {
    this.name = name;
    this.flags = flags;
    this.role = role;
    this.readers = readers;
    this.lifecycle = lifecycle;
    this.fields.addAll(fields);
  }

  static Value texts(String... keysAndValues) {
    SequencedMap<String, Value> members = new LinkedHashMap<>();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      members.put(keysAndValues[i], Value.of(keysAndValues[i + 1]));
    }
    return new Value.Struct(members);
  }

  /** A message that does not follow from the fields, in the making. */
  static final class Message {
    private final String name;
    private final String result;
    private final List<String> roles;
    private final String flags;
    private final String history;
    private final List<Param> params = new ArrayList<>();
    private List<String> errors = List.of();
    private Optional<String> forward = Optional.empty();

    Message(String name, String result, List<String> roles, String flags, String history) {
      this.name = name;
      this.result = result;
      this.roles = roles;
      this.flags = flags;
      this.history = history;
    }

    Message param(String paramName, String type, @Nullable Value defaultValue) {
      params.add(new Param(paramName, Types.parse(type), Optional.ofNullable(defaultValue)));
      return this;
    }

    Message errors(String... codes) {
      errors = List.of(codes);
      return this;
    }

    Message forward(String to) {
      forward = Optional.of(to);
      return this;
    }
  }

  /**
   * @param flags a async, n no session, h hidden, i internal to the pool, e in emergency mode too,
   *     x secret, m marshalled in its own way, o no current_operations, f not forwarded
   */
  Message message(
      String messageName,
      String result,
      String minimum,
      String also,
      String flags,
      String history) {
    Message m = new Message(messageName, result, Roles.of(minimum, also), flags, history);
    messages.add(m);
    return m;
  }

  private Map<String, MessageDef> loadMessages() {
    Map<String, MessageDef> all = new LinkedHashMap<>();
    for (Message m : messages) {
      all.put(m.name, custom(m));
    }
    new Accessors(name, role, readers, lifecycle, fields)
        .derive(flags.indexOf('D') >= 0, flags.indexOf('C') >= 0, flags.indexOf('G') >= 0)
        .forEach(m -> all.putIfAbsent(m.name(), m));
    return all;
  }

  private MessageDef custom(Message m) {
    return new MessageDef(
        name,
        m.name,
        Kind.CUSTOM,
        List.copyOf(m.params),
        Types.parse(m.result),
        m.flags.indexOf('n') < 0,
        m.flags.indexOf('a') >= 0,
        m.flags.indexOf('h') >= 0,
        m.roles,
        m.errors,
        Lifecycle.parse(m.history),
        Accessors.fieldOf(m.name, m.params.size(), fields),
        m.flags.indexOf('i') >= 0,
        m.flags.indexOf('e') >= 0,
        m.flags.indexOf('x') >= 0,
        m.flags.indexOf('m') >= 0,
        m.flags.indexOf('f') >= 0,
        m.forward);
  }
}
