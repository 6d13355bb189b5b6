package io.xenferry.wire;

import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.function.Predicate;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Which certificate a peer may show. Names and chains do not count: servers of this kind sign their
 * own.
 */
public final class Trust {
  private final Predicate<Fingerprint> accept;
  private final boolean clients;

  private Trust(Predicate<Fingerprint> accept, boolean clients) {
    this.accept = accept;
    this.clients = clients;
  }

  /** This certificate and no other. */
  public static Trust pinned(Fingerprint fingerprint) {
    return new Trust(fingerprint::equals, false);
  }

  /**
   * Asks at every handshake; the answer to the first contact is the caller's to remember.
   *
   * @param accept called on a thread of the connection's, must not block
   */
  public static Trust decidedBy(Predicate<Fingerprint> accept) {
    return new Trust(accept, false);
  }

  /**
   * For a server that asks its clients for certificates: any will do, since whoever uses the
   * connection looks at which it was.
   */
  public static Trust anyClient() {
    return new Trust(server -> false, true);
  }

  /** A TLS 1.2 and 1.3 context that asks this trust, and shows no certificate. */
  public SSLContext context() {
    return context(null);
  }

  /** The same with a certificate to show. */
  public SSLContext context(KeyManager @Nullable [] keys) {
    try {
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(keys, new TrustManager[] {new Check()}, new SecureRandom());
      return context;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Extended, so that the JDK adds no check of host names to it. */
  private final class Check extends X509ExtendedTrustManager {
    private void check(X509Certificate[] chain) throws CertificateException {
      if (chain.length == 0) {
        throw new CertificateException("no certificate");
      }
      Fingerprint shown = Fingerprint.of(chain[0]);
      if (!accept.test(shown)) {
        throw new CertificateException("certificate not trusted: SHA-256 " + shown);
      }
    }

    private void checkClient(X509Certificate[] chain) throws CertificateException {
      if (!clients || chain.length == 0) {
        throw new CertificateException("not a server");
      }
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String authType)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String authType, Socket socket)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String authType)
        throws CertificateException {
      checkClient(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String authType, Socket socket)
        throws CertificateException {
      checkClient(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
        throws CertificateException {
      checkClient(chain);
    }

    @Override
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }
}
