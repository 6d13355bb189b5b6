package io.xenferry.model;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The facts of a field.
 *
 * @param className the class it belongs to, as on the wire: {@code VM}
 * @param index its place in the class's list of fields
 * @param name wire name with single underscores: {@code name_label}
 * @param column database name, in which name spaces are joined by two: {@code name__label}
 * @param writable whether clients may set it
 * @param constructor whether the constructor takes it, although clients cannot set it later
 * @param dynamic whether the server alone changes it
 * @param defaultValue for constructors, and for objects that the server makes
 * @param internal whether it is kept from clients: no accessors, no place in records
 * @param persistent false where the published model forgets it when a server stops
 * @param dangling whether its references may point at nothing for long
 * @param view where it is the many side of a relation: the stored field it follows from
 * @param setters roles that may set it, if it is writable
 * @param getters roles that may read it
 * @param keyRoles of a map: the weakest role for single keys, which may end in {@code *}
 */
public record FieldDef(
    String className,
    int index,
    String name,
    String column,
    Type type,
    boolean writable,
    boolean constructor,
    boolean dynamic,
    Optional<Value> defaultValue,
    boolean internal,
    boolean persistent,
    boolean dangling,
    Lifecycle lifecycle,
    Optional<StoredEnd> view,
    List<String> setters,
    List<String> getters,
    Map<String, String> keyRoles) {

  /** The stored end of a relation: for {@code VM.VBDs} the field {@code VBD.VM}. */
  public record StoredEnd(String className, String fieldName) {}

  /** {@code VM.power_state}. */
  public String wireName() {
    return className + "." + name;
  }

  /** What an object has that was made without it. */
  public Value initial() {
    return defaultValue.orElseGet(() -> Types.zero(type));
  }

  /** Of the name alone, which is unique: fields are keys of maps wherever objects are made. */
  @Override
  public int hashCode() {
    return 31 * className.hashCode() + name.hashCode();
  }

  @Override
  public String toString() {
    return wireName();
  }
}
