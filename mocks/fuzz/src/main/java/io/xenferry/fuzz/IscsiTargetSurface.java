package io.xenferry.fuzz;

import static io.xenferry.fuzz.Calls.require;

import io.xenferry.block.MemoryBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.iscsi.pdu.HeaderReader;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.Pdu.Stage;
import io.xenferry.iscsi.pdu.TextKeys;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Initiators of the embedded target. The first byte of an input says whether it follows a login
 * that has succeeded; the rest are the bytes of the connection.
 */
final class IscsiTargetSurface implements Surface {
  private static final int RUNS_BETWEEN_CHECKS = 256;
  private static final Duration SOON = Duration.ofSeconds(20);

  private final IscsiServer server = new IscsiServer();
  private int runs;

  IscsiTargetSurface() throws Exception {}

  @Override
  public List<byte[]> seeds() throws Exception {
    List<byte[]> seeds = new ArrayList<>();
    seeds.add(input(0, login(), new TextKeys().set("SendTargets", "All").toBytes()));
    seeds.add(
        input(
            0,
            new Pdu.LoginRequest(true, false, Stage.SECURITY, Stage.OPERATIONAL, 7, 0, 0, 0, 1, 0),
            new TextKeys()
                .set("InitiatorName", IscsiServer.INITIATOR)
                .set("AuthMethod", "CHAP,None")
                .toBytes()));
    for (byte[] cdb :
        List.of(
            Cdb.testUnitReady(),
            Cdb.inquiry(-1, 96),
            Cdb.inquiry(0x83, 255),
            Cdb.inquiry(0xB0, 64),
            Cdb.modeSense6(0x3F, 255),
            Cdb.reportLuns(64),
            Cdb.readCapacity16(32),
            Cdb.getLbaStatus(0, 64),
            Cdb.read(3, 8),
            Cdb.synchronizeCache())) {
      seeds.add(input(1, command(cdb, true, false, 4096), new byte[0]));
    }
    for (byte[] cdb :
        List.of(
            Cdb.write(1, 1),
            Cdb.unmap(512),
            Cdb.writeSame16(0, 16, true),
            bytes(Cdb.COMPARE_AND_WRITE),
            bytes(Cdb.ORWRITE_16),
            bytes(Cdb.MODE_SELECT_10),
            bytes(Cdb.PERSISTENT_RESERVE_OUT),
            bytes(Cdb.WRITE_AND_VERIFY_12))) {
      seeds.add(input(1, command(cdb, false, true, 512), new byte[512]));
    }
    seeds.add(input(1, new Pdu.NopOut(true, 0, 9, Pdu.NO_TAG, 2, 0), new byte[3]));
    seeds.add(
        input(1, new Pdu.TaskRequest(true, 5, 1L << 48, 9, Pdu.NO_TAG, 2, 0, 0), new byte[0]));
    seeds.add(input(1, new Pdu.LogoutRequest(true, 0, 9, 0, 2, 0), new byte[0]));
    seeds.add(
        input(
            1,
            new Pdu.TextRequest(true, true, false, 0, 9, Pdu.NO_TAG, 2, 0),
            new TextKeys().set("SendTargets", "").toBytes()));
    return seeds;
  }

  private static byte[] bytes(int opcode) {
    byte[] cdb = new byte[16];
    cdb[0] = (byte) opcode;
    cdb[13] = 1;
    return cdb;
  }

  private static Pdu command(byte[] cdb, boolean read, boolean write, int length) {
    return new Pdu.ScsiCommand(false, true, read, write, 1L << 48, 2, length, 2, 0, cdb);
  }

