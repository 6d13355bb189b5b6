package io.xenferry.block;

import java.io.IOException;

/** A request to a block device that failed; the kind says what may be done about it. */
public final class BlockException extends IOException {
  private static final long serialVersionUID = 1L;

  /** What went wrong, from the point of view of whoever must decide what to do next. */
  public enum Kind {
    /** The medium failed; the device goes on serving other requests. */
    IO,
    /** No space left behind a thin device. */
    NO_SPACE,
    /** Offset, length or alignment do not fit the device: a defect of the caller. */
    OUT_OF_RANGE,
    /** A write to a device that was opened read-only, or is write-protected. */
    READ_ONLY,
    /** The device refused for now (BUSY, TASK SET FULL beyond the back-off's patience). */
    BUSY,
    /** No answer within the deadline; the request may still take effect. The device is dead. */
    TIMEOUT,
    /** The connection broke; requests in flight may still take effect. The device is dead. */
    LOST,
    /** The device was reset or powered on: unflushed writes may be gone. The device is dead. */
    RESET,
    /** Closed by us. */
    CLOSED,
    /** The peer broke the protocol. The device is dead. */
    PROTOCOL,
    /** Login refused. */
    ACCESS
  }

  private final Kind kind;

  public BlockException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  public BlockException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
