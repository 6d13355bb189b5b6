package io.xenferry.migration.peer;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.state.MigrationId;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.UUID;

/**
 * Issues and checks this host's tokens. Stateless: issuing leaves nothing behind, however often; a
 * token is consumed by the row, and later the tombstone, of its migration. Thread-safe.
 */
public final class TokenMint {
  private static final byte[] PURPOSE = Keys.utf8("xenferry incoming token 1");

  private final byte[] secret;
  private final UUID incarnation;
  private final String host;
  private final PeerAddress self;

  public TokenMint(byte[] secret, UUID incarnation, String host, PeerAddress self) {
    this.secret = secret.clone();
    this.incarnation = incarnation;
    this.host = host;
    this.self = self;
  }

  /**
   * Makes a token for one migration to this host.
   *
   * @param url how the source shall reach this server, which may be another than its usual address
   */
  public String issue(
      MigrationId migration, List<String> scope, String url, Instant now, Duration life) {
    Token token =
        new Token(
            migration.value(),
            host,
            incarnation,
            url,
            self.fingerprint(),
            scope,
            PeerAnswer.VERSIONS,
            now.plus(life).getEpochSecond());
    String payload =
        Base64.getUrlEncoder().withoutPadding().encodeToString(StrictJson.write(token));
    return payload + "." + signature(payload);
  }

  /**
   * Checks that this host, in this incarnation of its ledger, issued the token. The expiry is the
   * caller's to judge: it forbids opening, and nothing else.
   *
   * @throws IllegalArgumentException if not
   */
  public Token verify(String text) {
    Token token = Token.read(text);
    int dot = text.indexOf('.');
    if (!Keys.equal(signature(text.substring(0, dot)), text.substring(dot + 1))) {
      throw new IllegalArgumentException("a token that this host did not sign");
    }
    if (!token.incarnation().equals(incarnation) || !token.host().equals(host)) {
      throw new IllegalArgumentException("a token of another incarnation of this host");
    }
    return token;
  }

  private String signature(String payload) {
    return Base64.getUrlEncoder()
        .withoutPadding()
        .encodeToString(Keys.hmac(secret, PURPOSE, Keys.utf8(payload)));
  }
}
