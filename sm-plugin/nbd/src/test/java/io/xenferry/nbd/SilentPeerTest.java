package io.xenferry.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.MemoryBackend;
import io.xenferry.block.RecordedExchange;
import io.xenferry.block.RecordedExchange.Then;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A peer that goes silent, or away, after each byte of a session, in both roles: the negotiation,
 * then writes, zeroes, trim, a read, block status, a flush, and goodbye. What waits for it fails
 * for the right reason, and neither a thread, nor a connection, nor a buffer is left.
 */
@Timeout(300)
class SilentPeerTest {
  private static final int SECTOR = 512;
  private static final int AT_ONCE = 48;

  /** In the quick test: no divisor of a request's 28 bytes, so that all places in it come up. */
  private static final int STRIDE = 5;

  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final String EXPORT = "disk";

  /** No test waits for success by these: too short a time is a timeout, which is what they want. */
  private static final NbdClient.Options HASTY =
      NbdClient.Options.DEFAULT
          .withConnectTimeout(Duration.ofMillis(200))
          .withRequestTimeout(Duration.ofMillis(100));

  private static RecordedExchange exchange;

  /** Bytes of the server's without which the last request has no answer. */
  private static int untilFlushed;

  @BeforeAll
  static void record() throws Exception {
    try (NbdExportServer server = NbdExportServer.listen(anyPort())) {
      server.add(EXPORT, new MemoryBackend("memory", 1 << 20));
      try (RecordedExchange.Recorder recorder = new RecordedExchange.Recorder(port(server))) {
        NbdClient client = NbdClient.connect(at(recorder.port()), NbdClient.Options.DEFAULT);
        use(client);
        untilFlushed = recorder.fromServer();
        client.close();
        exchange = recorder.end();
      }
    }
  }

  private static InetSocketAddress anyPort() {
    return new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
  }

  private static int port(NbdExportServer server) {
    return ((InetSocketAddress) server.address()).getPort();
  }

  private static NbdUri at(int port) {
    return new NbdUri(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), EXPORT);
  }

  private static void use(NbdClient client) throws BlockException {
    finish(client.write(0, ByteBuffer.allocate(SECTOR)));
    finish(client.zero(SECTOR, 8 * SECTOR));
    finish(client.trim(16 * SECTOR, 8 * SECTOR));
    finish(client.read(0, ByteBuffer.allocate(2 * SECTOR)));
    finish(client.extents(0, 1 << 20));
    finish(client.flush());
  }

  private static void finish(CompletableFuture<?> request) throws BlockException {
    try {
      request.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    } catch (Exception e) {
      throw BlockRequests.unwrap(e);
    }
  }

  private static void atEach(int last, int stride, IntConsumer cut) throws Exception {
    Semaphore places = new Semaphore(AT_ONCE);
    try (ExecutorService all = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> cuts =
          IntStream.iterate(0, bytes -> bytes <= last, bytes -> bytes + stride)
              .<Future<?>>mapToObj(bytes ->
                  all.submit(() -> {
                    places.acquire();
                    try {
                      cut.accept(bytes);
                    } finally {
                      places.release();
                    }
                    return null;
                  }))
              .toList();
      for (Future<?> one : cuts) {
        one.get();
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void aServerAtManyBytes(Then then) throws Exception {
    serverAtEach(STRIDE, then);
  }

  @ParameterizedTest
  @EnumSource
  @Tag("slow")
  void aServerAtEachByte(Then then) throws Exception {
    serverAtEach(1, then);
  }

  private static void serverAtEach(int stride, Then then) throws Exception {
    Set<Thread> before = Thread.getAllStackTraces().keySet();
    atEach(
        untilFlushed,
        stride,
        bytes -> {
          try (RecordedExchange.Server server = exchange.serve(bytes, then)) {
            Optional<Kind> failure = failure(server.port());
            // With all that the flush needs, only haste may still fail it.
            if (bytes < untilFlushed || failure.isPresent()) {
              assertThat(failure)
                  .as("%s after %d of %d bytes", then, bytes, untilFlushed)
                  .isPresent()
                  .get()
                  .isIn(
                      then == Then.CLOSE
                          ? List.of(Kind.LOST, Kind.TIMEOUT)
                          : List.of(Kind.TIMEOUT));
            }
            server.left().get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
          } catch (Exception e) {
            throw new AssertionError(e);
          }
        });
    await()
        .atMost(PATIENCE)
        .untilAsserted(() ->
            assertThat(Thread.getAllStackTraces().keySet())
                .filteredOn(thread -> thread.getName().startsWith("nbd"))
                .filteredOn(thread -> !thread.getName().equals("nbd-deadlines"))
                .filteredOn(thread -> !before.contains(thread))
                .isEmpty());
  }

  private static Optional<Kind> failure(int port) {
    try {
      NbdClient client = NbdClient.connect(at(port), HASTY);
      try {
        use(client);
      } finally {
        client.close();
      }
      return Optional.empty();
    } catch (BlockException e) {
      return Optional.of(e.kind());
    }
  }

  @Test
  void aClientAtManyBytes() throws Exception {
    clientAtEach(STRIDE);
  }

  @Test
  @Tag("slow")
  void aClientAtEachByte() throws Exception {
    clientAtEach(1);
  }

  private static void clientAtEach(int stride) throws Exception {
    byte[] words = exchange.fromClient();
    NbdExportServer.Limits limits =
        new NbdExportServer.Limits(
            64, 16, 64L << 20, Duration.ofMillis(200), Duration.ofMillis(100));
    try (NbdExportServer server = NbdExportServer.listen(anyPort(), limits, Optional.empty())) {
      server.add(EXPORT, new MemoryBackend("memory", 1 << 20));
      Set<Integer> quiet = betweenRequests(words);
      atEach(
          words.length - 1,
          stride,
          bytes -> {
            try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port(server))) {
              socket.setSoTimeout((int) PATIENCE.toMillis());
              say(socket, words, bytes, !quiet.contains(bytes));
            } catch (IOException e) {
              throw new AssertionError("after " + bytes + " bytes", e);
            }
          });
      await().atMost(PATIENCE).until(() -> server.clients(EXPORT) == 0);
      await().atMost(PATIENCE).until(() -> server.buffers().inUse() == 0);
      NbdClient after = NbdClient.connect(at(port(server)), NbdClient.Options.DEFAULT);
      use(after);
      after.close();
    }
  }

  /**
   * @param end whether the server is to end the connection, by its deadline
   */
  private static void say(Socket socket, byte[] words, int bytes, boolean end) throws IOException {
    try {
      socket.getOutputStream().write(words, 0, bytes);
      if (end) {
        socket.getInputStream().transferTo(OutputStream.nullOutputStream());
      }
    } catch (SocketTimeoutException e) {
      throw e;
    } catch (IOException e) {
      // It ended with a reset, since something of ours had not been read.
      return;
    }
  }

  /**
   * Where a client may be silent for as long as it likes: after the negotiation and each request.
   */
  private static Set<Integer> betweenRequests(byte[] words) {
    ByteBuffer all = ByteBuffer.wrap(words);
    int at = Integer.BYTES;
    int option;
    do {
      option = all.getInt(at + Long.BYTES);
      at += 16 + all.getInt(at + 12);
    } while (option != NbdProtocol.OPT_GO);
    Set<Integer> quiet = new TreeSet<>();
    while (at < words.length) {
      quiet.add(at);
      boolean write = all.getShort(at + 6) == NbdProtocol.CMD_WRITE;
      at += NbdProtocol.REQUEST_BYTES + (write ? all.getInt(at + 24) : 0);
    }
    return quiet;
  }
}