  private static byte[] input(int first, Pdu pdu, byte[] data) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    all.write(first);
    all.writeBytes(bytes(pdu, data));
    return all.toByteArray();
  }

  private static byte[] bytes(Pdu pdu, byte[] data) {
    ByteBuffer all = ByteBuffer.allocate(Headers.LENGTH + ((data.length + 3) & ~3));
    Headers.write(pdu, data.length, all);
    all.clear().position(Headers.LENGTH);
    return all.put(data).array();
  }

  private static Pdu login() {
    return new Pdu.LoginRequest(
        true, false, Stage.OPERATIONAL, Stage.FULL_FEATURE, 7, 0, 0, 0, 1, 0);
  }

  @Override
  public void take(byte[] input) throws Exception {
    if (input.length == 0) {
      return;
    }
    try (Socket socket = Visit.connect(server.port())) {
      if ((input[0] & 1) != 0) {
        logIn(socket);
      }
      Visit.say(socket, Arrays.copyOfRange(input, 1, input.length));
    }
    if (++runs % RUNS_BETWEEN_CHECKS == 0) {
      checkOthersAreServed();
    }
  }

  /** And takes the unit attention that follows a login. */
  private static void logIn(Socket socket) throws Exception {
    byte[] keys =
        new TextKeys()
            .set("InitiatorName", IscsiServer.INITIATOR)
            .set("SessionType", "Normal")
            .set("TargetName", IscsiServer.IQN)
            .set("InitialR2T", "No")
            .toBytes();
    socket.getOutputStream().write(bytes(login(), keys));
    if (!(receive(socket) instanceof Pdu.LoginResponse response) || response.status() != 0) {
      throw new AssertionError("a login was refused");
    }
    socket
        .getOutputStream()
        .write(
            bytes(
                new Pdu.ScsiCommand(
                    false, true, false, false, 1L << 48, 1, 0, 1, 0, Cdb.testUnitReady()),
                new byte[0]));
    receive(socket);
  }

  private static Pdu receive(Socket socket) throws Exception {
    ByteBuffer header = ByteBuffer.wrap(exactly(socket, Headers.LENGTH));
    exactly(socket, (HeaderReader.dataLength(header) + 3) & ~3);
    return HeaderReader.read(header);
  }

  private static byte[] exactly(Socket socket, int length) throws IOException {
    byte[] bytes = socket.getInputStream().readNBytes(length);
    if (bytes.length < length) {
      throw new UncheckedIOException(new IOException("the target hung up at a login"));
    }
    return bytes;
  }

  private void checkOthersAreServed() throws Exception {
    try (IscsiDisk disk = IscsiInitiator.connect(server.url(), IscsiOptions.defaults())) {
      IscsiDisk.await(disk.read(0, ByteBuffer.allocate(4096)), SOON);
    }
    long deadline = System.nanoTime() + SOON.toNanos();
    while (server.service().buffersInUse() != 0 || !server.service().drained(IscsiServer.IQN)) {
      require(
          System.nanoTime() < deadline,
          server.service().buffersInUse() + " bytes of buffers are never given back");
      Thread.sleep(1);
    }
  }

  @Override
  public void close() throws Exception {
    server.close();
  }

  /** A disk of 1 MiB in memory that anybody on this machine may open. */
  static final class IscsiServer implements AutoCloseable {
    static final String IQN = "iqn.2026-01.io.xenferry:fuzzed";
    static final String INITIATOR = "iqn.2026-01.io.xenferry:fuzzer";

    private final Path state;
    private final EmbeddedTargetService service;
    private final IscsiUrl url;

    IscsiServer() throws Exception {
      state = Files.createTempDirectory("xenferry-fuzz");
      service =
          new EmbeddedTargetService(
              EmbeddedTargetService.Settings.at(state, InetAddress.getLoopbackAddress())
                  .within(
                      new EmbeddedTargetService.Limits(
                          64,
                          64,
                          16 << 20,
                          4 << 20,
                          Duration.ofSeconds(2),
                          Duration.ofSeconds(2),
                          Duration.ofSeconds(2),
                          Duration.ofSeconds(60),
                          Duration.ofSeconds(5))),
              new FileExportJournal(state.resolve("journal")));
      url =
          service.open(
              new Export(
                  IQN,
                  1,
                  new Export.Backing.Device(new MemoryBackend("fuzzed", 1 << 20)),
                  "fuzzed",
                  "fuzzed",
                  Optional.empty(),
                  new Acl.ByAddress("127.0.0.1"),
                  true,
                  false));
    }

    EmbeddedTargetService service() {
      return service;
    }

    IscsiUrl url() {
      return url;
    }

    int port() {
      return url.port();
    }

    @Override
    public void close() throws Exception {
      service.close();
      try (Stream<Path> all = Files.walk(state)) {
        for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(path);
        }
      }
    }
  }
}
