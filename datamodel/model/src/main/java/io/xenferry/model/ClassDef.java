package io.xenferry.model;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * The facts of a class. There is one object a class, so that {@code ==} may compare them. Messages
 * are put together when they are first asked for.
 */
public final class ClassDef {
  private final String name;
  private final boolean inDatabase;
  private final boolean events;
  private final boolean persistent;
  private final boolean constructible;
  private final boolean getAll;
  private final boolean async;
  private final String role;
  private final Lifecycle lifecycle;
  private final List<FieldDef> fields;
  private final Map<String, FieldDef> fieldsByName;
  private final Supplier<Map<String, MessageDef>> loader;
  private volatile Map<String, MessageDef> messages = Map.of();

  ClassDef(
      String name,
      String flags,
      String role,
      Lifecycle lifecycle,
      List<FieldDef> fields,
      Supplier<Map<String, MessageDef>> loader) {
    this.name = name;
    this.inDatabase = flags.indexOf('D') >= 0;
    this.events = flags.indexOf('E') >= 0;
    this.persistent = flags.indexOf('P') >= 0;
    this.constructible = flags.indexOf('C') >= 0;
    this.getAll = flags.indexOf('G') >= 0;
    this.async = flags.indexOf('A') >= 0;
    this.role = role;
    this.lifecycle = lifecycle;
    this.fields = List.copyOf(fields);
    this.fieldsByName = new HashMap<>();
    fields.forEach(f -> {
      fieldsByName.put(f.column(), f);
      fieldsByName.put(f.name(), f);
    });
    this.loader = loader;
  }

  /** As on the wire: {@code VM}, {@code host}. */
  public String name() {
    return name;
  }

  /** Whether it has objects at all. */
  public boolean inDatabase() {
    return inDatabase;
  }

  /** Whether event.from tells of it. */
  public boolean events() {
    return events;
  }

  /** Whether its objects outlive the server. */
  public boolean persistent() {
    return persistent;
  }

  /** Whether get_all and get_all_records exist. */
  public boolean getAll() {
    return getAll;
  }

  /** Whether create and destroy exist, generated from the fields. */
  public boolean constructible() {
    return constructible;
  }

  /** Whether its messages may be called as {@code Async.} at all. */
  public boolean async() {
    return async;
  }

  /** The weakest role that may make its objects. */
  public String role() {
    return role;
  }

  public Lifecycle lifecycle() {
    return lifecycle;
  }

  /** All fields, internal ones included, in the published order. */
  public List<FieldDef> fields() {
    return fields;
  }

  /** A field by its name, with single or double underscores. */
  public Optional<FieldDef> field(String fieldName) {
    return Optional.ofNullable(fieldsByName.get(fieldName));
  }

  /** All messages, accessors included. */
  public List<MessageDef> messages() {
    return List.copyOf(loaded().values());
  }

  /** A message by its name without the class. */
  public Optional<MessageDef> message(String messageName) {
    return Optional.ofNullable(loaded().get(messageName));
  }

  /** Fields that the constructor takes. */
  public List<FieldDef> constructorFields() {
    return fields.stream()
        .filter(f -> f.constructor() || f.writable())
        .collect(Collectors.toUnmodifiableList());
  }

  private Map<String, MessageDef> loaded() {
    Map<String, MessageDef> m = messages;
    if (m.isEmpty()) {
      // Two threads may both load; the results are equal.
      m = loader.get();
      messages = m;
    }
    return m;
  }

  @Override
  public String toString() {
    return name;
  }
}
