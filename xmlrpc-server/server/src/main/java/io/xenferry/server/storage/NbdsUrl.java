package io.xenferry.server.storage;

import io.xenferry.nbd.NbdUri;
import io.xenferry.wire.Fingerprint;

/**
 * Where a disk is offered over NBD with TLS, as other programs write it, with the certificate that
 * the server must show: {@code nbds://host:port/NAME?sha256=FINGERPRINT}. The name is a secret.
 *
 * @param uri of the export
 * @param fingerprint of the server's certificate
 */
public record NbdsUrl(NbdUri uri, Fingerprint fingerprint) {
  private static final String PIN = "?sha256=";

  /**
   * Reads one.
   *
   * @throws IllegalArgumentException if it is none; the text is not repeated
   */
  public static NbdsUrl parse(String text) {
    int at = text.indexOf(PIN);
    if (at < 0) {
      throw new IllegalArgumentException("an nbds URL without a certificate's fingerprint");
    }
    NbdUri uri = NbdUri.parse(text.substring(0, at));
    if (!uri.tls()) {
      throw new IllegalArgumentException("not an nbds URL");
    }
    return new NbdsUrl(uri, new Fingerprint(text.substring(at + PIN.length())));
  }

  /** With the secret. */
  public String text() {
    return uri + PIN + fingerprint.hex();
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return uri.display();
  }
}
