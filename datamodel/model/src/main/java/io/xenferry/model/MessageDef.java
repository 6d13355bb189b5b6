package io.xenferry.model;

import java.util.List;
import java.util.Optional;

/**
 * The facts of a message, generated accessors included.
 *
 * @param className as on the wire
 * @param name without the class: {@code migrate_send}
 * @param params without the session; {@code self} is among them
 * @param session whether the session comes first
 * @param async whether {@code Async.} exists
 * @param roles who may call it, names of built-in roles; empty means everybody
 * @param generated an accessor, constructor or query that follows from the fields alone
 * @param errors codes that the model documents
 */
public record MessageDef(
    String className,
    String name,
    List<Param> params,
    Type result,
    boolean session,
    boolean async,
    boolean hidden,
    boolean generated,
    List<String> roles,
    List<String> errors) {

  /** {@code VM.migrate_send}. */
  public String wireName() {
    return className + "." + name;
  }

  /** Parameters without a default, the session not counted. */
  public int required() {
    return (int) params.stream().filter(p -> p.defaultValue().isEmpty()).count();
  }

  public record Param(String name, Type type, Optional<Value> defaultValue) {}
}
