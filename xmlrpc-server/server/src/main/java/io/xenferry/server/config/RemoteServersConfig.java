package io.xenferry.server.config;

import java.time.Duration;

/**
 * Other pools' servers, as {@code xe} contacts them for its users.
 *
 * @param strictTrust a server whose certificate is not known is refused unless the user gives its
 *     fingerprint; otherwise it is accepted at first contact. A changed one is refused in any case
 * @param handshake a server that does not finish a TLS handshake in this time is not there
 * @param call the whole of one call; the longest that a published server takes for these is some
 *     ten seconds
 * @param answerBytes of one answer; the records of a pool's SRs with ten thousand disks take 1 MiB
 */
public record RemoteServersConfig(
    boolean strictTrust, Duration handshake, Duration call, long answerBytes) {

  public static RemoteServersConfig defaults() {
    return new RemoteServersConfig(
        false, Duration.ofSeconds(10), Duration.ofSeconds(120), 32L << 20);
  }

  public RemoteServersConfig withStrictTrust(boolean strict) {
    return new RemoteServersConfig(strict, handshake, call, answerBytes);
  }
}
