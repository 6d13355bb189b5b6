package io.xenferry.model;

import java.util.Optional;

/**
 * The facts of a field.
 *
 * @param className the class it belongs to, as on the wire: {@code VM}
 * @param name wire name with single underscores: {@code name_label}
 * @param column database name, in which name spaces are joined by two: {@code name__label}
 * @param writable whether clients may set it
 * @param constructor whether the constructor takes it
 * @param dynamic whether the server alone changes it
 * @param defaultValue for constructors, and for objects that the server makes
 */
public record FieldDef(
    String className,
    String name,
    String column,
    Type type,
    boolean writable,
    boolean constructor,
    boolean dynamic,
    Optional<Value> defaultValue) {}
