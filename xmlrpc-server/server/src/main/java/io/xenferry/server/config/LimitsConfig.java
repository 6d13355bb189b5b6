package io.xenferry.server.config;

import java.time.Duration;

/**
 * Limits against clients that send too much, too slowly, or too often.
 *
 * @param rpcBodyBytes 300 KiB, as the published server's
 * @param cliBodyBytes 200 KiB, likewise
 * @param connections at once; each costs a file descriptor of the usual 4096 and some 40 KiB
 * @param idleTimeout of a connection on which nothing is under way; clients reconnect by themselves
 * @param requestDeadline from the first byte of a request's body to its last
 */
public record LimitsConfig(
    int rpcBodyBytes,
    int cliBodyBytes,
    int connections,
    Duration idleTimeout,
    Duration requestDeadline) {

  public static LimitsConfig defaults() {
    return new LimitsConfig(
        300 * 1024, 200 * 1024, 2000, Duration.ofSeconds(60), Duration.ofSeconds(60));
  }
}
