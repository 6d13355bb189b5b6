package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.qemu.qmp.QmpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** Plays the guest of a VM in QEMU, by the monitor that is free while no disk is mirrored. */
final class GuestMonitor {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private GuestMonitor() {}

  /** What QEMU's human monitor says. */
  static String command(TestServer server, String uuid, String line) throws Exception {
    Path socket = server.directory.resolve("guests").resolve(uuid).resolve("watchdog.sock");
    try (QmpClient monitor = QmpClient.connect(socket, PATIENCE, event -> {}, () -> {})) {
      return monitor
          .execute("human-monitor-command", Map.of("command-line", line), PATIENCE)
          .asText();
    }
  }

  /** Reads and writes of the first disk in the words of qemu-io(1); what is read must be right. */
  static void io(TestServer server, String uuid, String... commands) throws Exception {
    // QEMU writes what qemu-io says to its own output.
    Path log = server.directory.resolve("guests").resolve(uuid).resolve("guest.log");
    for (String io : commands) {
      long before = Files.size(log);
      command(server, uuid, "qemu-io -d /machine/peripheral/xvda/virtio-backend \"" + io + "\"");
      String said = Files.readString(log).substring((int) before);
      assertThat(said).as(io).contains("bytes at offset").doesNotContain("failed");
    }
  }
}
