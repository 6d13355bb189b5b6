package io.xenferry.xe.protocol;

import java.io.IOException;

/**
 * The peer sent something that the thin CLI protocol does not allow. The connection is of no
 * further use.
 */
public class ProtocolException extends IOException {
  private static final long serialVersionUID = 1L;

  public ProtocolException(String message) {
    super(message);
  }
}
