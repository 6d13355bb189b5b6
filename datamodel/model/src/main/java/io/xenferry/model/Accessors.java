package io.xenferry.model;

import io.xenferry.model.MessageDef.Kind;
import io.xenferry.model.MessageDef.Param;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The messages of a class that follow from its fields and flags alone. */
final class Accessors {
  private static final List<String> EVERYBODY = Roles.atLeast(Roles.READ_ONLY);

  private final String className;
  private final String role;
  private final List<String> readers;
  private final Lifecycle lifecycle;
  private final List<FieldDef> fields;
  private final List<MessageDef> out = new ArrayList<>();
  private final Param self;

  Accessors(
      String className,
      String role,
      List<String> readers,
      Lifecycle lifecycle,
      List<FieldDef> fields) {
    this.className = className;
    this.role = role;
    this.readers = readers;
    this.lifecycle = lifecycle;
    this.fields = fields;
    this.self = param("self", new Type.RefTo(className));
  }

  List<MessageDef> derive(boolean inDatabase, boolean constructible, boolean getAll) {
    Type ref = new Type.RefTo(className);
    Type record = new Type.RecordOf(className);
    if (inDatabase) {
      fields.stream().filter(f -> !f.internal()).forEach(this::field);
      query(Kind.GET_RECORD, "get_record", List.of(self), record, readers, false);
      query(
          Kind.GET_BY_UUID,
          "get_by_uuid",
          List.of(param("uuid", Type.Basic.STRING)),
          ref,
          readers,
          false);
      if (fields.stream().anyMatch(f -> f.column().equals("name__label"))) {
        query(
            Kind.GET_BY_NAME_LABEL,
            "get_by_name_label",
            List.of(param("label", Type.Basic.STRING)),
            new Type.SetOf(ref),
            EVERYBODY,
            false);
      }
    }
    if (constructible) {
      lifecycleMessage(Kind.CREATE, "create", param("args", record), ref);
      lifecycleMessage(Kind.DESTROY, "destroy", self, Type.Basic.VOID);
    }
    if (getAll) {
      Type refs = new Type.SetOf(ref);
      Type records = new Type.MapOf(ref, record);
      List<Param> where = List.of(param("expr", Type.Basic.STRING));
      query(Kind.GET_ALL, "get_all", List.of(), refs, readers, false);
      query(Kind.GET_ALL_WHERE, "get_all_where", where, refs, readers, true);
      query(Kind.GET_ALL_RECORDS_WHERE, "get_all_records_where", where, records, readers, true);
      query(Kind.GET_ALL_RECORDS, "get_all_records", List.of(), records, readers, false);
    }
    return out;
  }

  private void field(FieldDef f) {
    accessor(Kind.GET, "get_" + f.name(), List.of(self), f.type(), f.getters(), f);
    if (!f.writable()) {
      return;
    }
    Param value = param("value", f.type());
    set(Kind.SET, "set_" + f.name(), List.of(self, value), f);
    if (f.type() instanceof Type.MapOf m) {
      Param key = param("key", m.key());
      set(Kind.ADD, "add_to_" + f.name(), List.of(self, key, param("value", m.value())), f);
      set(Kind.REMOVE, "remove_from_" + f.name(), List.of(self, key), f);
    } else if (f.type() instanceof Type.SetOf s) {
      Param element = param("value", s.element());
      set(Kind.ADD, "add_" + f.name(), List.of(self, element), f);
      set(Kind.REMOVE, "remove_" + f.name(), List.of(self, element), f);
    }
  }

  private void set(Kind kind, String name, List<Param> params, FieldDef f) {
    accessor(kind, name, params, Type.Basic.VOID, f.setters(), f);
  }

  private void accessor(
      Kind kind, String name, List<Param> params, Type result, List<String> roles, FieldDef f) {
    out.add(
        message(kind, name, params, result, roles, f.lifecycle(), Optional.of(f), false, false));
  }

  private void query(
      Kind kind, String name, List<Param> params, Type result, List<String> roles, boolean hidden) {
    out.add(message(kind, name, params, result, roles, lifecycle, Optional.empty(), false, hidden));
  }

  private void lifecycleMessage(Kind kind, String name, Param param, Type result) {
    out.add(
        message(
            kind,
            name,
            List.of(param),
            result,
            Roles.atLeast(role),
            lifecycle,
            Optional.empty(),
            true,
            false));
  }

  private MessageDef message(
      Kind kind,
      String name,
      List<Param> params,
      Type result,
      List<String> roles,
      Lifecycle of,
      Optional<FieldDef> field,
      boolean async,
      boolean hidden) {
    return new MessageDef(
        className,
        name,
        kind,
        params,
        result,
        true,
        async,
        hidden,
        roles,
        List.of(),
        of,
        field,
        false,
        false,
        false,
        false,
        false,
        Optional.empty());
  }

  private static Param param(String name, Type type) {
    return new Param(name, type, Optional.empty());
  }

  /** The field that a custom message of this name and number of parameters is the accessor of. */
  static Optional<FieldDef> fieldOf(String message, int params, List<FieldDef> fields) {
    return fields.stream().filter(f -> kindOf(message, params, f).isPresent()).findFirst();
  }

  /** What the message does to the field, if it has an accessor's name and parameters. */
  static Optional<Kind> kindOf(String message, int params, FieldDef f) {
    String n = f.name();
    boolean map = f.type() instanceof Type.MapOf;
    boolean set = f.type() instanceof Type.SetOf;
    if (params == 1 && message.equals("get_" + n)) {
      return Optional.of(Kind.GET);
    }
    if (params == 2 && message.equals("set_" + n)) {
      return Optional.of(Kind.SET);
    }
    if (map && params == 3 && message.equals("add_to_" + n)
        || set && params == 2 && message.equals("add_" + n)) {
      return Optional.of(Kind.ADD);
    }
    if (map && params == 2 && message.equals("remove_from_" + n)
        || set && params == 2 && message.equals("remove_" + n)) {
      return Optional.of(Kind.REMOVE);
    }
    return Optional.empty();
  }
}
