package io.xenferry.cli;

import io.xenferry.model.XenApiException;
import io.xenferry.spi.XenApi;
import java.util.Optional;

/** Opens connections to other XenAPI servers, and decides which certificates are trusted. */
public interface RemoteServers {

  /**
   * Connects over TLS.
   *
   * @param server {@code host} or {@code host:port}, IPv6 in brackets; port 443 without one
   * @param fingerprint SHA-256 of the certificate in hexadecimal digits, colons allowed, when the
   *     user gave it
   * @throws XenApiException CANNOT_CONTACT_HOST, TLS_CONNECTION_FAILED, or a certificate that is
   *     not the one given or the one seen before
   */
  Remote connect(String server, Optional<String> fingerprint) throws XenApiException;

  /** Another server. Closing it frees the connection; sessions are the caller's. */
  interface Remote extends XenApi, AutoCloseable {

    /**
     * The certificate's SHA-256 when it was accepted just now because this server was never seen
     * before; the user is shown it.
     */
    Optional<String> acceptedAtFirstContact();

    @Override
    void close();
  }
}
