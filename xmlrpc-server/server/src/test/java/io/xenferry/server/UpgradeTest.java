package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.server.config.ListenConfig;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.http.HttpServer;
import io.xenferry.server.http.RawStream;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** An HTTP connection becomes a stream of bytes, plain and over TLS, and outlives idleness. */
class UpgradeTest {

  @Test
  void bytesFlowBothWaysAfterTheUpgrade() throws Exception {
    try (TestServer server = TestServer.start()) {
      Certificate certificate = Certificate.in(server.directory);
      try (HttpServer http =
          new HttpServer(
              new ListenConfig("127.0.0.1", 0, OptionalInt.of(0), Optional.empty()),
              TestServer.limits(),
              certificate,
              server.server.dispatcher(),
              (body, stream, origin) -> {})) {
        http.router()
            .route(
                "GET",
                "/v1/echo",
                (request, response, callback) -> {
                  Answers.upgrade(request, response, callback, "echo", UpgradeTest::echo);
                  return true;
                });
        http.start();
        try (Socket plain = new Socket("127.0.0.1", http.httpPort().getAsInt())) {
          exchange(plain);
        }
        try (Socket tls =
            Trust.pinned(certificate.fingerprint())
                .context()
                .getSocketFactory()
                .createSocket("127.0.0.1", http.port())) {
          exchange(tls);
        }
      }
    }
  }

  private static void exchange(Socket s) throws IOException {
    s.setSoTimeout(20_000);
    // The first bytes of the stream come along with the request.
    s.getOutputStream()
        .write(
            ("GET /v1/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
                .getBytes(StandardCharsets.US_ASCII));
    s.getOutputStream().flush();
    InputStream in = s.getInputStream();
    StringBuilder head = new StringBuilder();
    while (!head.toString().endsWith("\r\n\r\n")) {
      int c = in.read();
      assertThat(c).as("the head goes on after " + head).isNotNegative();
      head.append((char) c);
    }
    assertThat(head.toString()).startsWith("HTTP/1.1 101");
    assertThat(in.readNBytes(5)).isEqualTo("early".getBytes(StandardCharsets.US_ASCII));
    byte[] large = new byte[300_000];
    Arrays.fill(large, (byte) 'x');
    Thread writer =
        Thread.ofVirtual()
            .start(() -> {
              try {
                s.getOutputStream().write(large);
                s.getOutputStream().flush();
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            });
    assertThat(in.readNBytes(large.length)).isEqualTo(large);
    try {
      writer.join();
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  private static void echo(RawStream stream) {
    byte[] buffer = new byte[8192];
    try {
      int n;
      while ((n = stream.input().read(buffer)) >= 0) {
        stream.output().write(buffer, 0, n);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
