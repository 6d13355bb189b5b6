package io.xenferry.bench;

import io.xenferry.bench.command.Commands;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.Base64;
import java.util.List;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * A certificate that signs itself, which both ends show and trust: for our own TLS, and as files
 * for programs that use GnuTLS.
 *
 * @param directory of the files
 */
record NbdCertificate(SSLContext context, Path directory) {
  private static final String PASSWORD = "password";
  private static final String NAME = "it";

  /** Makes one; takes a second. */
  static NbdCertificate make(Path base)
      throws IOException, InterruptedException, GeneralSecurityException {
    Path file = base.resolve("certificate.p12");
    Commands.run(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
            "-genkeypair",
            "-alias",
            NAME,
            "-keyalg",
            "RSA", // GnuTLS does not read the JDK's keys of curves
            "-keysize",
            "2048",
            "-dname",
            "CN=bench",
            "-ext",
            "san=ip:127.0.0.1,dns:localhost",
            "-storetype",
            "PKCS12",
            "-keystore",
            file.toString(),
            "-storepass",
            PASSWORD));
    KeyStore store = KeyStore.getInstance("PKCS12");
    try (InputStream in = Files.newInputStream(file)) {
      store.load(in, PASSWORD.toCharArray());
    }
    Certificate own = store.getCertificate(NAME);
    KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(store, PASSWORD.toCharArray());
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    trusted.setCertificateEntry(NAME, own);
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(trusted);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
    Path directory = Files.createDirectory(base.resolve("pki"));
    String certificate = pem("CERTIFICATE", own.getEncoded());
    String key = pem("PRIVATE KEY", store.getKey(NAME, PASSWORD.toCharArray()).getEncoded());
    Files.writeString(directory.resolve("ca-cert.pem"), certificate);
    for (String end : List.of("server", "client")) {
      Files.writeString(directory.resolve(end + "-cert.pem"), certificate);
      Files.writeString(directory.resolve(end + "-key.pem"), key);
    }
    return new NbdCertificate(context, directory);
  }

  private static String pem(String what, byte[] der) {
    String body =
        Base64.getMimeEncoder(64, "\n".getBytes(StandardCharsets.US_ASCII)).encodeToString(der);
    return "-----BEGIN " + what + "-----\n" + body + "\n-----END " + what + "-----\n";
  }
}
