package io.xenferry.spi;

/** A hypervisor or one of its guests did not do as it was told. */
public final class HypervisorException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What to make of it. */
  public enum Kind {
    /** It refused with a reason, and is as before. */
    REFUSED,
    /** No answer in time; the effect is unknown. */
    TIMEOUT,
    /** The guest's process is gone. */
    GONE,
    /** It answered against its protocol. */
    PROTOCOL
  }

  private final Kind kind;

  public HypervisorException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  public HypervisorException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
