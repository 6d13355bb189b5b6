package io.xenferry.migration.peer;

/**
 * One HTTP response of the peers' protocol.
 *
 * @param body JSON, a {@link PeerAnswer}, or empty
 */
public record PeerResponse(int status, byte[] body) {
  @Override
  public String toString() {
    return status + " (" + body.length + " bytes)";
  }
}
