package io.xenferry.iscsi.initiator;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockException;
import io.xenferry.block.ExternalTools;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.target.FileExportJournal;
import io.xenferry.iscsi.target.TargetService;
import io.xenferry.iscsi.tgt.TgtTargetService;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Our initiator against tgtd is a block backend like any other. */
class TgtDiskTest extends TargetDiskContract {
  private static TgtTargetService service;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("tgtd", "tgtadm", "setsid");
    service =
        new TgtTargetService(
            TgtTargetService.Settings.own(directory, InetAddress.getByName("127.0.0.1")),
            new FileExportJournal(directory.resolve("journal")));
  }

  @AfterAll
  static void stop() throws Exception {
    if (service != null) {
      service.stop();
    }
  }

  @Override
  protected TargetService service() {
    return service;
  }

  @Test
  void aLostConnectionIsFencedThroughAnother() throws Exception {
    IscsiDisk direct = (IscsiDisk) open(64L * MIB);
    IscsiUrl url = IscsiUrl.parse(direct.name());
    direct.close();
    try (FaultyWire wire = new FaultyWire(url.port(), FaultyWire.Fault.CUT, Long.MAX_VALUE / 4)) {
      IscsiDisk disk =
          IscsiInitiator.connect(
              new IscsiUrl(Optional.empty(), "127.0.0.1", wire.port(), url.iqn(), url.lun()),
              options());
      List<CompletableFuture<Void>> writes = new ArrayList<>();
      for (int i = 0; i < 64; i++) {
        writes.add(disk.write((long) i * MIB, ByteBuffer.allocateDirect(MIB)));
      }
      await(writes.getFirst());
      wire.cut();
      for (CompletableFuture<Void> write : writes) {
        try {
          await(write);
        } catch (java.util.concurrent.ExecutionException e) {
          assertThat(e.getCause())
              .isInstanceOfSatisfying(
                  BlockException.class,
                  b -> assertThat(b.kind()).isEqualTo(BlockException.Kind.LOST));
        }
      }

      disk.close();

      assertThat(disk.fenced()).isCompletedWithValue(true);
    }
  }
}
