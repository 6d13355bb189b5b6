package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockBackendContract;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;

/** Our initiator against the embedded target is a block backend like any other. */
class EmbeddedDiskTest extends BlockBackendContract {
  @TempDir static Path directory;
  private static EmbeddedTargetService service;
  private static int count;

  @BeforeAll
  static void start() throws Exception {
    service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getByName("127.0.0.1")),
            new FileExportJournal(directory.resolve("journal")));
  }

  @AfterAll
  static void stop() throws Exception {
    if (service != null) {
      service.close();
    }
  }

  private static BlockBackend open(long size, boolean readOnly) throws Exception {
    String name = "disk" + ++count;
    Path file = directory.resolve(name);
    try (RandomAccessFile made = new RandomAccessFile(file.toFile(), "rw")) {
      made.setLength(size);
    }
    IscsiUrl url =
        service.open(
            new Export(
                "iqn.2026-01.io.xenferry:" + name,
                1,
                new Export.Backing.File(file),
                name,
                name,
                Optional.empty(),
                new Acl.Everybody(),
                true,
                readOnly));
    return IscsiInitiator.connect(url, IscsiOptions.defaults());
  }

  @Override
  protected BlockBackend open(long size) throws Exception {
    return open(size, false);
  }

  @Override
  protected BlockBackend openReadOnly(long size) throws Exception {
    return open(size, true);
  }
}
