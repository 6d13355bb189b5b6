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
  private final String field;
  private final String value;

  public HypervisorException(Kind kind, String message) {
    super(message);
    this.kind = kind;
    this.field = "";
    this.value = "";
  }

  public HypervisorException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
    this.field = "";
    this.value = "";
  }

  private HypervisorException(String message, String field, String value) {
    super(message);
    this.kind = Kind.REFUSED;
    this.field = field;
    this.value = value;
  }

  /**
   * REFUSED, because of what the VM's record says.
   *
   * @param field of the record, for example {@code platform:cores-per-socket}
   */
  public static HypervisorException invalid(String field, String value, String reason) {
    return new HypervisorException(field + ": " + reason + ": " + value, field, value);
  }

  public Kind kind() {
    return kind;
  }

  /** The field of the VM's record that no machine can be built from; empty when it is none. */
  public String field() {
    return field;
  }

  /** What that field says. */
  public String value() {
    return value;
  }
}
