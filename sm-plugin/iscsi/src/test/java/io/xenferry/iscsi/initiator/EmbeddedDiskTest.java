package io.xenferry.iscsi.initiator;

import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.target.FileExportJournal;
import io.xenferry.iscsi.target.TargetService;
import java.net.InetAddress;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** Our initiator against the embedded target is a block backend like any other. */
class EmbeddedDiskTest extends TargetDiskContract {
  private static EmbeddedTargetService service;

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

  @Override
  protected TargetService service() {
    return service;
  }
}
