package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.server.http.Certificate;
import io.xenferry.wire.Trust;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLServerSocket;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Streams to a destination that takes nothing and says nothing. */
class MemoryStreamsTest {
  /** Much less than a stream's silence may last, and as much as a busy machine needs. */
  private static final int SECONDS = 60;

  private final CountDownLatch over = new CountDownLatch(1);

  @Test
  void endsAtOnceWhenItIsBrokenOff(@TempDir Path directory) throws Exception {
    Certificate certificate = Certificate.in(directory);
    try (SSLServerSocket server =
        (SSLServerSocket)
            certificate
                .context(Trust.anyClient())
                .getServerSocketFactory()
                .createServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      Thread.ofVirtual().start(() -> upgradeAndBeSilent(server));
      MemoryTarget target =
          new MemoryTarget(
              new MigrationId(UUID.randomUUID()),
              "https://127.0.0.1:" + server.getLocalPort(),
              certificate.fingerprint().toString(),
              "ab".repeat(32));
      MemoryRelay.Stream stream = new MemoryStreams().open(target);
      CompletableFuture<Void> ended = new CompletableFuture<>();
      Thread.ofVirtual()
          .start(() -> {
            stream.abort();
            ended.complete(null);
          });
      ended.get(SECONDS, TimeUnit.SECONDS);
    } finally {
      over.countDown();
    }
  }

  private void upgradeAndBeSilent(SSLServerSocket server) {
    try (Socket socket = server.accept()) {
      InputStream in = socket.getInputStream();
      StringBuilder head = new StringBuilder();
      while (!head.toString().endsWith("\r\n\r\n")) {
        head.append((char) in.read());
      }
      assertThat(head.toString()).contains("Upgrade");
      socket
          .getOutputStream()
          .write("HTTP/1.1 101 Switching\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
      over.await();
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }
}
