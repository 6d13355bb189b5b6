package io.xenferry.guest.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.ledger.LedgerEntry;
import io.xenferry.guest.ledger.LedgerReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A guest that this test plays, on the serial ports of two hosts. */
class HeartbeatObserverTest {
  private Path directory;
  private HeartbeatObserver observer;
  private final List<AutoCloseable> open = new ArrayList<>();

  @BeforeEach
  void open() throws Exception {
    directory = Files.createTempDirectory("xfo");
    observer = new HeartbeatObserver(UUID.randomUUID(), directory.resolve("ledger"));
  }

  @AfterEach
  void close() throws Exception {
    observer.close();
    for (AutoCloseable each : open) {
      each.close();
    }
    try (var files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(directory);
  }

  private SocketChannel port(String name) throws Exception {
    Path socket = directory.resolve(name);
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    open.add(server);
    server.bind(UnixDomainSocketAddress.of(socket));
    observer.listen(socket);
    SocketChannel guest = server.accept();
    open.add(guest);
    return guest;
  }

  private void beat(SocketChannel port, String boot, long time, long first, long acknowledged)
      throws Exception {
    long before = observer.heartbeats();
    String line = "XF1 " + boot + " " + time + " 0:256:" + first + ":" + acknowledged + ":5:0 ";
    CRC32C crc = new CRC32C();
    crc.update(line.getBytes(StandardCharsets.US_ASCII));
    send(port, line + String.format(Locale.ROOT, "*%08x\n", crc.getValue()));
    await().until(() -> observer.heartbeats() > before);
  }

  private static void send(SocketChannel port, String text) throws Exception {
    port.write(ByteBuffer.wrap(text.getBytes(StandardCharsets.US_ASCII)));
  }

  private List<LedgerEntry> ledger() throws Exception {
    observer.sync();
    List<LedgerEntry> entries = new ArrayList<>();
    LedgerReader.read(directory.resolve("ledger"), entries::add);
    return entries;
  }

  @Test
  void notesEveryRecordThoughOnlyTheLastIsTold() throws Exception {
    SocketChannel port = port("s");
    send(port, "half a line 0:256:1:9:5:0 *12345678\nXF1 damaged *00000000\n");
    beat(port, "a", 100, 1, 3);
    beat(port, "a", 200, 1, 3);
    beat(port, "a", 300, 1, 5);
    assertThat(ledger())
        .filteredOn(e -> e.type() == LedgerEntry.Type.WRITE)
        .extracting(LedgerEntry::sequence)
        .containsExactly(1L << 4, 2L << 4, 3L << 4, 4L << 4, 5L << 4);
    beat(port, "b", 50, 1005, 1006);
    assertThat(ledger()).last().extracting(LedgerEntry::sequence).isEqualTo(1006L << 4);
    assertThat(observer.acknowledged(0)).isEqualTo(1006);
    assertThat(observer.anomalies()).isEmpty();
  }

  @Test
  void aGuestThatMovesInOrderIsNoAnomalyEvenWhenItsLastWordsAreReadLate() throws Exception {
    SocketChannel source = port("s");
    beat(source, "a", 100, 1, 3);
    SocketChannel destination = port("d");
    beat(destination, "a", 300, 1, 5);
    beat(source, "a", 200, 1, 4);
    assertThat(observer.anomalies()).isEmpty();
    assertThat(observer.where()).endsWith("/d");
    List<LedgerEntry> entries = ledger();
    long started =
        entries.stream()
            .filter(e -> e.type() == LedgerEntry.Type.START)
            .mapToLong(LedgerEntry::monotonic)
            .max()
            .orElseThrow();
    assertThat(entries.stream().filter(e -> e.sequence() >> 4 == 5))
        .allMatch(e -> e.monotonic() >= started);
  }

  @Test
  void aGuestInTwoPlacesIsSeen() throws Exception {
    SocketChannel source = port("s");
    beat(source, "a", 100, 1, 3);
    SocketChannel destination = port("d");
    beat(destination, "a", 200, 1, 4);
    beat(source, "a", 210, 1, 4);
    assertThat(observer.anomalies()).singleElement().asString().contains("while it ran at");
  }

  @Test
  void aGuestThatGoesBackInTimeIsSeen() throws Exception {
    SocketChannel source = port("s");
    beat(source, "a", 100, 1, 30);
    SocketChannel destination = port("d");
    beat(destination, "a", 90, 1, 25);
    assertThat(observer.anomalies()).singleElement().asString().contains("went back");
  }
}
