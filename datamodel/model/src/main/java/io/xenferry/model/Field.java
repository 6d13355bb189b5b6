package io.xenferry.model;

import java.util.function.Function;

/**
 * A field of a class with its Java type, as the generator emits it: {@code VM.POWER_STATE} is a
 * {@code Field<VM, VmPowerState>}.
 *
 * @param def the field's facts
 * @param toJava from a stored value
 * @param toValue to a stored value
 */
public record Field<T, V>(FieldDef def, Function<Value, V> toJava, Function<V, Value> toValue) {}
