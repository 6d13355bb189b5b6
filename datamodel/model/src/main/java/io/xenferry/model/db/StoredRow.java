package io.xenferry.model.db;

import io.xenferry.model.ClassDef;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Value;

/**
 * What is kept of one object. Views have no value here.
 *
 * @param seq grows with every object made; never used twice
 * @param values by the index of the field; never changed once the row is built
 */
record StoredRow(
    ClassDef classDef, String ref, long seq, long created, long modified, Value[] values) {

  Value value(FieldDef field) {
    return values[field.index()];
  }

  StoredRow with(FieldDef field, Value value, long generation) {
    Value[] copy = values.clone();
    copy[field.index()] = value;
    return new StoredRow(classDef, ref, seq, created, generation, copy);
  }

  StoredRow touched(long generation) {
    return new StoredRow(classDef, ref, seq, created, generation, values);
  }
}
