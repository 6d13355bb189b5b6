package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The source's SR has no room for what a VM writes while it is copied by snapshots. */
class FullSourceTest {
  private static final long SIZE = 8 << 20;

  @Test
  void isAnObstacleOnlyForACopyBySnapshots() throws Exception {
    Path small = Files.createTempDirectory("xenferry");
    FullDestinationTest.mount(small);
    try (TestServer server =
        TestServer.startAt(
            "127.0.0.1", config -> config.with(config.toolstack().withHypervisor("qemu")))) {
      TestServer.Calls root = server.calls();
      String sr = root.layeredSr(small.resolve("sr"));
      String vm = root.vm("writer", Map.of());
      String vdi = root.vdi(sr, "disk", SIZE);
      root.vbd(vm, vdi, 0);
      root.call("VM.start", vm, false, false);
      assertThat(codes(server, vm, vdi, "snapshot")).containsExactly("VM_MIGRATE_FAILED");
      FullDestinationTest.fill(small.resolve("filler"));
      assertThat(codes(server, vm, vdi, "snapshot"))
          .containsExactly("VM_MIGRATE_FAILED", "SR_SOURCE_SPACE_INSUFFICIENT");
      assertThat(codes(server, vm, vdi, "mirror")).containsExactly("VM_MIGRATE_FAILED");
      Files.delete(small.resolve("filler"));
      root.call("VM.hard_shutdown", vm);
    } finally {
      FullDestinationTest.unmount(small);
    }
  }

  /** To nowhere, which is one obstacle by itself. */
  private static java.util.List<String> codes(
      TestServer server, String vm, String vdi, String strategy) throws Exception {
    ObjectMapper json = new ObjectMapper();
    ObjectNode body = json.createObjectNode();
    body.put("vm", vm);
    body.set("dest", json.createObjectNode());
    body.set("vdi_map", json.createObjectNode().put(vdi, "sr"));
    body.set("options", json.createObjectNode().put("strategy", strategy));
    return Rest.post(server, "/v1/migrations?dry-run", body)
        .path("obstacles")
        .findValuesAsText("code");
  }
}
