package io.xenferry.server.config;

import java.time.Duration;

/**
 * Sessions and passwords.
 *
 * @param expiry of a session that nobody uses
 * @param touchEvery how old last_active may be before a call refreshes it; each refresh is a commit
 * @param perOriginator sessions of one originator; the oldest goes when there are more
 * @param perUser sessions of one user without an originator, likewise
 * @param failedLoginDelay what a wrong password costs, as with the published server
 * @param hashIterations of PBKDF2 with HMAC-SHA-512; OWASP's 2023 figure, some 0.2 s a login
 */
public record SessionConfig(
    Duration expiry,
    Duration touchEvery,
    int perOriginator,
    int perUser,
    Duration failedLoginDelay,
    int hashIterations) {

  public static SessionConfig defaults() {
    return new SessionConfig(
        Duration.ofHours(24), Duration.ofMinutes(10), 500, 400, Duration.ofSeconds(5), 210_000);
  }
}
