package io.xenferry.simulation;

import io.xenferry.block.ExternalTools;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.iscsi.target.FileExportJournal;
import io.xenferry.iscsi.tgt.TgtTargetService;
import io.xenferry.iscsi.tgt.Tgtadm;
import io.xenferry.iscsi.tgt.TgtadmProgram;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** The program that {@link SimTgtd} stands for. */
class RealTgtdTest extends TgtadmContract {
  private static final Duration TIMEOUT = Duration.ofSeconds(20);

  /** Nobody else changes what a test does to the daemon. */
  private static final Duration NEVER = Duration.ofHours(1);

  @TempDir private Path directory;

  private TgtTargetService service;
  private int port;

  @BeforeAll
  static void needsTgtd() {
    ExternalTools.require("tgtd", "tgtadm", "setsid");
  }

  @BeforeEach
  void start() throws Exception {
    InetAddress here = InetAddress.getByName("127.0.0.1");
    try (ServerSocket free = new ServerSocket(0, 1, here)) {
      port = free.getLocalPort();
    }
    service =
        new TgtTargetService(
            new TgtTargetService.Settings(
                directory.resolve("tgtd"),
                here,
                port,
                Optional.empty(),
                "iqn.",
                TIMEOUT,
                TIMEOUT,
                NEVER),
            new FileExportJournal(directory.resolve("exports")));
  }

  @AfterEach
  void stop() throws Exception {
    service.stop();
  }

  @Override
  Tgtadm tgtadm() {
    return new TgtadmProgram(service.control(), TIMEOUT);
  }

  @Override
  String backing(UUID disk) throws IOException {
    Path file = directory.resolve(disk.toString());
    try (RandomAccessFile image = new RandomAccessFile(file.toFile(), "rw")) {
      image.setLength(1 << 20);
    }
    return file.toString();
  }

  @Override
  AutoCloseable login() throws IOException {
    return IscsiInitiator.connect(
        new IscsiUrl(Optional.of(new Credentials(USER, SECRET)), "127.0.0.1", port, IQN, 1),
        IscsiOptions.defaults());
  }
}
