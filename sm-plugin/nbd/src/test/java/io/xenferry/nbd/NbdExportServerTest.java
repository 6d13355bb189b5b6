package io.xenferry.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.BlockOp;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.ExternalTools;
import io.xenferry.block.FaultBackend;
import io.xenferry.block.FaultBackend.Fault;
import io.xenferry.block.FaultBackend.Plan;
import io.xenferry.block.FileBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.block.Range;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NbdExportServerTest {
  private static final int MIB = 1 << 20;

  @TempDir Path dir;
  private Path socket;
  private NbdExportServer server;

  @BeforeEach
  void start() throws Exception {
    socket = dir.resolve("nbd");
    listen(Duration.ofSeconds(20), Duration.ofSeconds(20));
  }

  private void listen(Duration negotiation, Duration stall) throws IOException {
    NbdExportServer.Limits limits =
        new NbdExportServer.Limits(8, 16, 64L << 20, negotiation, stall);
    server = NbdExportServer.listen(UnixDomainSocketAddress.of(socket), limits, Optional.empty());
  }

  @AfterEach
  void stop() {
    server.close();
    assertThat(socket).doesNotExist();
  }

  private NbdClient connect(String export, String... contexts) throws Exception {
    return NbdClient.connect(
        NbdUri.unix(socket, export), NbdClient.Options.DEFAULT.withContexts(contexts));
  }

  private static <T> T await(CompletableFuture<T> future) throws Exception {
    return future.get(20, TimeUnit.SECONDS);
  }

  private static Kind failure(CompletableFuture<?> future) throws Exception {
    try {
      await(future);
    } catch (Exception e) {
      return BlockRequests.unwrap(e).kind();
    }
    throw new AssertionError("succeeded");
  }

  @Test
  void foreignToolsReadAndWriteAnExport() throws Exception {
    ExternalTools.require("qemu-img", "nbdcopy", "nbdinfo");
    Path image = dir.resolve("image");
    byte[] noise = new byte[3 * MIB];
    new Random(1).nextBytes(noise);
    try (FileBackend file = FileBackend.create(image, 16L * MIB)) {
      await(file.write(5L * MIB + 4096, ByteBuffer.wrap(noise)));
    }
    for (List<String> copier :
        List.of(
            List.of("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw"),
            List.of("nbdcopy", "--connections=4"))) {
      String name = copier.getFirst();
      MemoryBackend disk = new MemoryBackend(name, 16L * MIB);
      server.add(name, disk);
      String uri = server.uri(name).toString();
      List<String> in = new ArrayList<>(copier);
      in.addAll(List.of(image.toString(), uri));
      ExternalTools.run(in.toArray(String[]::new));
      ByteBuffer read = ByteBuffer.allocate(noise.length);
      await(disk.read(5L * MIB + 4096, read));
      assertThat(read.array()).as(name).isEqualTo(noise);

      Path back = dir.resolve("back-" + name);
      List<String> out = new ArrayList<>(copier);
      if (name.equals("qemu-img")) {
        out.remove("-n");
      }
      out.addAll(List.of(uri, back.toString()));
      ExternalTools.run(out.toArray(String[]::new));
      assertThat(Files.mismatch(image, back)).as(name).isEqualTo(-1);
    }
    assertThat(ExternalTools.run("nbdinfo", "--list", "nbd+unix://?socket=" + socket))
        .contains("export=\"nbdcopy\"", "export=\"qemu-img\"", "can_multi_conn: true");
  }

  @Test
  void exportsDirtyBitmapsAsQemuDoes() throws Exception {
    List<Range> dirty =
        List.of(new Range(0, 65536), new Range(MIB, 131072), new Range(8L * MIB - 65536, 65536));
    server.add(
        "disk",
        NbdExport.of(new MemoryBackend("disk", 8L * MIB))
            .withContext("qemu:dirty-bitmap:b0", BlockStatusSource.ofDirty(dirty)));

    try (NbdClient client = connect("disk", "qemu:dirty-bitmap:b0", "qemu:dirty-bitmap:b1")) {
      assertThat(client.contexts())
          .containsExactlyInAnyOrder("base:allocation", "qemu:dirty-bitmap:b0");
      assertThat(await(client.dirtyRanges(NbdClient.dirtyBitmapContext("b0")))).isEqualTo(dirty);
      assertThat(failure(client.dirtyRanges(NbdClient.dirtyBitmapContext("b1"))))
          .isEqualTo(Kind.ACCESS);
      assertThat(await(client.status("qemu:dirty-bitmap:b0", 32768, 65536)))
          .containsExactly(new StatusExtent(32768, 32768, 1), new StatusExtent(65536, 32768, 0));
    }
    ExternalTools.require("nbdinfo");
    String map =
        ExternalTools.run("nbdinfo", "--map=qemu:dirty-bitmap:b0", server.uri("disk").toString());
    assertThat(map.lines().map(l -> l.strip().replaceAll("\\s+", " ")))
        .containsExactly(
            "0 65536 1 dirty",
            "65536 983040 0 clean",
            "1048576 131072 1 dirty",
            "1179648 7143424 0 clean",
            "8323072 65536 1 dirty");
  }

  @Test
  void removingAnExportDisconnectsAndWaitsForItsRequests() throws Exception {
    FaultBackend disk = new FaultBackend(new MemoryBackend("disk", MIB));
    disk.follow(Plan.every(BlockOp.WRITE, new Fault.Hang()));
    server.add("disk", disk);
    server.add("other", new MemoryBackend("other", MIB));
    NbdClient client = connect("disk");
    NbdClient other = connect("other");
    CompletableFuture<Void> hanging = client.write(0, ByteBuffer.allocate(512));
    await(client.read(0, ByteBuffer.allocate(512)));

    CompletableFuture<Void> removed = server.remove("disk");

    assertThat(failure(hanging)).isEqualTo(Kind.LOST);
    assertThat(removed).isNotDone();
    assertThatThrownBy(() -> connect("disk"))
        .isInstanceOfSatisfying(
            BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.ACCESS));
    disk.close();
    await(removed);
    await(other.flush());
    client.close();
    other.close();
  }

  @Test
  void errorsOfTheBackendArriveAsTheyAre() throws Exception {
    FaultBackend disk = new FaultBackend(new MemoryBackend("disk", MIB));
    server.add("disk", disk);
    try (NbdClient client = connect("disk")) {
      for (Kind kind : List.of(Kind.IO, Kind.NO_SPACE, Kind.BUSY)) {
        disk.follow((n, op, offset, length) -> Optional.of(new Fault.Fail(kind)));
        assertThat(failure(client.write(0, ByteBuffer.allocate(512)))).isEqualTo(kind);
        assertThat(failure(client.read(0, ByteBuffer.allocate(512)))).isEqualTo(kind);
        assertThat(failure(client.extents(0, 512))).isEqualTo(kind);
        assertThat(failure(client.flush())).isEqualTo(kind);
      }
      disk.follow(Plan.NONE);
      await(client.write(0, ByteBuffer.allocate(512)));
    }
  }

  @Test
  void junkHarmsNobody() throws Exception {
    server.add("disk", new MemoryBackend("disk", MIB));
    Random random = new Random(4711);
    for (int i = 0; i < 60; i++) {
      byte[] junk = new byte[random.nextInt(400)];
      random.nextBytes(junk);
      ByteBuffer bytes = ByteBuffer.allocate(600);
      if (i % 3 > 0) {
        bytes.putInt(3);
      }
      if (i % 3 > 1) {
        bytes.putLong(NbdProtocol.OPTION_MAGIC).putInt(1 + random.nextInt(11));
        bytes.putInt(random.nextInt(5) == 0 ? random.nextInt() : junk.length);
      }
      bytes.put(junk).flip();
      try (SocketChannel client = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
        client.write(bytes);
      } catch (IOException e) {
        assertThat(e).hasMessageMatching("Broken pipe|Connection reset.*");
      }
    }
    assertServes("disk");
  }

  /** Once the connections of those who misbehaved are gone: there is a limit. */
  private void assertServes(String export) {
    Awaitility.await()
        .atMost(Duration.ofSeconds(20))
        .ignoreExceptions()
        .untilAsserted(() -> {
          try (NbdClient client = connect(export)) {
            await(client.flush());
          }
        });
  }

  @Test
  void junkAfterTheNegotiationHarmsNobody() throws Exception {
    server.add("disk", new MemoryBackend("disk", MIB));
    Random random = new Random(4712);
    for (int i = 0; i < 40; i++) {
      try (SocketChannel raw = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
        NbdChannel channel = new NbdChannel(raw);
        new ClientHandshake(channel, "disk").run(List.of("base:allocation"), Optional.empty());
        ByteBuffer request = ByteBuffer.allocate(NbdProtocol.REQUEST_BYTES);
        request.putInt(i % 4 == 0 ? random.nextInt() : NbdProtocol.REQUEST_MAGIC);
        request.putShort((short) random.nextInt()).putShort((short) random.nextInt(12));
        request.putLong(random.nextLong()).putLong(random.nextLong()).putInt(random.nextInt());
        raw.write(request.flip());
      } catch (IOException e) {
        assertThat(e).isInstanceOf(IOException.class);
      }
    }
    assertServes("disk");
    Awaitility.await().atMost(Duration.ofSeconds(20)).until(() -> server.clients("disk") == 0);
  }

  @Test
  void clientsThatStallAreDisconnected() throws Exception {
    server.close();
    listen(Duration.ofSeconds(2), Duration.ofMillis(500));
    server.add("disk", new MemoryBackend("disk", 64L * MIB));
    try (SocketChannel silent = SocketChannel.open(UnixDomainSocketAddress.of(socket));
        SocketChannel half = SocketChannel.open(UnixDomainSocketAddress.of(socket));
        SocketChannel deaf = SocketChannel.open(UnixDomainSocketAddress.of(socket));
        NbdClient quiet = connect("disk")) {
      new ClientHandshake(new NbdChannel(half), "disk").run(List.of(), Optional.empty());
      ByteBuffer write = request(NbdProtocol.CMD_WRITE, 0, 4096);
      half.write(write);
      new ClientHandshake(new NbdChannel(deaf), "disk").run(List.of(), Optional.empty());
      deaf.write(request(NbdProtocol.CMD_READ, 0, 32 * MIB));
      await(quiet.write(0, ByteBuffer.wrap(new byte[] {1})));
      deaf.write(request(NbdProtocol.CMD_READ, 0, 32 * MIB));

      Awaitility.await().atMost(Duration.ofSeconds(30)).until(() -> server.clients("disk") == 1);
      ByteBuffer greeting = ByteBuffer.allocate(4096);
      while (silent.read(greeting) >= 0) {
        assertThat(greeting.position()).isLessThanOrEqualTo(18);
      }
      await(quiet.flush());
    }
  }

  private static ByteBuffer request(int command, long offset, int length) {
    return ByteBuffer.allocate(NbdProtocol.REQUEST_BYTES)
        .putInt(NbdProtocol.REQUEST_MAGIC)
        .putShort((short) 0)
        .putShort((short) command)
        .putLong(1)
        .putLong(offset)
        .putInt(length)
        .flip();
  }

  /** Often, since a client may know that it has been let in before the server has gone on. */
  @RepeatedTest(20)
  void takesNoMoreClientsThanItMay() throws Exception {
    server.add("disk", new MemoryBackend("disk", MIB));
    List<NbdClient> clients = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      clients.add(connect("disk"));
    }
    assertThatThrownBy(() -> connect("disk")).isInstanceOf(BlockException.class);
    clients.removeLast().close();
    Awaitility.await()
        .atMost(Duration.ofSeconds(20))
        .ignoreExceptions()
        .untilAsserted(() -> clients.add(connect("disk")));
    clients.forEach(NbdClient::close);
  }

  @Test
  void replacesTheSocketOfADeadProcessButNotOfALivingOne() throws Exception {
    assertThatThrownBy(() -> NbdExportServer.listen(UnixDomainSocketAddress.of(socket)))
        .isInstanceOf(IOException.class);
    Path stale = dir.resolve("stale");
    try (var listener =
        java.nio.channels.ServerSocketChannel.open(java.net.StandardProtocolFamily.UNIX)) {
      listener.bind(UnixDomainSocketAddress.of(stale));
    }
    assertThat(stale).exists();
    NbdExportServer.listen(UnixDomainSocketAddress.of(stale)).close();
  }
}
