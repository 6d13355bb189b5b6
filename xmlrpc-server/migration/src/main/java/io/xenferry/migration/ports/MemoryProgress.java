package io.xenferry.migration.ports;

/** Bytes of guest memory sent so far, and still to be sent. */
public record MemoryProgress(long sent, long remaining) {
  public static final MemoryProgress NONE = new MemoryProgress(0, 0);
}
