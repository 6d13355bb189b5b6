package io.xenferry.server.http;

import io.xenferry.wire.Trust;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.function.BooleanSupplier;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Carries some data through TLS within this process, once and in the background. A JVM that has
 * just started ciphers some 20 MB a second, and a gigabyte once its compiler has seen 80 MB go by
 * (JDK 25, AES-GCM, measured): that is not to happen while a guest's memory waits for it, least of
 * all the last of it, for which the guest stands still.
 */
public final class TlsWarmUp {
  private static final Logger log = LoggerFactory.getLogger(TlsWarmUp.class);

  /** A server that is used at once, or only for a moment, has better things to do. */
  private static final Duration DELAY = Duration.ofSeconds(3);

  private static final int RECORD = 16 << 10;
  private static final long BYTES = 96L << 20;

  private TlsWarmUp() {}

  /** Begins after a while; ends with the process at the latest. */
  public static void later(Certificate certificate) {
    Thread.ofPlatform()
        .daemon()
        .name("tls-warm-up")
        .start(() -> {
          try {
            Thread.sleep(DELAY);
            long begun = System.nanoTime();
            carry(certificate, BYTES, () -> true);
            log.info("TLS is warm after {} ms", (System.nanoTime() - begun) / 1_000_000);
          } catch (SSLException | RuntimeException e) {
            log.warn("TLS could not be warmed up; nothing depends on it", e);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        });
  }

  /**
   * Carries data from a client to a server as long as {@code goOn} says so.
   *
   * @return bytes that arrived as they were sent
   */
  static long carry(Certificate certificate, long bytes, BooleanSupplier goOn) throws SSLException {
    SSLEngine server = certificate.context(Trust.anyClient()).createSSLEngine();
    server.setUseClientMode(false);
    SSLEngine client = Trust.pinned(certificate.fingerprint()).context().createSSLEngine();
    client.setUseClientMode(true);
    ByteBuffer plain = ByteBuffer.allocate(RECORD);
    ByteBuffer arrived = ByteBuffer.allocate(4 * RECORD);
    // The sender's sockets take arrays, the receiver's give direct buffers.
    ByteBuffer there = ByteBuffer.allocate(4 * RECORD);
    ByteBuffer back = ByteBuffer.allocateDirect(4 * RECORD);
    long done = 0;
    while (done < bytes && goOn.getAsBoolean()) {
      client.wrap(plain.clear(), there);
      run(client);
      take(server, there, arrived);
      done += arrived.position();
      arrived.clear();
      server.wrap(plain.clear(), back);
      run(server);
      take(client, back, arrived);
      done += arrived.position();
      arrived.clear();
    }
    return done;
  }

  private static void take(SSLEngine to, ByteBuffer records, ByteBuffer plain) throws SSLException {
    records.flip();
    SSLEngineResult result;
    do {
      result = to.unwrap(records, plain);
      run(to);
    } while (result.getStatus() == SSLEngineResult.Status.OK
        && (result.bytesConsumed() > 0 || result.bytesProduced() > 0)
        && records.hasRemaining());
    records.compact();
  }

  private static void run(SSLEngine engine) {
    for (Runnable task = engine.getDelegatedTask(); task != null; ) {
      task.run();
      task = engine.getDelegatedTask();
    }
  }
}
