package io.xenferry.iscsi.initiator;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockBackendContract;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.TargetService;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Our initiator against a target service is a block backend like any other. */
abstract class TargetDiskContract extends BlockBackendContract {
  @TempDir static Path directory;
  private static int count;

  protected abstract TargetService service();

  private BlockBackend open(long size, boolean readOnly) throws Exception {
    return IscsiInitiator.connect(export("disk" + ++count, size, readOnly), options());
  }

  protected IscsiOptions options() {
    return IscsiOptions.defaults();
  }

  private IscsiUrl export(String name, long size, boolean readOnly) throws Exception {
    Path file = directory.resolve(name);
    try (RandomAccessFile made = new RandomAccessFile(file.toFile(), "rw")) {
      made.setLength(size);
    }
    return service()
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
  }

  @Test
  void theUnitsBehindATargetAreListedWithWhatTheyAre() throws Exception {
    IscsiUrl url = export("listed", 12L << 20, false);

    List<LogicalUnit> units = IscsiInitiator.units(url, IscsiOptions.defaults());

    assertThat(units.stream().filter(unit -> unit.identity().type() == 0))
        .singleElement()
        .satisfies(unit -> {
          assertThat(unit.lun()).isEqualTo(1);
          assertThat(unit.size()).hasValue(12L << 20);
          assertThat(unit.identity().vendor()).isEqualTo("XENFERRY");
          assertThat(unit.identity().product()).isEqualTo("VDI");
          assertThat(unit.identity().serial()).isEqualTo("listed");
          assertThat(unit.identity().scsiId()).matches("[1-3]\\S+");
        });
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
