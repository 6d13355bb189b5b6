package io.xenferry.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockOp;
import io.xenferry.block.Extent;
import io.xenferry.block.ExternalTools;
import io.xenferry.block.FileBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.block.StatisticsBackend;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.SequencedMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Our client with the servers of others, and our export with their clients, all over TLS with
 * certificates on both sides: what each pair was seen to do is what docs/nbd-peers.md says.
 */
@Timeout(300)
class NbdPeersTest {
  private static final int MIB = 1 << 20;
  private static final int KIB = 1 << 10;
  private static final long SIZE = 16L * MIB;
  private static final int CONNECTIONS = 4;
  private static final String YES = "yes";
  private static final String NO = "–";

  @TempDir static Path shared;
  private static TestCertificate ours;
  private static Path pki;
  private static Path strangersPki;

  @TempDir Path dir;

  @BeforeAll
  static void certificates() throws Exception {
    ExternalTools.require(
        "qemu-nbd", "qemu-storage-daemon", "nbdkit", "qemu-img", "qemu-io", "nbdinfo", "nbdcopy");
    ours = TestCertificate.make(shared, "ours");
    pki = shared.resolve("pki");
    ours.writePem(pki);
    strangersPki = Files.createDirectories(shared.resolve("strangers"));
    Files.copy(pki.resolve("ca-cert.pem"), strangersPki.resolve("ca-cert.pem"));
  }

  private static <T> T finish(CompletableFuture<T> future) throws Exception {
    return future.get(20, TimeUnit.SECONDS);
  }

  /** Columns are peers, rows what is looked at, in the order of the first peer. */
  private static final class Table {
    private final SequencedMap<String, SequencedMap<String, String>> rows = new LinkedHashMap<>();
    private final List<String> peers = new ArrayList<>();

    void note(String peer, String row, String cell) {
      if (!peers.contains(peer)) {
        peers.add(peer);
      }
      rows.computeIfAbsent(row, any -> new LinkedHashMap<>()).put(peer, cell);
    }

    /** A row for what a peer must do, and has done. */
    void did(String peer, String row) {
      note(peer, row, YES);
    }

    String markdown() {
      StringBuilder text = new StringBuilder("| |");
      peers.forEach(peer -> text.append(' ').append(peer).append(" |"));
      text.append("\n|---|").append("---|".repeat(peers.size())).append('\n');
      rows.forEach((row, cells) -> {
        text.append("| ").append(row).append(" |");
        peers.forEach(peer -> text.append(' ').append(cells.getOrDefault(peer, NO)).append(" |"));
        text.append('\n');
      });
      return text.toString();
    }
  }

  private static void assertIsInThePage(String table) throws Exception {
    Path root = Path.of("..", "..");
    assertThat(Files.readString(root.resolve("docs/nbd-peers.md"))).contains(table);
  }

  // ---- our client

  /** A server of others on a port of its own. */
  private interface Foreign {
    List<String> command(Path image, int port);
  }

  private static Map<String, Foreign> servers() {
    Map<String, Foreign> servers = new LinkedHashMap<>();
    String credentials =
        "tls-creds-x509,id=tls,endpoint=server,verify-peer=yes,sanity-check=no,dir=" + pki;
    servers.put(
        "qemu-nbd",
        (image, port) ->
            List.of(
                "qemu-nbd",
                "--format=raw",
                "--persistent",
                "--shared=8",
                "--discard=unmap",
                "--bind=127.0.0.1",
                "--port=" + port,
                "--export-name=disk",
                "--object=" + credentials,
                "--tls-creds=tls",
                image.toString()));
    servers.put(
        "qemu-storage-daemon",
        (image, port) ->
            List.of(
                "qemu-storage-daemon",
                "--object",
                credentials,
                "--blockdev",
                "driver=file,node-name=node,discard=unmap,filename=" + image,
                "--nbd-server",
                "addr.type=inet,addr.host=127.0.0.1,max-connections=8,tls-creds=tls,addr.port="
                    + port,
                "--export",
                "type=nbd,id=export,node-name=node,name=disk,writable=on"));
    servers.put(
        "nbdkit",
        (image, port) ->
            List.of(
                "nbdkit",
                "--foreground",
                "--ipaddr=127.0.0.1",
                "--port=" + port,
                "--tls=require",
                "--tls-verify-peer",
                "--tls-certificates=" + pki,
                "file",
                image.toString()));
    return servers;
  }

