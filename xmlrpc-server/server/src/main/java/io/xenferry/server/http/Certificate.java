package io.xenferry.server.http;

import io.xenferry.sr.AtomicFile;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/**
 * The server's own certificate: RSA, self-signed, made at the first start. RSA since {@code xe}'s
 * TLS offers ECDHE-RSA suites only.
 */
public final class Certificate {
  // A PKCS #12 file needs a password; what protects this one is its mode.
  private static final String PASSWORD = "xenferry";
  private static final String ALIAS = "server";

  private final KeyStore store;
  private final X509Certificate certificate;

  private Certificate(KeyStore store, X509Certificate certificate) {
    this.store = store;
    this.certificate = certificate;
  }

  /** Reads it from the directory, or makes it there. */
  public static Certificate in(Path directory) throws IOException, InterruptedException {
    Path file = directory.resolve("server.p12");
    if (!Files.exists(file)) {
      make(directory, file);
    }
    try (InputStream in = Files.newInputStream(file)) {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(in, PASSWORD.toCharArray());
      if (store.getCertificate(ALIAS) instanceof X509Certificate c) {
        return new Certificate(store, c);
      }
      throw new IOException(file + " holds no certificate called " + ALIAS);
    } catch (GeneralSecurityException | IOException e) {
      throw new IOException(file + " cannot be read as a PKCS #12 key store: " + e.getMessage(), e);
    }
  }

  private static void make(Path directory, Path file) throws IOException, InterruptedException {
    Path temporary = directory.resolve("server.p12.new");
    Files.deleteIfExists(temporary);
    Path keytool = Path.of(System.getProperty("java.home"), "bin", "keytool");
    ProcessBuilder builder =
        new ProcessBuilder(
            keytool.toString(),
            "-J-XX:TieredStopAtLevel=1",
            "-genkeypair",
            "-alias",
            ALIAS,
            "-keyalg",
            "RSA",
            "-keysize",
            "2048",
            "-sigalg",
            "SHA256withRSA",
            "-validity",
            "3650",
            "-dname",
            "CN=XenFerry",
            "-storetype",
            "PKCS12",
            "-keystore",
            temporary.toString(),
            "-storepass:env",
            "XENFERRY_STORE");
    builder.environment().put("XENFERRY_STORE", PASSWORD);
    builder.redirectErrorStream(true);
    builder.redirectOutput(ProcessBuilder.Redirect.DISCARD);
    Process process = builder.start();
    try {
      if (!process.waitFor(2, TimeUnit.MINUTES) || process.exitValue() != 0) {
        throw new IOException("keytool made no certificate");
      }
    } finally {
      process.destroyForcibly();
    }
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rw-------"));
    // Peers and clients pin it: one that is lost in a crash is another server to them.
    try (FileChannel written = FileChannel.open(temporary, StandardOpenOption.WRITE)) {
      written.force(true);
    }
    Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    AtomicFile.syncDirectory(directory);
  }

  public Fingerprint fingerprint() {
    return Fingerprint.of(certificate);
  }

  /** A context that shows this certificate, to peers of that trust. */
  public SSLContext context(Trust trust) {
    try {
      KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
      keys.init(store, PASSWORD.toCharArray());
      return trust.context(keys.getKeyManagers());
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("the server's key cannot be used", e);
    }
  }

  public X509Certificate x509() {
    return certificate;
  }

  /** As host.get_server_certificate answers it. */
  public String pem() throws GeneralSecurityException {
    String body =
        Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(certificate.getEncoded());
    return String.join(
        "\n", List.of("-----BEGIN CERTIFICATE-----", body, "-----END CERTIFICATE-----", ""));
  }

  KeyStore store() {
    return store;
  }

  String password() {
    return PASSWORD;
  }
}
