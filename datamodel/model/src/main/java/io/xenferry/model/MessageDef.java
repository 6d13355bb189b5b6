package io.xenferry.model;

import java.util.List;
import java.util.Optional;

/**
 * The facts of a message, generated accessors included.
 *
 * @param className as on the wire
 * @param name without the class: {@code migrate_send}
 * @param kind what it does, as far as that follows from the model
 * @param params without the session; {@code self} is among them
 * @param session whether the session comes first
 * @param async whether {@code Async.} exists
 * @param hidden whether it is kept out of documentation
 * @param roles who may call it, names of built-in roles; {@link Roles#LOCAL_ROOT_ONLY} alone means
 *     nobody but the local superuser
 * @param errors codes that the model documents
 * @param field the field that an accessor is about, also that of a custom message which has an
 *     accessor's name and parameters
 * @param poolInternal whether only sessions between servers may call it
 * @param emergency whether it works in emergency mode
 * @param secret whether its parameters are secrets, to be kept out of logs
 * @param ownMarshalling whether its result is not simply of the result's type
 * @param notForwarded whether a pool member answers it itself
 * @param forward where the call goes that has no code in the server: {@code host-extension:…}
 */
public record MessageDef(
    String className,
    String name,
    Kind kind,
    List<Param> params,
    Type result,
    boolean session,
    boolean async,
    boolean hidden,
    List<String> roles,
    List<String> errors,
    Lifecycle lifecycle,
    Optional<FieldDef> field,
    boolean poolInternal,
    boolean emergency,
    boolean secret,
    boolean ownMarshalling,
    boolean notForwarded,
    Optional<String> forward) {

  /** What a message does. */
  public enum Kind {
    CUSTOM,
    GET,
    SET,
    /** {@code add_F} of a set, {@code add_to_F} of a map. */
    ADD,
    /** {@code remove_F} of a set, {@code remove_from_F} of a map. */
    REMOVE,
    GET_RECORD,
    GET_BY_UUID,
    GET_BY_NAME_LABEL,
    GET_ALL,
    GET_ALL_WHERE,
    GET_ALL_RECORDS,
    GET_ALL_RECORDS_WHERE,
    CREATE,
    DESTROY
  }

  /** An accessor, constructor or query that follows from the fields alone. */
  public boolean generated() {
    return kind != Kind.CUSTOM;
  }

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
