package io.xenferry.xe.client;

import java.io.IOException;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

/**
 * Which certificate is accepted: any, as the published client does, unless the file that {@code
 * XENFERRY_PINS} names has a line {@code host:port SHA-256} for this server; then that one only.
 */
final class Trust extends X509ExtendedTrustManager {
  static final String PINS_VARIABLE = "XENFERRY_PINS";

  private final Optional<String> pin;

  private Trust(Optional<String> pin) {
    this.pin = pin;
  }

  /**
   * @param server host and port, as in the file of pins
   * @throws IOException a file of pins is named and cannot be read: then nothing is trusted
   */
  static Trust of(Map<String, String> environment, String server) throws IOException {
    String file = environment.get(PINS_VARIABLE);
    if (file == null || file.isEmpty()) {
      return new Trust(Optional.empty());
    }
    for (String line : Files.readAllLines(Path.of(file))) {
      int blank = line.indexOf(' ');
      if (blank > 0 && line.substring(0, blank).equalsIgnoreCase(server)) {
        return new Trust(Optional.of(canonical(line.substring(blank + 1))));
      }
    }
    return new Trust(Optional.empty());
  }

  private static String canonical(String fingerprint) {
    return fingerprint.strip().replace(":", "").toLowerCase(Locale.ROOT);
  }

  SSLSocketFactory sockets() throws IOException {
    try {
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, new TrustManager[] {this}, null);
      return context.getSocketFactory();
    } catch (GeneralSecurityException e) {
      throw new IOException("TLS is not to be had: " + e.getMessage(), e);
    }
  }

  private void check(X509Certificate[] chain) throws CertificateException {
    if (pin.isEmpty()) {
      return;
    }
    try {
      MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
      String found = HexFormat.of().formatHex(sha256.digest(chain[0].getEncoded()));
      if (!found.equals(pin.get())) {
        throw new CertificateException(
            "the server shows another certificate than pinned: " + found);
      }
    } catch (GeneralSecurityException e) {
      throw e instanceof CertificateException c ? c : new CertificateException(e);
    }
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket)
      throws CertificateException {
    check(chain);
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine)
      throws CertificateException {
    check(chain);
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String type) throws CertificateException {
    check(chain);
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket)
      throws CertificateException {
    throw new CertificateException("this is a client");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine)
      throws CertificateException {
    throw new CertificateException("this is a client");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String type) throws CertificateException {
    throw new CertificateException("this is a client");
  }

  @Override
  public X509Certificate[] getAcceptedIssuers() {
    return new X509Certificate[0];
  }
}
