package io.xenferry.migration.peer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.wire.Fingerprint;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HexFormat;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A certificate nobody has signed, of another name: only its fingerprint counts. */
class PinnedTlsTest {
  private static final Duration SOON = Duration.ofSeconds(10);
  private final MigrationId migration = new MigrationId(UUID.randomUUID());
  private static final HttpPeerTransport TRANSPORT = new HttpPeerTransport();
  @TempDir static Path folder;
  private static HttpsServer server;
  private static String url;
  private static String fingerprint;

  @BeforeAll
  static void serve() throws Exception {
    Path store = folder.resolve("keys.p12");
    Process keytool =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair",
                "-alias",
                "a",
                "-keyalg",
                "EC",
                "-dname",
                "CN=elsewhere",
                "-storetype",
                "PKCS12",
                "-keystore",
                store.toString(),
                "-storepass",
                "changeit")
            .redirectErrorStream(true)
            .start();
    assertThat(keytool.waitFor(60, TimeUnit.SECONDS)).isTrue();
    KeyStore keys = KeyStore.getInstance("PKCS12");
    try (InputStream in = Files.newInputStream(store)) {
      keys.load(in, "changeit".toCharArray());
    }
    fingerprint =
        HexFormat.of()
            .formatHex(
                MessageDigest.getInstance("SHA-256").digest(keys.getCertificate("a").getEncoded()));
    KeyManagerFactory managers =
        KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    managers.init(keys, "changeit".toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(managers.getKeyManagers(), null, null);
    server = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setHttpsConfigurator(new HttpsConfigurator(context));
    server.createContext(
        "/",
        exchange -> {
          exchange.sendResponseHeaders(204, -1);
          exchange.close();
        });
    server.start();
    url = "https://127.0.0.1:" + server.getAddress().getPort();
  }

  @AfterAll
  static void stop() {
    TRANSPORT.close();
    server.stop(0);
  }

  private PeerResponse ask(String pinned) throws Exception {
    return TRANSPORT
        .exchange(
            new PeerAddress(url, pinned),
            PeerClient.memoryRequest(migration, "ab".repeat(32)),
            SOON)
        .get(20, TimeUnit.SECONDS);
  }

  @Test
  void thePinnedCertificateIsTrusted() throws Exception {
    assertThat(ask(fingerprint).status()).isEqualTo(204);
  }

  @Test
  void anyOtherIsNot() {
    assertThatThrownBy(() -> ask("00".repeat(32))).hasRootCauseMessage(wrong());
    assertThatThrownBy(() -> open("00".repeat(32))).isInstanceOf(SSLException.class);
  }

  private String wrong() {
    return "certificate not trusted: SHA-256 " + new Fingerprint(fingerprint);
  }

  @Test
  void aRefusedMemoryStreamIsAnError() {
    assertThatThrownBy(() -> open(fingerprint))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("refused the memory stream");
  }

  @Test
  void aTlsAddressNeedsAFingerprint() {
    assertThatThrownBy(() -> new PeerAddress(url, "")).isInstanceOf(IllegalArgumentException.class);
  }

  /** Whoever has got a client may not have sent his message yet. */
  @Test
  void aClientThatIsNoLongerKeptStillSends() throws Exception {
    try (HttpPeerTransport transport = new HttpPeerTransport();
        HttpClient first = transport.client(fingerprint)) {
      for (int i = 0; i < HttpPeerTransport.MAX_CLIENTS; i++) {
        transport.client("%064x".formatted(i));
      }
      assertThat(transport.clients()).isEqualTo(HttpPeerTransport.MAX_CLIENTS);
      assertThat(transport.client(fingerprint)).isNotSameAs(first);
      HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(SOON).build();
      assertThat(first.send(request, HttpResponse.BodyHandlers.discarding()).statusCode())
          .isEqualTo(204);
    }
  }

  private void open(String pinned) throws IOException {
    MemoryStream.open(new MemoryTarget(migration, url, pinned, "ab".repeat(32)), SOON).close();
  }
}
