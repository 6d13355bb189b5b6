package io.xenferry.nbd;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockBackendContract;
import io.xenferry.block.ExternalTools;
import io.xenferry.block.FileBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.io.TempDir;

/** Our client against our server, and against those of others. */
class NbdContractTest {
  abstract static class OverOurServer extends BlockBackendContract {
    @TempDir Path dir;
    private NbdExportServer server;
    private final List<BlockBackend> backends = new ArrayList<>();

    abstract NbdExportServer listen() throws Exception;

    abstract BlockBackend backend(long size, int number) throws Exception;

    @BeforeEach
    void start() throws Exception {
      server = listen();
    }

    @AfterEach
    void stop() {
      server.close();
      backends.forEach(BlockBackend::close);
    }

    @Override
    protected BlockBackend open(long size) throws Exception {
      return serve(backend(size, backends.size()));
    }

    @Override
    protected BlockBackend openReadOnly(long size) throws Exception {
      return serve(ForwardingBackend.readOnly(backend(size, backends.size())));
    }

    private BlockBackend serve(BlockBackend backend) throws Exception {
      backends.add(backend);
      String name = "disk " + backends.size() + "/ü";
      server.add(name, backend);
      return NbdClient.connect(
          NbdUri.parse(server.uri(name).toString()), NbdClient.Options.DEFAULT);
    }
  }

  @Nested
  class FileOverUnixSocket extends OverOurServer {
    @Override
    NbdExportServer listen() throws Exception {
      return NbdExportServer.listen(UnixDomainSocketAddress.of(dir.resolve("nbd socket")));
    }

    @Override
    BlockBackend backend(long size, int number) throws Exception {
      return FileBackend.create(dir.resolve("disk" + number), size);
    }
  }

  @Nested
  class AlignedMemoryOverTcp extends OverOurServer {
    @Override
    NbdExportServer listen() throws Exception {
      return NbdExportServer.listen(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    }

    @Override
    BlockBackend backend(long size, int number) {
      return new MemoryBackend("memory", size, 4096, ForkJoinPool.commonPool());
    }
  }

  /** Over TLS, by several connections, under a secret name. */
  @Nested
  class FileOverTls extends BlockBackendContract {
    @TempDir Path dir;
    private TestCertificate certificate;
    private NbdExportServer server;
    private final List<BlockBackend> backends = new ArrayList<>();

    @BeforeEach
    void start() throws Exception {
      certificate = TestCertificate.make(dir, "contract");
      server =
          NbdExportServer.listenForSecrets(
              new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
              NbdExportServer.Limits.DEFAULT,
              SslUpgrade.server(certificate.context(any -> true)));
    }

    @AfterEach
    void stop() {
      server.close();
      backends.forEach(BlockBackend::close);
    }

    @Override
    protected BlockBackend open(long size) throws Exception {
      return serve(FileBackend.create(dir.resolve("disk" + backends.size()), size));
    }

    @Override
    protected BlockBackend openReadOnly(long size) throws Exception {
      return serve(
          ForwardingBackend.readOnly(
              FileBackend.create(dir.resolve("disk" + backends.size()), size)));
    }

    private BlockBackend serve(BlockBackend backend) throws Exception {
      backends.add(backend);
      String name = "secret" + backends.size();
      server.add(name, backend);
      return NbdConnections.connect(
          NbdUri.parse(server.uri(name + ".5").toString()),
          NbdClient.Options.DEFAULT.withTls(SslUpgrade.client(certificate.pinned())),
          3);
    }
  }

  abstract static class OverForeignServer extends BlockBackendContract {
    @TempDir Path dir;
    private final List<Process> servers = new ArrayList<>();

    abstract List<String> command(Path image, Path socket, boolean readOnly);

    @AfterEach
    void stop() throws Exception {
      for (Process server : servers) {
        server.destroyForcibly();
        server.waitFor(10, TimeUnit.SECONDS);
      }
    }

    @Override
    protected BlockBackend open(long size) throws Exception {
      return serve(size, false);
    }

    @Override
    protected BlockBackend openReadOnly(long size) throws Exception {
      return serve(size, true);
    }

    private BlockBackend serve(long size, boolean readOnly) throws Exception {
      Path image = dir.resolve("image" + servers.size());
      Path socket = dir.resolve("socket" + servers.size());
      FileBackend.create(image, size).close();
      servers.add(
          new ProcessBuilder(command(image, socket, readOnly))
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start());
      Awaitility.await().atMost(Duration.ofSeconds(20)).until(() -> Files.exists(socket));
      return Awaitility.await()
          .atMost(Duration.ofSeconds(20))
          .ignoreExceptions()
          .until(
              () -> NbdClient.connect(NbdUri.unix(socket, ""), NbdClient.Options.DEFAULT),
              c -> true);
    }
  }

  @Nested
  class OverQemuNbd extends OverForeignServer {
    @BeforeEach
    void need() {
      ExternalTools.require("qemu-nbd");
    }

    @Override
    List<String> command(Path image, Path socket, boolean readOnly) {
      List<String> command =
          new ArrayList<>(
              List.of("qemu-nbd", "-f", "raw", "-t", "--discard=unmap", "-k", socket.toString()));
      if (readOnly) {
        command.add("-r");
      }
      command.add(image.toString());
      return command;
    }
  }

  @Nested
  class OverNbdkit extends OverForeignServer {
    @BeforeEach
    void need() {
      ExternalTools.require("nbdkit");
    }

    @Override
    List<String> command(Path image, Path socket, boolean readOnly) {
      List<String> command = new ArrayList<>(List.of("nbdkit", "-f", "-U", socket.toString()));
      if (readOnly) {
        command.add("-r");
      }
      command.addAll(List.of("file", image.toString()));
      return command;
    }
  }
}
