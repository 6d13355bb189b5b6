package io.xenferry.nbd;

import io.xenferry.block.ExternalTools;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.HexFormat;
import java.util.function.Predicate;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

/** A self-signed certificate with its key, and contexts that show it. */
final class TestCertificate {
  private static final String PASSWORD = "password";

  private final KeyStore store;
  private final X509Certificate certificate;

  private TestCertificate(KeyStore store) throws Exception {
    this.store = store;
    this.certificate = (X509Certificate) store.getCertificate("it");
  }

  /** Makes one; takes a second. */
  static TestCertificate make(Path directory, String name) throws Exception {
    Path file = directory.resolve(name + ".p12");
    ExternalTools.run(
        Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
        "-J-XX:TieredStopAtLevel=1",
        "-genkeypair",
        "-alias",
        "it",
        "-keyalg",
        "RSA",
        "-keysize",
        "2048",
        "-dname",
        "CN=" + name,
        "-ext",
        "san=ip:127.0.0.1,dns:localhost",
        "-storetype",
        "PKCS12",
        "-keystore",
        file.toString(),
        "-storepass",
        PASSWORD);
    try (InputStream in = Files.newInputStream(file)) {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(in, PASSWORD.toCharArray());
      return new TestCertificate(store);
    }
  }

  String fingerprint() throws Exception {
    return fingerprint(certificate);
  }

  private static String fingerprint(X509Certificate certificate) throws CertificateException {
    try {
      return HexFormat.of()
          .formatHex(MessageDigest.getInstance("SHA-256").digest(certificate.getEncoded()));
    } catch (java.security.NoSuchAlgorithmException e) {
      throw new CertificateException(e);
    }
  }

  /** Shows this certificate and accepts what the other end must show. */
  SSLContext context(Predicate<String> accepted) throws Exception {
    KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(store, PASSWORD.toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), new TrustManager[] {new Check(accepted)}, null);
    return context;
  }

  /** Shows nothing and accepts this certificate alone. */
  SSLContext pinned() throws Exception {
    String mine = fingerprint();
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, new TrustManager[] {new Check(mine::equals)}, new SecureRandom());
    return context;
  }

  /** Writes what GnuTLS programs read: ca-cert.pem, and pairs for server and client. */
  void writePem(Path directory) throws Exception {
    String cert = pem("CERTIFICATE", certificate.getEncoded());
    String key = pem("PRIVATE KEY", store.getKey("it", PASSWORD.toCharArray()).getEncoded());
    Files.createDirectories(directory);
    Files.writeString(directory.resolve("ca-cert.pem"), cert);
    for (String end : new String[] {"server", "client"}) {
      Files.writeString(directory.resolve(end + "-cert.pem"), cert);
      Files.writeString(directory.resolve(end + "-key.pem"), key);
    }
  }

  private static String pem(String what, byte[] der) {
    String body =
        Base64.getMimeEncoder(64, "\n".getBytes(StandardCharsets.US_ASCII)).encodeToString(der);
    return "-----BEGIN " + what + "-----\n" + body + "\n-----END " + what + "-----\n";
  }

  private static final class Check extends X509ExtendedTrustManager {
    private final Predicate<String> accepted;

    Check(Predicate<String> accepted) {
      this.accepted = accepted;
    }

    private void check(X509Certificate[] chain) throws CertificateException {
      if (!accepted.test(fingerprint(chain[0]))) {
        throw new CertificateException("not the expected certificate");
      }
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type)
        throws CertificateException {
      check(chain);
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
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }
}
