package io.xenferry.model.db;

import io.xenferry.model.Field;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Value;

/** One object as of a snapshot. Immutable. */
public interface Row {
  /** Wire name of the class. */
  String className();

  /** {@code OpaqueRef:…}. */
  String ref();

  /** Generation of the commit that made it. */
  long created();

  /** Generation of the last commit that changed it. */
  long modified();

  /**
   * The stored value, or the view's computed one where the field is the many side of a relation.
   */
  Value get(FieldDef field);

  /** The same, in the field's Java type. */
  default <V> V get(Field<?, V> field) {
    return field.toJava().apply(get(field.def()));
  }
}
