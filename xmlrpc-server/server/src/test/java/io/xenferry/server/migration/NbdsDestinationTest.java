package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.FileBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyJob;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.nbd.NbdExportServer;
import io.xenferry.nbd.NbdUri;
import io.xenferry.nbd.SslUpgrade;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.storage.NbdsUrl;
import io.xenferry.time.RealScheduler;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NbdsDestinationTest {
  private static final int SIZE = 24 << 20;
  private static final String NAME = "ab".repeat(32);

  @TempDir static Path shared;
  private static Certificate certificate;

  @TempDir Path dir;
  private final MemoryBackend disk = new MemoryBackend("disk", SIZE);
  private NbdExportServer server;
  private Relay relay;
  private NbdsDestination destination;

  @BeforeAll
  static void certificate() throws Exception {
    certificate = Certificate.in(shared);
  }

  private void serve(BlockBackend backend) throws Exception {
    server =
        NbdExportServer.listenForSecrets(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            NbdExportServer.Limits.DEFAULT,
            SslUpgrade.server(certificate.context(Trust.anyClient())));
    server.add(NAME, backend);
    relay = new Relay((InetSocketAddress) server.address());
    destination =
        new NbdsDestination(
            new NbdsUrl(new NbdUri(relay.address(), NAME, true), certificate.fingerprint()),
            certificate);
  }

  @AfterEach
  void stop() throws Exception {
    relay.close();
    server.close();
  }

  /** Passes bytes on, and cuts every connection when told to. */
  private static final class Relay implements AutoCloseable {
    private final InetSocketAddress to;
    private final ServerSocketChannel listener;
    private final List<SocketChannel> ends = new CopyOnWriteArrayList<>();

    Relay(InetSocketAddress to) throws IOException {
      this.to = to;
      this.listener =
          ServerSocketChannel.open()
              .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      Thread.ofVirtual().start(this::accept);
    }

    private void accept() {
      try {
        while (true) {
          SocketChannel client = listener.accept();
          SocketChannel there = SocketChannel.open(to);
          ends.addAll(List.of(client, there));
          Thread.ofVirtual().start(() -> pass(client, there));
          Thread.ofVirtual().start(() -> pass(there, client));
        }
      } catch (IOException e) {
        // Closed at the end of the test; a client that nobody serves would show it earlier.
        return;
      }
    }

    private static void pass(SocketChannel from, SocketChannel to) {
      ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
      try (from;
          to) {
        while (from.read(buffer.clear()) >= 0) {
          buffer.flip();
          while (buffer.hasRemaining()) {
            to.write(buffer);
          }
        }
      } catch (IOException e) {
        // Cut, as it should be.
        return;
      }
    }

    InetSocketAddress address() throws IOException {
      return (InetSocketAddress) listener.getLocalAddress();
    }

    void cut() throws IOException {
      for (SocketChannel end : ends) {
        end.close();
      }
    }

    @Override
    public void close() throws IOException {
      listener.close();
      cut();
    }
  }

  private static <T> T await(CompletableFuture<T> future) throws Exception {
    return future.get(60, TimeUnit.SECONDS);
  }

  @Test
  void aCopyWhoseConnectionsAreCutGoesOn() throws Exception {
    AtomicInteger writes = new AtomicInteger();
    serve(
        new ForwardingBackend(disk) {
          @Override
          public CompletableFuture<Void> write(long offset, ByteBuffer from) {
            int number = writes.incrementAndGet();
            if (number == 5 || number == 20) {
              try {
                relay.cut();
              } catch (IOException e) {
                return CompletableFuture.failedFuture(e);
              }
            }
            return super.write(offset, from);
          }
        });
    byte[] noise = new byte[SIZE];
    new Random(3).nextBytes(noise);
    Path image = Files.write(dir.resolve("image"), noise);
    RealScheduler scheduler = new RealScheduler("copy");
    CopyJob job =
        new CopyEngine()
            .start(
                List.of(
                    new DiskPlan(
                        FrozenDisk.of("disk", FileBackend.open(image, FileBackend.Mode.READ_ONLY)),
                        destination,
                        true,
                        MemoryDirtyLog.immediate(BlockMap.of(SIZE), scheduler))),
                CopyOptions.DEFAULT,
                scheduler,
                new CopyListener() {});
    await(job.drain());
    await(job.close());
    scheduler.close();
    assertThat(writes.get()).as("some were sent again").isGreaterThan(SIZE / (512 << 10));
    ByteBuffer back = ByteBuffer.allocate(SIZE);
    await(disk.read(0, back));
    assertThat(back.array()).isEqualTo(noise);
  }

  @Test
  void nothingOfTheOldConnectionIsUnderWayOnceItIsFenced() throws Exception {
    CompletableFuture<Void> release = new CompletableFuture<>();
    CompletableFuture<Void> arrived = new CompletableFuture<>();
    serve(
        new ForwardingBackend(disk) {
          @Override
          public CompletableFuture<Void> write(long offset, ByteBuffer from) {
            arrived.complete(null);
            return release.thenCompose(go -> super.write(offset, from));
          }
        });
    Destination old = await(destination.open());
    CompletableFuture<Void> write =
        old.backend().write(0, ByteBuffer.allocate(4096).put(0, (byte) 1));
    await(arrived);
    relay.cut();
    assertThatThrownBy(() -> await(write)).hasMessageContaining("nbds://");
    CompletableFuture<Void> fence = destination.fence(old);
    assertThatThrownBy(() -> fence.get(300, TimeUnit.MILLISECONDS))
        .isInstanceOf(java.util.concurrent.TimeoutException.class);
    release.complete(null);
    await(fence);
    Destination fresh = await(destination.open());
    assertThat(fresh.generation()).isGreaterThan(old.generation());
    await(fresh.backend().flush());
    await(destination.fence(fresh));
  }

  @Test
  void aFenceThatIsNotAnsweredFails() throws Exception {
    serve(disk);
    Destination old = await(destination.open());
    relay.close();
    assertThatThrownBy(() -> await(destination.fence(old))).hasMessageContaining("nbds://");
  }

  @Test
  void anOrderlyEndNeedsNoFurtherConnection() throws Exception {
    serve(disk);
    Destination opened = await(destination.open());
    await(opened.backend().write(0, ByteBuffer.allocate(4096)));
    relay.listener.close();
    await(destination.fence(opened));
    assertThat(server.clients(NAME)).isZero();
  }
}
