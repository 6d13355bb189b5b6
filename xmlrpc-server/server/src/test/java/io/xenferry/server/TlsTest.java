package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.interfaces.RSAPublicKey;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What published clients offer in their TLS greeting is accepted; what is outdated is not. */
class TlsTest {
  private static TestServer server;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static SSLSocket connect(String protocol, String suite, String group) throws IOException {
    SSLSocket socket =
        (SSLSocket)
            Trust.pinned(server.server.fingerprint())
                .context()
                .getSocketFactory()
                .createSocket("127.0.0.1", server.server.port());
    socket.setSoTimeout(60_000);
    SSLParameters parameters = socket.getSSLParameters();
    parameters.setProtocols(new String[] {protocol});
    parameters.setCipherSuites(new String[] {suite});
    parameters.setNamedGroups(new String[] {group});
    socket.setSSLParameters(parameters);
    return socket;
  }

  @ParameterizedTest
  @CsvSource({
    // The greeting of xe.
    "TLSv1.2, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, secp384r1",
    "TLSv1.2, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, secp256r1",
    "TLSv1.3, TLS_AES_256_GCM_SHA384, secp384r1",
    "TLSv1.3, TLS_AES_128_GCM_SHA256, x25519",
  })
  void theGreetingsOfClientsAreAccepted(String protocol, String suite, String group)
      throws Exception {
    try (SSLSocket socket = connect(protocol, suite, group)) {
      String call = WireRulesTest.call("session.logout", "OpaqueRef:x");
      socket
          .getOutputStream()
          .write(
              ("POST / HTTP/1.0\r\nContent-Length: " + call.length() + "\r\n\r\n" + call)
                  .getBytes(StandardCharsets.US_ASCII));
      InputStream in = socket.getInputStream();
      assertThat(new String(in.readAllBytes(), StandardCharsets.UTF_8))
          .contains("200 OK")
          .contains("SESSION_INVALID");
      SSLSession session = socket.getSession();
      assertThat(session.getProtocol()).isEqualTo(protocol);
      assertThat(session.getCipherSuite()).isEqualTo(suite);
      assertThat(session.getPeerCertificates()[0].getPublicKey())
          .isInstanceOfSatisfying(
              RSAPublicKey.class,
              key -> assertThat(key.getModulus().bitLength()).isGreaterThanOrEqualTo(2048));
    }
  }

  @Test
  void suitesWithoutForwardSecrecyAreRefused() throws Exception {
    try (SSLSocket socket = connect("TLSv1.2", "TLS_RSA_WITH_AES_256_GCM_SHA384", "secp384r1")) {
      assertThatThrownBy(socket::startHandshake).isInstanceOf(IOException.class);
    }
  }
}
