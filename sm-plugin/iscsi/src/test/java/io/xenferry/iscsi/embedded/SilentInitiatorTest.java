package io.xenferry.iscsi.embedded;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.MemoryBackend;
import io.xenferry.block.RecordedExchange;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.iscsi.pdu.HeaderReader;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * An initiator that goes silent after each byte of a session: login, a look at the disk, a write, a
 * read, a flush. The embedded target ends the connection and keeps nothing of it.
 */
@Timeout(300)
class SilentInitiatorTest {
  private static final String IQN = "iqn.2026-01.io.xenferry:listening";
  private static final int SECTOR = 512;
  private static final int AT_ONCE = 48;

  /** In the quick test: no divisor of a header's 48 bytes, so that all places in it come up. */
  private static final int STRIDE = 13;

  private static final int LOGIN_REQUEST = 0x03;
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final Duration SHORT = Duration.ofMillis(150);

  @TempDir static Path directory;
  private static EmbeddedTargetService service;
  private static IscsiUrl url;
  private static byte[] words;

  @BeforeAll
  static void record() throws Exception {
    EmbeddedTargetService patient = service("patient", EmbeddedTargetService.Limits.defaults());
    try {
      IscsiUrl there = export(patient);
      try (RecordedExchange.Recorder recorder = new RecordedExchange.Recorder(there.port())) {
        IscsiUrl way =
            new IscsiUrl(Optional.empty(), "127.0.0.1", recorder.port(), IQN, there.lun());
        try (IscsiDisk disk = IscsiInitiator.connect(way, IscsiOptions.defaults())) {
          use(disk);
          words = recorder.end().fromClient();
        }
      }
    } finally {
      patient.close();
    }
    service =
        service(
            "hasty",
            new EmbeddedTargetService.Limits(
                64, 64, 64L << 20, 4L << 20, SHORT, SHORT, SHORT, SHORT, PATIENCE));
    url = export(service);
  }

  private static EmbeddedTargetService service(String name, EmbeddedTargetService.Limits limits)
      throws Exception {
    Path state = Files.createDirectories(directory.resolve(name));
    return new EmbeddedTargetService(
        EmbeddedTargetService.Settings.at(state, InetAddress.getByName("127.0.0.1")).within(limits),
        new FileExportJournal(state.resolve("journal")));
  }

  private static IscsiUrl export(EmbeddedTargetService service) throws Exception {
    return service.open(
        new Export(
            IQN,
            1,
            new Export.Backing.Device(new MemoryBackend("memory", 1 << 20)),
            "listening",
            "listening",
            Optional.empty(),
            new Acl.Everybody(),
            true,
            false));
  }

  private static void use(IscsiDisk disk) throws Exception {
    IscsiDisk.await(disk.write(0, ByteBuffer.allocateDirect(SECTOR)), PATIENCE);
    IscsiDisk.await(disk.read(0, ByteBuffer.allocateDirect(2 * SECTOR)), PATIENCE);
    IscsiDisk.await(disk.flush(), PATIENCE);
  }

  @AfterAll
  static void stop() {
    service.close();
  }

  @Test
  void atManyBytes() throws Exception {
    atEach(STRIDE);
  }

  @Test
  @Tag("slow")
  void atEachByte() throws Exception {
    atEach(1);
  }

  private static void atEach(int stride) throws Exception {
    Semaphore places = new Semaphore(AT_ONCE);
    try (ExecutorService all = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> cuts =
          IntStream.iterate(0, bytes -> bytes <= words.length, bytes -> bytes + stride)
              .<Future<?>>mapToObj(bytes ->
                  all.submit(() -> {
                    places.acquire();
                    try {
                      silentAfter(bytes);
                    } finally {
                      places.release();
                    }
                    return null;
                  }))
              .toList();
      for (Future<?> cut : cuts) {
        cut.get();
      }
    }
    await()
        .atMost(PATIENCE)
        .untilAsserted(() -> {
          assertThat(service.buffersInUse()).isZero();
          assertThat(service.drained(IQN)).isTrue();
        });
  }

  private static void silentAfter(int bytes) throws IOException {
    byte[] said = asAnother(bytes);
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), url.port())) {
      socket.setSoTimeout((int) PATIENCE.toMillis());
      socket.getOutputStream().write(said, 0, bytes);
      socket.getInputStream().transferTo(OutputStream.nullOutputStream());
    } catch (SocketTimeoutException e) {
      throw new AssertionError("silent after " + bytes + " bytes, and not noticed", e);
    } catch (IOException e) {
      // It ended with a reset, since something of ours had not been read.
      return;
    }
  }

  /** The same session under an ISID of its own: the same one again would end the one before. */
  private static byte[] asAnother(int number) {
    byte[] all = words.clone();
    ByteBuffer pdus = ByteBuffer.wrap(all);
    for (int at = 0; at < all.length; ) {
      if ((pdus.get(at) & 0x3F) == LOGIN_REQUEST) {
        pdus.putShort(at + 12, (short) number);
      }
      at += Headers.LENGTH + (HeaderReader.dataLength(pdus.position(at)) + 3 & ~3);
    }
    return all;
  }
}
