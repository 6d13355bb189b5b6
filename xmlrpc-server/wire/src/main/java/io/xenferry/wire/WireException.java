package io.xenferry.wire;

import java.io.IOException;

/** Bytes that are not what the protocol says: malformed, too large, too deep, or forbidden. */
public final class WireException extends IOException {
  private static final long serialVersionUID = 1L;

  public WireException(String message) {
    super(message);
  }

  public WireException(String message, Throwable cause) {
    super(message, cause);
  }
}
