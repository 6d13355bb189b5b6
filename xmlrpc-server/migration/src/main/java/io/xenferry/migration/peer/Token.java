package io.xenferry.migration.peer;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.state.MigrationId;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.UUID;

/**
 * What a destination's token says. The source reads it without being able to check it; the
 * destination checks its own signature, see {@link TokenMint}.
 *
 * @param migration the one migration it is good for
 * @param host the destination host's uuid
 * @param incarnation of the destination's ledger
 * @param url of the destination's server
 * @param fingerprint of its certificate, which the source pins; empty over plain HTTP
 * @param scope what the caller may do with it: for example {@code sr:<uuid>}, {@code network:…}
 * @param versions of the peers' protocol
 * @param expires seconds since 1970
 */
public record Token(
    UUID migration,
    String host,
    UUID incarnation,
    String url,
    String fingerprint,
    List<String> scope,
    List<Integer> versions,
    long expires) {

  /** Characters; a token is far shorter. */
  static final int MAX_LENGTH = 8192;

  public Token {
    scope = List.copyOf(scope);
    versions = List.copyOf(versions);
  }

  public MigrationId id() {
    return new MigrationId(migration);
  }

  public PeerAddress address() {
    return new PeerAddress(url, fingerprint);
  }

  public Instant expiry() {
    return Instant.ofEpochSecond(expires);
  }

  /**
   * Reads a token without checking who signed it.
   *
   * @throws IllegalArgumentException if it is none
   */
  public static Token read(String text) {
    int dot = text.indexOf('.');
    if (text.length() > MAX_LENGTH || dot <= 0 || dot != text.lastIndexOf('.')) {
      throw new IllegalArgumentException("not a token");
    }
    return StrictJson.read(
        Base64.getUrlDecoder().decode(text.substring(0, dot).getBytes(StandardCharsets.US_ASCII)),
        Token.class);
  }
}
