package io.xenferry.block;

/** The kinds of request that decorators tell apart. */
public enum BlockOp {
  READ,
  WRITE,
  ZERO,
  TRIM,
  FLUSH,
  EXTENTS
}
