package io.xenferry.server;

import static io.xenferry.server.LayeredSite.SIZE;
import static io.xenferry.server.LayeredSite.assertHolds;
import static io.xenferry.server.LayeredSite.differing;
import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.util.BitSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What is known of changed blocks goes along with a disk, and with what is left of a backup. */
class TrackedDiskMoveTest extends BetweenLayeredSites {
  /** A disk with a backup whose content was destroyed, and what it was. */
  private record Backed(String vm, String disk, String emptied, byte[] before) {}

  private static Backed backed(String name) throws Exception {
    String vm = here.root().vm(name, Map.of());
    String disk = here.root().vdi(here.sr(), name, SIZE);
    here.root().vbd(vm, disk, 0);
    here.root().call("VDI.enable_cbt", disk);
    here.put(disk, "write -P 1 0 16M");
    String emptied = here.root().text("VDI.snapshot", disk, Map.of());
    byte[] before = here.bytes(emptied);
    here.root().call("VDI.data_destroy", emptied);
    here.put(disk, "write -P 2 3M 64k");
    here.put(disk, "write -z 5M 64k");
    return new Backed(vm, disk, here.root().text("VDI.get_uuid", emptied), before);
  }

  /** Of the snapshot nothing is left but its name; and zeroes are not sent. */
  @Test
  void whatIsLeftOfAnEmptiedSnapshotGoesAlong() throws Exception {
    Backed b = backed("emptied");
    String vm = move(b.vm());
    String disk = there.disks(vm).getFirst();
    String emptied = TestServer.texts(there.root().call("VDI.get_snapshots", disk)).getFirst();
    assertThat(there.root().text("VDI.get_type", emptied)).isEqualTo("cbt_metadata");
    assertThat(there.tracked(disk)).isTrue();
    String next = there.root().text("VDI.snapshot", disk, Map.of());
    assertHolds(there.changed(emptied, next), differing(b.before(), there.bytes(next)));
    there.put(disk, "write -P 3 20M 64k");
    assertThat(there.changed(next, disk).cardinality()).as("from here on").isEqualTo(1);
    assertThat(here.images()).isZero();
    for (String vdi : List.of(emptied, next)) {
      there.root().call("VDI.destroy", vdi);
    }
    there.destroy(vm);
  }

  @Test
  void nothingIsLeftOfAMoveThatIsCancelled() throws Exception {
    Backed b = backed("cancelled");
    long images = there.images();
    here.root().call("VM.start", b.vm(), false, false);
    String task = begin(b.vm(), "bandwidth", "65536");
    await()
        .atMost(TwoHosts.LONG)
        .until(() ->
            TestServer.texts(there.root().call("SR.get_VDIs", there.sr())).stream()
                .anyMatch(vdi -> isEmptied(vdi)));
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> here.root().call("VDI.disable_cbt", b.disk()));
    cancel(task);
    await()
        .atMost(TwoHosts.LONG)
        .untilAsserted(() -> {
          assertThat(TestServer.texts(there.root().call("VM.get_by_name_label", "cancelled")))
              .isEmpty();
          assertThat(there.images()).isEqualTo(images);
        });
    here.root().call("VM.hard_shutdown", b.vm());
    String emptied = here.root().text("VDI.get_by_uuid", b.emptied());
    BitSet changed = here.changed(emptied, b.disk());
    assertHolds(changed, differing(b.before(), here.bytes(b.disk())));
    assertThat(changed.cardinality()).isEqualTo(2);
    here.root().call("VDI.destroy", emptied);
    destroy(b.vm());
  }

  private static boolean isEmptied(String vdi) {
    try {
      return there.root().text("VDI.get_type", vdi).equals("cbt_metadata");
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void trackingIsOffWhereTheDestinationCannot() throws Exception {
    Backed b = backed("plain");
    String vm = move(here, there, b.vm(), there.rawSr(), Map.of());
    String disk = there.disks(vm).getFirst();
    assertThat(there.tracked(disk)).isFalse();
    assertThat(TestServer.texts(there.root().call("VDI.get_snapshots", disk))).isEmpty();
    assertThat(here.images()).isZero();
    there.root().call("VM.destroy", vm);
    there.root().call("VDI.destroy", disk);
  }

  @Test
  @Tag("slow")
  void aCopyHasNoPast() throws Exception {
    Backed b = backed("copied");
    String vm = move(b.vm(), "copy", "true");
    String disk = there.disks(vm).getFirst();
    assertThat(there.tracked(disk)).isFalse();
    assertThat(here.tracked(b.disk())).isTrue();
    String emptied = here.root().text("VDI.get_by_uuid", b.emptied());
    assertThat(here.changed(emptied, b.disk()).cardinality()).isEqualTo(2);
    here.root().call("VDI.destroy", emptied);
    destroy(b.vm());
    there.destroy(vm);
  }
}
