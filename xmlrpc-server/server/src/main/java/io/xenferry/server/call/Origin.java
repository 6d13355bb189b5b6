package io.xenferry.server.call;

/**
 * Where a call came from.
 *
 * @param trusted whether the caller is root without a password: the Unix socket, or this server
 * @param address for logs
 */
public record Origin(boolean trusted, String address) {
  public static final Origin LOCAL = new Origin(true, "local");
}
