package io.xenferry.iscsi.pdu;

import java.io.IOException;

/** The peer sent something that RFC 7143 does not allow, or that is beyond our limits. */
public final class ProtocolException extends IOException {
  private static final long serialVersionUID = 1L;

  public ProtocolException(String message) {
    super(message);
  }

  public ProtocolException(String message, Throwable cause) {
    super(message, cause);
  }
}
