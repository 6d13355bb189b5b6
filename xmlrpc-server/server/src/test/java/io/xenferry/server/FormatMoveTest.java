package io.xenferry.server;

import static io.xenferry.server.LayeredSite.SIZE;
import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Disks change their format on the way. */
class FormatMoveTest extends BetweenLayeredSites {
  private static String format(Path image) throws Exception {
    JsonNode told =
        new ObjectMapper()
            .readTree(
                ExternalTools.run("qemu-img", "info", "-U", "--output=json", image.toString()));
    return told.path("format").asText();
  }

  private static void assertFormat(LayeredSite site, String vdi, String format) throws Exception {
    // Of raw disks an SR says nothing.
    Map<String, Value> told =
        ((Value.Struct) site.root().record("VDI", vdi).get("sm_config")).members();
    assertThat(told.getOrDefault("image-format", Value.of("raw"))).isEqualTo(Value.of(format));
    assertThat(format(site.file(vdi, format))).isEqualTo(format);
  }

  @Test
  void theDisksOfARunningVmChangeTheirFormatOnTheWay() throws Exception {
    String vm = here.root().vm("formats", Map.of());
    String vdi = here.root().vdi(here.rawSr(), "formats", SIZE);
    here.root().vbd(vm, vdi, 0);
    String raw = here.file(vdi, "raw").toString();
    ExternalTools.run(
        "qemu-io", "-f", "raw", "-c", "write -P 1 0 3M", "-c", "write -P 2 20M 1M", raw);
    here.root().call("VM.start", vm, false, false);

    long before = there.images();
    assertThat(
            assertCode(
                    "VDI_INCOMPATIBLE_TYPE",
                    () -> move(here, there, vm, there.rawSr(), Map.of(vdi, "vmdk")))
                .params()
                .getLast())
        .contains("vmdk", "raw and qcow2");
    assertCode("INVALID_VALUE", () -> move(here, there, vm, there.rawSr(), Map.of(vdi, "raw,x=y")));
    assertThat(there.images()).isEqualTo(before);

    String arrived = move(here, there, vm, there.rawSr(), Map.of(vdi, "qcow2"), "verify", "true");
    String layered = there.disks(arrived).getFirst();
    assertFormat(there, layered, "qcow2");
    assertThat(there.root().text("VM.get_power_state", arrived)).isEqualTo("Running");

    String back = move(there, here, arrived, here.sr(), Map.of(layered, "raw"), "verify", "paused");
    String plain = here.disks(back).getFirst();
    assertFormat(here, plain, "raw");
    assertThat(here.root().text("VM.get_power_state", back)).isEqualTo("Running");
    here.root().call("VM.hard_shutdown", back);
    assertThat(here.content(plain, 0, 2, 3, 20, 21)).containsExactly(1, 1, 0, 2, 0);
    destroy(back);
  }

  @Test
  void aDiskThatBecomesRawRestsOnNothingAndItsSnapshotsMoveAsTheyAre() throws Exception {
    Layered t = layered("flattened");
    String disk = here.disks(t.vm()).getFirst();
    byte[] content = here.bytes(disk);
    String vm = move(here, there, t.vm(), there.sr(), Map.of(disk, "raw"));
    String flat = there.disks(vm).getFirst();
    assertFormat(there, flat, "raw");
    assertThat(there.bytes(flat)).isEqualTo(content);
    String newest = there.disk(t.second());
    assertThat(there.root().text("VDI.get_snapshot_of", newest)).isEqualTo(flat);
    assertThat(there.content(newest, 0, 2, 4, 25)).containsExactly(1, 2, 0, 0);
    for (String snapshot : TestServer.texts(there.root().call("VM.get_snapshots", vm))) {
      there.destroy(snapshot);
    }
    there.destroy(vm);
  }
}
