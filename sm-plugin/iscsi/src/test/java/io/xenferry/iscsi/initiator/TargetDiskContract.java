package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockBackendContract;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.TargetService;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.io.TempDir;

/** Our initiator against a target service is a block backend like any other. */
abstract class TargetDiskContract extends BlockBackendContract {
  @TempDir static Path directory;
  private static int count;

  protected abstract TargetService service();

  private BlockBackend open(long size, boolean readOnly) throws Exception {
    String name = "disk" + ++count;
    Path file = directory.resolve(name);
    try (RandomAccessFile made = new RandomAccessFile(file.toFile(), "rw")) {
      made.setLength(size);
    }
    IscsiUrl url =
        service()
            .open(
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
