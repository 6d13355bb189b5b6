package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.qemu.qmp.QmpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Plays the guest of a VM in QEMU, by the monitor that is free while no disk is mirrored. */
final class GuestMonitor {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private GuestMonitor() {}

  /** What QEMU's human monitor says. */
  static String command(TestServer server, String uuid, String line) throws Exception {
    return execute(server, uuid, "human-monitor-command", Map.of("command-line", line)).asText();
  }

  /** Tells QEMU something, and answers what it says. */
  static JsonNode execute(TestServer server, String uuid, String command, Map<String, ?> arguments)
      throws Exception {
    Path socket = server.directory.resolve("guests").resolve(uuid).resolve("watchdog.sock");
    try (QmpClient monitor = QmpClient.connect(socket, PATIENCE, event -> {}, () -> {})) {
      return monitor.execute(command, arguments, PATIENCE);
    }
  }

  /** What the BIOS has counted, 18 times a second from its start on. */
  static long ticks(TestServer server, String uuid) throws Exception {
    String said = command(server, uuid, "xp /1xw 0x46c");
    Matcher value = Pattern.compile("0x([0-9a-f]{8})\\s*$").matcher(said.strip());
    assertThat(value.find()).as(said).isTrue();
    return Long.parseLong(value.group(1), 16);
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
