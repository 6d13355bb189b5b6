package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.cli.RemoteServers;
import io.xenferry.server.cli.KnownServers;
import io.xenferry.server.config.RemoteServersConfig;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The thin CLI protocol on the server's ports. */
class CliTest {
  private static TestServer server;
  private static String uuid;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    TestServer.Calls root = server.calls();
    uuid = root.text("host.get_uuid", root.only("host"));
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  @Test
  void overPlainTcpInPieces() throws Exception {
    try (Socket s = new Socket("127.0.0.1", server.httpPort())) {
      s.setSoTimeout(20_000);
      s.setTcpNoDelay(true);
      assertThat(run(s.getInputStream(), s.getOutputStream(), credentials(), 3)).contains(uuid);
    }
  }

  @Test
  void overTls12WithTheGroupAndSuiteOfThePublishedClient() throws Exception {
    SSLContext context = Trust.pinned(server.server.fingerprint()).context();
    try (SSLSocket s =
        (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", server.server.port())) {
      s.setSoTimeout(20_000);
      SSLParameters p = s.getSSLParameters();
      p.setProtocols(new String[] {"TLSv1.2"});
      p.setCipherSuites(new String[] {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"});
      p.setNamedGroups(new String[] {"secp384r1"});
      s.setSSLParameters(p);
      assertThat(run(s.getInputStream(), s.getOutputStream(), credentials(), 1000)).contains(uuid);
    }
  }

  @Test
  void overTheUnixSocketWithoutAPassword() throws Exception {
    try (SocketChannel c = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      c.connect(UnixDomainSocketAddress.of(server.directory.resolve("socket")));
      assertThat(
              run(
                  Channels.newInputStream(c),
                  Channels.newOutputStream(c),
                  "username=root\npassword=null",
                  1000))
          .contains(uuid);
    }
  }

  @Test
  void aWrongPasswordOverTcpIsRefused() throws Exception {
    try (Socket s = new Socket("127.0.0.1", server.httpPort())) {
      s.setSoTimeout(20_000);
      assertThat(run(s.getInputStream(), s.getOutputStream(), "username=root\npassword=no", 1000))
          .contains("Authentication failed")
          .doesNotContain(uuid);
    }
  }

  @Test
  void aBodyThatIsTooLargeOrIncompleteEndsTheConnection() throws Exception {
    for (String head : new String[] {"content-length: 204801", "content-length: x", "a: b"}) {
      try (Socket s = new Socket("127.0.0.1", server.httpPort())) {
        s.setSoTimeout(20_000);
        s.getOutputStream()
            .write(
                ("POST /cli HTTP/1.0\r\n" + head + "\r\n\r\n").getBytes(StandardCharsets.US_ASCII));
        assertThat(s.getInputStream().readAllBytes()).isEmpty();
      }
    }
  }

  @Test
  void otherServersAreTrustedAtFirstContactAndHeldToIt(@TempDir Path directory) throws Exception {
    KnownServers known = new KnownServers(directory, RemoteServersConfig.defaults());
    String name = "127.0.0.1:" + server.server.port();
    try (RemoteServers.Remote first = known.connect(name, Optional.empty())) {
      assertThat(first.acceptedAtFirstContact()).contains(server.server.fingerprint().toString());
    }
    KnownServers again = new KnownServers(directory, RemoteServersConfig.defaults());
    try (RemoteServers.Remote second = again.connect(name, Optional.empty())) {
      assertThat(second.acceptedAtFirstContact()).isEmpty();
    }
    assertThatThrownBy(() -> again.connect(name, Optional.of("00".repeat(32))))
        .hasMessageContaining("TLS_CONNECTION_FAILED");
    java.nio.file.Files.writeString(
        directory.resolve("known-servers"), name + " " + "11".repeat(32) + "\n");
    for (String spelling : List.of(name, name.replace("127.0.0.1", "[::ffff:127.0.0.1]"))) {
      assertThatThrownBy(() -> again.connect(spelling, Optional.empty()))
          .hasMessageContaining("TLS_CONNECTION_FAILED");
    }
    java.nio.file.Files.writeString(directory.resolve("known-servers"), "");
    try (RemoteServers.Remote anew = again.connect(name, Optional.empty())) {
      assertThat(anew.acceptedAtFirstContact()).isPresent();
    }
    assertThatThrownBy(() -> again.connect("a/b", Optional.empty()))
        .hasMessageContaining("INVALID_VALUE")
        .hasMessageContaining("a/b (allowed: HOST or HOST:PORT");
    assertThatThrownBy(() -> again.connect(name, Optional.of("AB:CD")))
        .hasMessageContaining("INVALID_VALUE")
        .hasMessageContaining("AB:CD (allowed: SHA-256");
  }

  @Test
  void underStrictTrustOnlyAGivenFingerprintMakesAServerKnown(@TempDir Path directory)
      throws Exception {
    KnownServers strict =
        new KnownServers(directory, RemoteServersConfig.defaults().withStrictTrust(true));
    String name = "127.0.0.1:" + server.server.port();
    String fingerprint = server.server.fingerprint().toString();
    assertThatThrownBy(() -> strict.connect(name, Optional.empty()))
        .hasMessageContaining("TLS_CONNECTION_FAILED")
        .cause()
        .hasMessageContaining(fingerprint);
    assertThat(directory.resolve("known-servers")).doesNotExist();
    strict.connect(name, Optional.of(fingerprint)).close();
    strict.connect(name, Optional.empty()).close();
  }

  private static String credentials() {
    return "username=root\npassword=" + server.password;
  }

  /** Sends the request in pieces, greets back, and reads what comes as text. */
  private static String run(InputStream in, OutputStream out, String credentials, int piece)
      throws IOException {
    String body = "host-list\nminimal=true\n" + credentials;
    byte[] request =
        ("POST /cli HTTP/1.0\r\nUser-agent: xe-cli/Unix/0.2\r\noriginator: cli\r\ncontent-length: "
                + body.length()
                + "\r\n\r\n"
                + body)
            .getBytes(StandardCharsets.UTF_8);
    for (int i = 0; i < request.length; i += piece) {
      out.write(request, i, Math.min(piece, request.length - i));
      out.flush();
    }
    byte[] greeting = in.readNBytes(35);
    assertThat(new String(greeting, 0, 27, StandardCharsets.US_ASCII))
        .isEqualTo("XenSource thin CLI protocol");
    out.write(greeting);
    out.flush();
    return new String(in.readAllBytes(), StandardCharsets.UTF_8);
  }
}