  private static int freePort() throws Exception {
    try (ServerSocketChannel free =
        ServerSocketChannel.open()
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))) {
      return ((InetSocketAddress) free.getLocalAddress()).getPort();
    }
  }

  @Test
  void ourClientWithTheServersOfOthers() throws Exception {
    Table table = new Table();
    for (Map.Entry<String, Foreign> entry : servers().entrySet()) {
      String peer = entry.getKey();
      Path image = dir.resolve(peer);
      FileBackend.create(image, SIZE).close();
      int port = freePort();
      Process server =
          new ProcessBuilder(entry.getValue().command(image, port))
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      try {
        await().atMost(Duration.ofSeconds(20)).until(() -> listens(port));
        lookAt(table, peer, port, image);
      } finally {
        server.destroy();
        assertThat(server.waitFor(20, TimeUnit.SECONDS)).isTrue();
      }
    }
    assertIsInThePage(table.markdown());
  }

  private static boolean listens(int port) {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      return socket.isConnected();
    } catch (java.io.IOException e) {
      return false;
    }
  }

  private static void lookAt(Table table, String peer, int port, Path image) throws Exception {
    NbdUri uri = NbdUri.parse("nbds://127.0.0.1:" + port + "/disk");
    String fingerprint = ours.fingerprint();
    NbdClient.Options known =
        NbdClient.Options.DEFAULT.withTls(SslUpgrade.client(ours.context(fingerprint::equals)));
    NbdClient.Options stranger =
        NbdClient.Options.DEFAULT.withTls(SslUpgrade.client(ours.pinned()));
    try (NbdClient one = NbdClient.connect(uri, known);
        NbdConnections all = NbdConnections.connect(uri, known, CONNECTIONS)) {
      table.did(peer, "fixed newstyle, TLS 1.3, both with certificates");
      assertThatThrownBy(() -> useOnce(uri, stranger)).isInstanceOf(BlockException.class);
      table.did(peer, "lets nobody in without one");
      table.note(peer, "structured replies", one.structured() ? YES : NO);
      table.note(
          peer,
          "several connections",
          all.count() == CONNECTIONS ? YES : "one, it promises nothing for more");

      byte[] noise = new byte[MIB];
      new Random(port).nextBytes(noise);
      List<CompletableFuture<Void>> writes = new ArrayList<>();
      for (int at = 0; at < MIB; at += 64 * KIB) {
        writes.add(all.write(MIB + at, ByteBuffer.wrap(noise, at, 64 * KIB)));
      }
      for (CompletableFuture<Void> write : writes) {
        finish(write);
      }
      ByteBuffer back = ByteBuffer.allocate(MIB);
      finish(all.read(MIB, back));
      assertThat(back.array()).isEqualTo(noise);
      table.did(peer, "reads and writes, many in flight");
      finish(all.flush());
      assertThat(content(image, MIB, MIB)).isEqualTo(noise);
      table.note(peer, "flush", one.offers(NbdProtocol.FLAG_SEND_FLUSH) ? YES : NO);

      finish(all.zero(MIB, 256 * KIB));
      finish(all.flush());
      assertThat(content(image, MIB, 256 * KIB)).containsOnly(0);
      table.note(
          peer,
          "write zeroes",
          one.offers(NbdProtocol.FLAG_SEND_WRITE_ZEROES) ? YES : "by writes of zeroes");
      finish(all.trim(MIB + 512L * KIB, 256 * KIB));
      table.note(peer, "trim", one.offers(NbdProtocol.FLAG_SEND_TRIM) ? YES : NO);
      List<Extent> extents = finish(all.extents(0, SIZE));
      boolean told = extents.getFirst().zero() && extents.getFirst().length() <= MIB + 256 * KIB;
      table.note(peer, "block status", told ? YES : NO);
      table.note(
          peer, "FUA", one.offers(NbdProtocol.FLAG_SEND_FUA) ? "offered; flushed instead" : NO);
    }
  }

  private static void useOnce(NbdUri uri, NbdClient.Options options) throws Exception {
    NbdClient.connect(uri, options).close();
  }

  private static byte[] content(Path image, long offset, int length) throws Exception {
    try (FileChannel file = FileChannel.open(image)) {
      ByteBuffer bytes = ByteBuffer.allocate(length);
      while (bytes.hasRemaining() && file.read(bytes, offset + bytes.position()) >= 0) {
        // As long as there is more.
      }
      return bytes.array();
    }
  }

  // ---- our export

  private volatile StatisticsBackend disk = counted();

  /** No write begins before: a client is to show how many connections it makes. */
  private volatile CompletableFuture<Void> writable = CompletableFuture.completedFuture(null);

  private int port;

  private static StatisticsBackend counted() {
    return new StatisticsBackend(new MemoryBackend("disk", SIZE), System::nanoTime);
  }

  private long count(BlockOp op) {
    return disk.statistics().of(op).requests();
  }

  private String nbds(Path certificates) {
    return "nbds://127.0.0.1:" + port + "/disk?tls-certificates=" + certificates;
  }

  /** Of QEMU's programs: credentials, and the disk as they name it. */
  private List<String> qemu(Path certificates, String... command) {
    List<String> all = new ArrayList<>(List.of(command));
    all.addAll(
        List.of(
            "--object",
            "tls-creds-x509,id=tls,endpoint=client,sanity-check=no,dir=" + certificates,
            "--image-opts",
            "driver=nbd,discard=unmap,server.type=inet,server.host=127.0.0.1,export=disk,tls-creds=tls,"
                + "server.port="
                + port));
    return all;
  }

  private static String run(List<String> command) throws Exception {
    return ExternalTools.run(command.toArray(String[]::new));
  }

  private String io(String... commands) throws Exception {
    List<String> words = new ArrayList<>(List.of("qemu-io"));
    for (String command : commands) {
      words.addAll(List.of("-c", command));
    }
    String said = run(qemu(pki, words.toArray(String[]::new)));
    assertThat(said).doesNotContain("verification failed");
    return said;
  }

  private static void assertRefused(List<String> command) throws Exception {
    ExternalTools.Outcome outcome = ExternalTools.attempt(command.toArray(String[]::new));
    assertThat(outcome.status()).as("%s: %s", command, outcome.output()).isNotZero();
  }

  @Test
  void ourExportWithTheClientsOfOthers() throws Exception {
    Table table = new Table();
    byte[] noise = new byte[3 * MIB];
    new Random(7).nextBytes(noise);
    String fingerprint = ours.fingerprint();
    try (NbdExportServer server =
        NbdExportServer.listen(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            NbdExportServer.Limits.DEFAULT,
            Optional.of(SslUpgrade.server(ours.context(any -> true))))) {
      server.add("disk", NbdExport.of(forwarding()).onlyFor(fingerprint));
      port = ((InetSocketAddress) server.address()).getPort();
      Path image = dir.resolve("image");
      try (FileBackend file = FileBackend.create(image, SIZE)) {
        finish(file.write(5L * MIB, ByteBuffer.wrap(noise)));
      }
      info(table, noise);
      copies(table, server, image, noise);
      convert(table, image, noise);
      requests(table);
    }
    assertIsInThePage(table.markdown());
  }

  /** The disk is another for each of the tools. */
  private BlockBackend forwarding() {
    return new ForwardingBackend(new MemoryBackend("size", SIZE)) {
      @Override
      public CompletableFuture<Void> read(long offset, ByteBuffer into) {
        return disk.read(offset, into);
      }

      @Override
      public CompletableFuture<Void> write(long offset, ByteBuffer from) {
        return writable.thenCompose(done -> disk.write(offset, from));
      }

      @Override
      public CompletableFuture<Void> zero(long offset, long length) {
        return disk.zero(offset, length);
      }

      @Override
      public CompletableFuture<Void> trim(long offset, long length) {
        return disk.trim(offset, length);
      }

      @Override
      public CompletableFuture<Void> flush() {
        return disk.flush();
      }

      @Override
      public CompletableFuture<List<Extent>> extents(long offset, long length) {
        return disk.extents(offset, length);
      }
    };
  }

  private static final String ENTER = "fixed newstyle, TLS 1.3, both with certificates";
  private static final String STRANGER = "is refused without one";
  private static final String STRUCTURED = "structured replies";
  private static final String SEVERAL = "several connections";
  private static final String READS = "reads";
  private static final String WRITES = "writes";
  private static final String FLUSH = "flush";
  private static final String ZEROES = "write zeroes";
  private static final String TRIM = "trim";
  private static final String STATUS = "block status";
  private static final String FUA = "FUA";

  private void info(Table table, byte[] noise) throws Exception {
    String peer = "nbdinfo";
    disk = counted();
    finish(disk.write(5L * MIB, ByteBuffer.wrap(noise)));
    assertThat(ExternalTools.run("nbdinfo", nbds(pki)))
        .contains("protocol: newstyle-fixed with TLS, using structured packets")
        .contains("can_multi_conn: true", "can_zero: true", "can_fua: true", "can_trim: true");
    table.did(peer, ENTER);
    assertRefused(List.of("nbdinfo", nbds(strangersPki)));
    table.did(peer, STRANGER);
    table.did(peer, STRUCTURED);
    for (String offered : List.of(SEVERAL, FLUSH, ZEROES, TRIM, FUA)) {
      table.note(peer, offered, "sees it offered");
    }
    assertThat(ExternalTools.run("nbdinfo", "--map", nbds(pki)).lines())
        .anyMatch(line -> line.strip().matches("5242880 +3145728 +0 +data"));
    table.did(peer, STATUS);
  }

  private void copies(Table table, NbdExportServer server, Path image, byte[] noise)
      throws Exception {
    String peer = "nbdcopy";
    disk = counted();
    // It makes no more connections than it has threads.
    String four = "--connections=" + CONNECTIONS;
    String threads = "--threads=" + CONNECTIONS;
    writable = new CompletableFuture<>();
    CompletableFuture<Void> allAtOnce =
        CompletableFuture.runAsync(() -> {
          try {
            await()
                .atMost(Duration.ofSeconds(20))
                .until(() -> server.clients("disk") == CONNECTIONS);
          } finally {
            writable.complete(null);
          }
        });
    ExternalTools.run("nbdcopy", four, threads, "--flush", image.toString(), nbds(pki));
    finish(allAtOnce);
    table.did(peer, ENTER);
    assertRefused(List.of("nbdcopy", image.toString(), nbds(strangersPki)));
    table.did(peer, STRANGER);
    table.did(peer, SEVERAL);
    assertThat(disk.statistics().of(BlockOp.WRITE).bytes()).isEqualTo(noise.length);
    table.did(peer, WRITES);
    assertThat(count(BlockOp.FLUSH)).isPositive();
    table.did(peer, FLUSH);
    assertThat(count(BlockOp.ZERO) + count(BlockOp.TRIM)).isPositive();
    table.note(peer, ZEROES, count(BlockOp.ZERO) > 0 ? YES : NO);
    table.note(peer, TRIM, count(BlockOp.TRIM) > 0 ? YES : NO);

    Path back = dir.resolve("back-nbdcopy");
    ExternalTools.run("nbdcopy", four, threads, nbds(pki), back.toString());
    assertThat(Files.mismatch(image, back)).isEqualTo(-1);
    table.did(peer, READS);
    // What block status said is a hole was not read.
    assertThat(disk.statistics().of(BlockOp.READ).bytes()).isEqualTo(noise.length);
    table.did(peer, STATUS);
    table.did(peer, STRUCTURED);
  }

  private void convert(Table table, Path image, byte[] noise) throws Exception {
    String peer = "qemu-img";
    disk = counted();
    finish(disk.write(5L * MIB, ByteBuffer.wrap(noise)));
    Path back = dir.resolve("back-qemu");
    List<String> read = qemu(pki, "qemu-img", "convert", "-O", "raw");
    read.add(back.toString());
    run(read);
    assertThat(Files.mismatch(image, back)).isEqualTo(-1);
    table.did(peer, ENTER);
    List<String> refused = qemu(strangersPki, "qemu-img", "info");
    assertRefused(refused);
    table.did(peer, STRANGER);
    table.did(peer, READS);
    assertThat(disk.statistics().of(BlockOp.READ).bytes()).isLessThan(SIZE / 2);
    table.did(peer, STATUS);
    table.did(peer, STRUCTURED);
    assertThat(run(qemu(pki, "qemu-img", "map", "--output=json")))
        .contains(
            "\"start\": 5242880, \"length\": 3145728, \"depth\": 0, \"present\": true, \"zero\": false");

    disk = counted();
    List<String> write =
        new ArrayList<>(
            List.of(
                "qemu-img",
                "convert",
                "-n",
                "-f",
                "raw",
                "--object",
                "tls-creds-x509,id=tls,endpoint=client,sanity-check=no,dir=" + pki,
                "--target-image-opts",
                image.toString(),
                "driver=nbd,server.type=inet,server.host=127.0.0.1,export=disk,tls-creds=tls,"
                    + "server.port="
                    + port));
    run(write);
    ByteBuffer written = ByteBuffer.allocate(noise.length);
    finish(disk.read(5L * MIB, written));
    assertThat(written.array()).isEqualTo(noise);
    table.did(peer, WRITES);
    assertThat(count(BlockOp.FLUSH)).isPositive();
    table.did(peer, FLUSH);
    assertThat(count(BlockOp.ZERO)).isPositive();
    table.did(peer, ZEROES);
  }

  private void requests(Table table) throws Exception {
    String peer = "qemu-io";
    disk = counted();
    io("write -P 7 1M 256k", "read -P 7 1M 256k");
    table.did(peer, ENTER);
    assertRefused(qemu(strangersPki, "qemu-io", "-c", "read 0 512"));
    table.did(peer, STRANGER);
    table.did(peer, READS);
    table.did(peer, WRITES);
    long flushes = count(BlockOp.FLUSH);
    io("write -f -P 8 2M 64k");
    assertThat(count(BlockOp.FLUSH)).as("a write with FUA is durable").isGreaterThan(flushes);
    table.did(peer, FUA);
    flushes = count(BlockOp.FLUSH);
    io("flush");
    assertThat(count(BlockOp.FLUSH)).isGreaterThan(flushes);
    table.did(peer, FLUSH);
    io("write -z 1M 64k", "read -P 0 1M 64k");
    assertThat(count(BlockOp.ZERO)).isPositive();
    table.did(peer, ZEROES);
    io("discard 1088k 64k");
    assertThat(count(BlockOp.TRIM)).isPositive();
    table.did(peer, TRIM);
    byte[] eights = new byte[64 * KIB];
    Arrays.fill(eights, (byte) 8);
    ByteBuffer back = ByteBuffer.allocate(eights.length);
    finish(disk.read(2L * MIB, back));
    assertThat(back.array()).isEqualTo(eights);
    assertThat(io("map")).contains("allocated");
    table.did(peer, STATUS);
    table.did(peer, STRUCTURED);
  }
}
