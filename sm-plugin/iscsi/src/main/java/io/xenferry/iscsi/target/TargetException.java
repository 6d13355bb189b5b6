package io.xenferry.iscsi.target;

import java.io.IOException;

/** A target service could not do what was asked. The message has no secret. */
public final class TargetException extends IOException {
  private static final long serialVersionUID = 1L;

  /** What went wrong. */
  public enum Kind {
    /** Another export has the name, the account or the unit. */
    EXISTS,
    NOT_FOUND,
    /** A session still uses it. */
    ACTIVE,
    /** The request makes no sense to the target: path, parameter, backing. */
    INVALID,
    /** The daemon is not there. */
    DOWN,
    /** No answer, or sessions that do not end, within the deadline. */
    TIMEOUT,
    /** The journal could not be written: nothing was done. */
    JOURNAL,
    FAILED
  }

  private final Kind kind;

  public TargetException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  public TargetException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
