package io.xenferry.server.config;

import java.time.Duration;

/**
 * Limits against clients that send too much, too slowly, or too often.
 *
 * @param rpcBodyBytes 300 KiB, as the published server's
 * @param cliBodyBytes 200 KiB, likewise
 * @param connections at once; each costs a file descriptor of the usual 4096 and some 40 KiB
 * @param connectionsPerAddress of these, those of one remote address; as many come through the Unix
 *     socket, beside the others
 * @param idleTimeout of a connection on which nothing is under way; clients reconnect by themselves
 * @param headDeadline from accepting a connection to the end of its first request's head, and the
 *     TLS handshake in between, however the bytes come in
 * @param requestDeadline from the first byte of a request's body to its last
 */
public record LimitsConfig(
    int rpcBodyBytes,
    int cliBodyBytes,
    int connections,
    int connectionsPerAddress,
    Duration idleTimeout,
    Duration headDeadline,
    Duration requestDeadline) {

  public static LimitsConfig defaults() {
    return new LimitsConfig(
        300 * 1024,
        200 * 1024,
        2000,
        500,
        Duration.ofSeconds(60),
        Duration.ofSeconds(30),
        Duration.ofSeconds(60));
  }
}
