package io.xenferry.model;

/** A type of the XenAPI, as fields, parameters and results have it. */
public sealed interface Type {

  /** Types without parameters. {@code INT} has 64 bits. */
  enum Basic implements Type {
    STRING,
    INT,
    FLOAT,
    BOOL,
    DATETIME,
    VOID
  }

  /** A reference to an object of the named class, for example {@code VM}. */
  record RefTo(String className) implements Type {}

  /** One word of the named enumeration, for example {@code vm_power_state}. */
  record EnumOf(String enumName) implements Type {}

  record SetOf(Type element) implements Type {}

  record MapOf(Type key, Type value) implements Type {}

  /** The record of all fields of the named class. */
  record RecordOf(String className) implements Type {}

  /** A value that may be absent; only inside a record, where its member is left out. */
  record OptionOf(Type inner) implements Type {}
}
