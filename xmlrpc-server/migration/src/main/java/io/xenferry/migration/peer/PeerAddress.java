package io.xenferry.migration.peer;

import java.net.URI;
import java.net.URISyntaxException;
import java.util.Locale;

/**
 * Where a peer is and how it is known.
 *
 * @param url scheme, host and port only
 * @param fingerprint SHA-256 of its certificate, 64 lower-case hex digits; empty over plain HTTP
 */
public record PeerAddress(String url, String fingerprint) {
  public PeerAddress {
    URI uri;
    try {
      uri = new URI(url);
    } catch (URISyntaxException e) {
      throw new IllegalArgumentException("not a URL", e);
    }
    String scheme = uri.getScheme() == null ? "" : uri.getScheme().toLowerCase(Locale.ROOT);
    if (uri.getHost() == null
        || uri.getUserInfo() != null
        || uri.getQuery() != null
        || uri.getFragment() != null
        || !(uri.getPath() == null || uri.getPath().isEmpty())) {
      throw new IllegalArgumentException("a peer's URL is scheme, host and port: " + url);
    }
    switch (scheme) {
      case "https" -> {
        if (!fingerprint.matches("[0-9a-f]{64}")) {
          throw new IllegalArgumentException("no fingerprint of the certificate of " + url);
        }
      }
      case "http" -> {
        if (!fingerprint.isEmpty()) {
          throw new IllegalArgumentException("a fingerprint for plain HTTP to " + url);
        }
      }
      default -> throw new IllegalArgumentException("neither http nor https: " + url);
    }
  }
}
