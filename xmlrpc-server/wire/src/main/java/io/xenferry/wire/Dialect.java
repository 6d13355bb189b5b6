package io.xenferry.wire;

/** Whose XML-RPC it is. */
public enum Dialect {
  /** Nothing is {@code <nil/>}: void is the empty string. */
  XENAPI,
  /** Storage calls: the instance {@link io.xenferry.model.Value#VOID} travels as {@code <nil/>}. */
  SMAPI
}
