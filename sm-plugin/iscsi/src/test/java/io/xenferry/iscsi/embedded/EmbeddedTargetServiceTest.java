package io.xenferry.iscsi.embedded;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.ExternalTools;
import io.xenferry.block.MemoryBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.ExportJournal;
import io.xenferry.iscsi.target.TargetService;
import io.xenferry.iscsi.target.TargetServiceContract;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class EmbeddedTargetServiceTest extends TargetServiceContract {

  @Override
  protected TargetService start(ExportJournal journal) throws Exception {
    return new EmbeddedTargetService(
        EmbeddedTargetService.Settings.at(
            directory.resolve("embedded"), InetAddress.getByName("127.0.0.1")),
        journal);
  }

  @Override
  protected void stop(TargetService service) {
    service.close();
  }

  private static EmbeddedTargetService.Limits limits(
      int connections, long buffers, Duration login) {
    EmbeddedTargetService.Limits d = EmbeddedTargetService.Limits.defaults();
    return new EmbeddedTargetService.Limits(
        connections,
        d.sessions(),
        buffers,
        d.connectionBuffers(),
        login,
        d.write(),
        d.data(),
        d.idle(),
        d.close());
  }

  @Test
  void libiscsiToolsUnderstandIt() throws Exception {
    ExternalTools.require("iscsi-ls", "iscsi-inq", "iscsi-readcapacity16");
    Credentials account = new Credentials("tools", "secret-of-tools");
    Export export =
        export("tools", file("tools.img", 32 * MIB), Optional.of(account), new Acl.Everybody());
    String url = service.open(export).text();
    int port = service.url(export.iqn()).orElseThrow().port();

    assertThat(ExternalTools.run("iscsi-ls", "iscsi://127.0.0.1:" + port)).contains(export.iqn());
    assertThat(ExternalTools.run("iscsi-inq", url)).contains("XENFERRY");
    // None of the packets' digests is wrong.
    assertThat(ExternalTools.run("iscsi-inq", url + "?header_digest=crc32c")).contains("XENFERRY");
    for (String page : new String[] {"0", "128", "131", "176", "177", "178"}) {
      ExternalTools.run("iscsi-inq", "-e", "1", "-c", page, url);
    }
    assertThat(ExternalTools.run("iscsi-inq", "-e", "1", "-c", "128", url))
        .contains(export.serial());
    assertThat(ExternalTools.run("iscsi-readcapacity16", url))
        .contains("RETURNED LOGICAL BLOCK ADDRESS:65535");
    assertThat(
            ExternalTools.run("iscsi-ls", "-s", "iscsi://tools%secret-of-tools@127.0.0.1:" + port))
        .contains("Lun:1");
  }

  @Test
  void qemuCopiesToItAndBack() throws Exception {
    ExternalTools.require("qemu-img");
    Export export = export("qemu", file("qemu.img", 32 * MIB));
    String url = service.open(export).text();
    Path source = directory.resolve("source.raw");
    byte[] content = new byte[32 * MIB];
    new Random(7).nextBytes(content);
    java.util.Arrays.fill(content, 5 * MIB, 20 * MIB, (byte) 0);
    Files.write(source, content);

    ExternalTools.run(
        "qemu-img",
        "convert",
        "-n",
        "-f",
        "raw",
        "-O",
        "raw",
        "-W",
        "-m",
        "8",
        source.toString(),
        url);
    ExternalTools.run("qemu-img", "compare", "-f", "raw", "-F", "raw", source.toString(), url);

    service.close(export.iqn());
    assertThat(Files.readAllBytes(directory.resolve("qemu.img"))).isEqualTo(content);
  }

  @Test
  void theScsiTestsOfLibiscsiPass() throws Exception {
    ExternalTools.require("iscsi-test-cu");
    Export export = export("cu", file("cu.img", 64 * MIB));
    String url = service.open(export).text();
    for (String family :
        new String[] {
          "CompareAndWrite",
          "GetLBAStatus.Simple",
          "GetLBAStatus.BeyondEol",
          "Inquiry",
          "ModeSense6",
          "OrWrite",
          "Prefetch16",
          "Prin*",
          "Prout*",
          "Read10",
          "Read16",
          "ReadCapacity10",
          "ReadCapacity16",
          "ReportSupportedOpcodes",
          "TestUnitReady",
          "Unmap",
          "Verify16",
          "Write10",
          "Write16",
          "WriteSame16",
          "WriteVerify10",
          "iSCSIResiduals"
        }) {
      String output =
          ExternalTools.attempt(
                  "iscsi-test-cu",
                  "--dataloss",
                  "--test",
                  "ALL." + family + (family.contains(".") ? "" : ".*"),
                  url)
              .output();
      Matcher tests = Pattern.compile("tests\\s+\\d+\\s+\\d+\\s+\\d+\\s+(\\d+)").matcher(output);
      assertThat(tests.find()).as(output).isTrue();
      assertThat(tests.group(1)).as(family + "\n" + output).isEqualTo("0");
    }
  }

  @Test
  void servesAnyBackend() throws Exception {
    MemoryBackend memory = new MemoryBackend("memory", 4 * MIB);
    Export shape = export("memory", file("unused", MIB));
    IscsiUrl url = ((EmbeddedTargetService) service).open(shape, memory);
    try (IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS)) {
      assertThat(disk.size()).isEqualTo(4 * MIB);
      IscsiDisk.await(
          disk.write(0, java.nio.ByteBuffer.wrap(new byte[4096])), Duration.ofSeconds(20));
    }
  }

  @Test
  void junkHarmsNobody() throws Exception {
    IscsiUrl url = service.open(export("junk", file("junk.img", 8 * MIB)));
    Random random = new Random(3);
    try (IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS)) {
      List<Socket> sockets = new ArrayList<>();
      for (int i = 0; i < 200; i++) {
        Socket socket = new Socket("127.0.0.1", url.port());
        sockets.add(socket);
        byte[] junk = new byte[1 + random.nextInt(4000)];
        random.nextBytes(junk);
        if (i % 2 == 0) {
          // A login request with a body of nonsense.
          junk[0] = 0x43;
          java.util.Arrays.fill(junk, 1, Math.min(junk.length, 48), (byte) 0);
          if (junk.length > 7) {
            junk[6] = (byte) random.nextInt(20);
          }
        }
        try {
          OutputStream out = socket.getOutputStream();
          out.write(junk);
        } catch (java.io.IOException e) {
          // It has thrown us out already.
        }
      }
      IscsiDisk.await(
          disk.write(MIB, java.nio.ByteBuffer.wrap(new byte[65536])), Duration.ofSeconds(20));
      for (Socket socket : sockets) {
        socket.close();
      }
      IscsiInitiator.connect(url, OPTIONS).close();
    }
  }

  @Test
  void connectionsHaveALimitAndLoginsADeadline() throws Exception {
    service.close();
    service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(
                    directory.resolve("limited"), InetAddress.getByName("127.0.0.1"))
                .within(limits(4, 16 << 20, Duration.ofSeconds(2))),
            journal);
    IscsiUrl url = service.open(export("limit", file("limit.img", MIB)));
    List<Socket> silent = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      silent.add(new Socket("127.0.0.1", url.port()));
    }
    for (Socket socket : silent) {
      socket.setSoTimeout(30_000);
      assertThat(socket.getInputStream().read()).isEqualTo(-1);
      socket.close();
    }
    IscsiInitiator.connect(url, OPTIONS).close();
  }

  @Test
  void fewBuffersMeanBusyNotBroken() throws Exception {
    service.close();
    service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(
                    directory.resolve("small"), InetAddress.getByName("127.0.0.1"))
                .within(limits(16, 2 << 20, Duration.ofSeconds(20))),
            journal);
    IscsiUrl url = service.open(export("small", file("small.img", 64 * MIB)));
    try (IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS)) {
      var writes = new ArrayList<java.util.concurrent.CompletableFuture<Void>>();
      for (int i = 0; i < 40; i++) {
        writes.add(disk.write((long) i * MIB, java.nio.ByteBuffer.allocateDirect(MIB)));
      }
      for (var write : writes) {
        IscsiDisk.await(write, Duration.ofSeconds(60));
      }
    }
  }
}
