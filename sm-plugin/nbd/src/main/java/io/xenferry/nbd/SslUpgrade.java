package io.xenferry.nbd;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.security.cert.CertificateException;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;

/**
 * TLS 1.3 by the JDK's engine. Both ends are of this kind or as new, so nothing older is spoken.
 */
public final class SslUpgrade implements TlsUpgrade {
  private static final String[] PROTOCOLS = {"TLSv1.3"};

  private final SSLContext context;
  private final boolean client;

  private SslUpgrade(SSLContext context, boolean client) {
    this.context = context;
    this.client = client;
  }

  /**
   * For the end that connected.
   *
   * @param context decides which servers are trusted, and holds the certificate to show if any
   */
  public static SslUpgrade client(SSLContext context) {
    return new SslUpgrade(context, true);
  }

  /**
   * For the end that listens. Clients are asked for a certificate and may have none; see {@link
   * NbdExport#onlyFor}.
   *
   * @param context holds the server's certificate, and must accept those of clients
   */
  public static SslUpgrade server(SSLContext context) {
    return new SslUpgrade(context, false);
  }

  @Override
  public SecureChannel upgrade(ByteChannel plain) throws IOException {
    // Without a name for the peer there are no sessions to resume: each connection proves itself.
    SSLEngine engine = context.createSSLEngine();
    engine.setUseClientMode(client);
    engine.setEnabledProtocols(PROTOCOLS);
    if (!client) {
      engine.setWantClientAuth(true);
    }
    try {
      TlsChannel channel = new TlsChannel(plain, engine);
      channel.handshake();
      return channel;
    } catch (SSLException e) {
      for (Throwable cause = e; cause != null; cause = cause.getCause()) {
        if (cause instanceof CertificateException) {
          throw new BlockException(Kind.ACCESS, String.valueOf(cause.getMessage()), e);
        }
      }
      throw new BlockException(Kind.PROTOCOL, "no TLS with the NBD peer: " + e.getMessage(), e);
    }
  }
}
