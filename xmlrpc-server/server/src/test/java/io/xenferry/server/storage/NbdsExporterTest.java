package io.xenferry.server.storage;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.SslUpgrade;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.storage.MigrationDisks.ExportName;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NbdsExporterTest {
  private static final long SIZE = 1 << 20;
  private static final String TAG = "sr/vdi";

  @TempDir static Path serverDirectory;
  @TempDir static Path clientDirectory;
  private static Certificate server;
  private static Certificate client;

  @TempDir Path dir;
  private Path image;
  private NbdsExporter exporter;

  @BeforeAll
  static void certificates() throws Exception {
    server = Certificate.in(serverDirectory);
    client = Certificate.in(clientDirectory);
  }

  @BeforeEach
  void start() throws Exception {
    image = dir.resolve("image.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(SIZE);
    }
    exporter = exporter();
  }

  @AfterEach
  void stop() {
    exporter.close();
  }

  private NbdsExporter exporter() throws IOException {
    return new NbdsExporter(
        new NbdsExporter.Settings(
            dir.resolve("nbds"),
            InetAddress.getLoopbackAddress(),
            0,
            server.context(Trust.anyClient()),
            server.fingerprint()));
  }

  private String open(String name) throws IOException {
    exporter.agree(TAG, new ExportName(name, "", "", client.fingerprint().hex()));
    return exporter.open(image, SIZE, TAG);
  }

  private static NbdClient connect(String url, Certificate as) throws BlockException {
    NbdsUrl parsed = NbdsUrl.parse(url);
    return NbdClient.connect(
        parsed.uri(),
        NbdClient.Options.DEFAULT.withTls(
            SslUpgrade.client(as.context(Trust.pinned(parsed.fingerprint())))));
  }

  private List<Path> noted() throws IOException {
    try (Stream<Path> files = Files.list(dir.resolve("nbds"))) {
      return files.toList();
    }
  }

  private static byte[] pattern(int number) {
    byte[] bytes = new byte[4096];
    java.util.Arrays.fill(bytes, (byte) number);
    return bytes;
  }

  @Test
  void whoeverHasUrlAndCertificateHasTheDisk() throws Exception {
    String url = open("xf-1");
    assertThat(url).matches("nbds://127\\.0\\.0\\.1:\\d+/[0-9a-f]{64}\\?sha256=[0-9a-f]{64}");
    assertThat(NbdsUrl.parse(url).toString()).doesNotContain(NbdsUrl.parse(url).uri().export());
    assertThat(exporter.open(image, SIZE, TAG)).as("asked for again").isEqualTo(url);
    assertThat(exporter.isOpen(TAG)).isTrue();
    NbdClient disk = connect(url, client);
    disk.write(8192, ByteBuffer.wrap(pattern(7))).get(20, TimeUnit.SECONDS);
    disk.flush().get(20, TimeUnit.SECONDS);
    disk.close();
    assertThat(disk.ended()).isTrue();
    assertThat(java.util.Arrays.copyOfRange(Files.readAllBytes(image), 8192, 12288))
        .isEqualTo(pattern(7));
    assertThatThrownBy(() -> connect(url, server)).isInstanceOf(BlockException.class);
  }

  @Test
  void everySecretIsAnother() throws Exception {
    String first = open("xf-1");
    exporter.close(TAG);
    assertThat(NbdsUrl.parse(open("xf-1")).uri().export())
        .isNotEqualTo(NbdsUrl.parse(first).uri().export());
  }

  @Test
  void closingIsTheFence() throws Exception {
    String url = open("xf-1");
    NbdClient disk = connect(url, client);
    exporter.close(TAG);
    assertThat(exporter.isOpen(TAG)).isFalse();
    assertThat(noted()).isEmpty();
    assertThatThrownBy(() -> disk.write(0, ByteBuffer.wrap(pattern(1))).get(20, TimeUnit.SECONDS))
        .isInstanceOf(ExecutionException.class);
    assertThat(Files.readAllBytes(image)).containsOnly(0);
    assertThatThrownBy(() -> connect(url, client)).isInstanceOf(BlockException.class);
    disk.close();
    exporter.close(TAG);
    // Nobody holds the image any more.
    open("xf-2");
  }

  @Test
  void nobodyElseOpensAnImageMeanwhile() throws Exception {
    open("xf-1");
    exporter.agree("sr/other", new ExportName("xf-2", "", "", ""));
    assertThatThrownBy(() -> exporter.open(image, SIZE, "sr/other"))
        .isInstanceOf(IOException.class);
    assertThat(noted()).hasSize(1);
    assertThat(exporter.isOpen("sr/other")).isFalse();
  }

  @Test
  void nothingIsExportedThatNobodyAgreedOn() {
    assertThatThrownBy(() -> exporter.open(image, SIZE, TAG))
        .hasMessageContaining("nobody has agreed");
    assertThat(exporter.isOpen(TAG)).isFalse();
  }

  @Test
  void theNextServerOpensAgainWhatIsWanted() throws Exception {
    String url = open("xf-1");
    exporter.close();
    exporter = exporter();
    assertThat(exporter.isOpen(TAG)).as("known, though not reached yet").isTrue();
    assertThatThrownBy(() -> connect(url, client)).isInstanceOf(BlockException.class);
    exporter.takeUp("xf-1"::equals);
    NbdClient disk = connect(url, client);
    disk.flush().get(20, TimeUnit.SECONDS);
    disk.close();
    exporter.close(TAG);
    assertThat(noted()).isEmpty();
  }

  @Test
  void theNextServerForgetsWhatIsNotWanted() throws Exception {
    String url = open("xf-1");
    exporter.close();
    exporter = exporter();
    exporter.takeUp(name -> false);
    assertThat(exporter.isOpen(TAG)).isFalse();
    assertThat(noted()).isEmpty();
    assertThatThrownBy(() -> connect(url, client)).isInstanceOf(BlockException.class);
  }

  @Test
  void closesByName() throws Exception {
    open("xf-1");
    exporter.closeIf("another"::equals);
    assertThat(exporter.isOpen(TAG)).isTrue();
    exporter.closeIf("xf-1"::equals);
    assertThat(exporter.isOpen(TAG)).isFalse();
  }

  @Test
  void urlsThatMakeNoSenseAreRefusedWithoutBeingRepeated() {
    String pin = "?sha256=" + "a".repeat(64);
    for (String url :
        List.of(
            "nbds://host:1/secret",
            "nbd://host:1/secret" + pin,
            "nbds:///secret" + pin,
            "nbds://host:1/secret?sha256=12",
            "iscsi://host/secret")) {
      assertThatThrownBy(() -> NbdsUrl.parse(url))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageNotContaining("secret");
    }
  }
}
