package io.xenferry.server;

import static io.xenferry.server.LayeredSite.BLOCK;
import static io.xenferry.server.LayeredSite.MIB;
import static io.xenferry.server.LayeredSite.assertHolds;
import static io.xenferry.server.LayeredSite.differing;
import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.model.Value;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** VMs of QEMU on qcow2 disks move, and their snapshots with them. */
class SnapshotMoveTest extends BetweenLayeredSites {
  private static void assertArrived(Layered t, Map<String, Value> one, Map<String, Value> two)
      throws Exception {
    TestServer.Calls root = there.root();
    String vm = root.text("VM.get_by_uuid", t.uuid());
    String first = root.text("VM.get_by_uuid", t.first());
    String second = root.text("VM.get_by_uuid", t.second());
    assertThat(TestServer.texts(root.call("VM.get_snapshots", vm)))
        .containsExactlyInAnyOrder(first, second);
    assertThat(root.text("VM.get_parent", vm)).isEqualTo(second);
    assertThat(root.text("VM.get_parent", second)).isEqualTo(first);
    for (Map.Entry<String, Map<String, Value>> e : Map.of(first, one, second, two).entrySet()) {
      Map<String, Value> now = root.record("VM", e.getKey());
      for (String field :
          List.of(
              "name_label",
              "is_a_snapshot",
              "is_a_template",
              "snapshot_time",
              "snapshot_info",
              "tags",
              "other_config")) {
        assertThat(now.get(field)).as(field).isEqualTo(e.getValue().get(field));
      }
    }
    String disk = there.disks(vm).getFirst();
    String old = there.disks(first).getFirst();
    String newer = there.disks(second).getFirst();
    assertThat(root.text("VDI.get_snapshot_of", old)).isEqualTo(disk);
    assertThat(root.text("VDI.get_snapshot_of", newer)).isEqualTo(disk);
    assertThat(root.record("VDI", old).get("is_a_snapshot")).isEqualTo(Value.of(true));
    for (String each : List.of(disk, old, newer)) {
      assertThat(there.tracked(each)).isTrue();
    }
    BitSet changed = there.changed(old, newer);
    assertHolds(changed, differing(there.bytes(old), there.bytes(newer)));
    assertThat(changed.cardinality()).as("two MiB").isEqualTo(32);
    assertThat(there.content(old, 0, 2, 4, 25)).containsExactly(1, 1, 1, 0);
    assertThat(there.content(newer, 0, 2, 4, 25)).containsExactly(1, 2, 0, 0);
    // The chain is as it was: each image has its own clusters only.
    root.call("SR.scan", there.sr());
    assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", old)))
        .isBetween(20 * MIB, 22 * MIB);
    assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", newer)))
        .isBetween(MIB, 2 * MIB);
    assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", disk)))
        .isBetween(MIB, 2 * MIB);
  }

  private static void assertGone(Layered t) throws Exception {
    for (String vm : here.root().all("VM")) {
      assertThat(here.root().text("VM.get_uuid", vm)).isNotIn(t.uuid(), t.first(), t.second());
    }
    assertThat(here.images()).isZero();
  }

  @Test
  void aHaltedVmMovesWithItsSnapshots() throws Exception {
    Layered t = layered("halted");
    TestServer.Calls root = here.root();
    Map<String, Value> one = root.record("VM", root.text("VM.get_by_uuid", t.first()));
    Map<String, Value> two = root.record("VM", root.text("VM.get_by_uuid", t.second()));

    String said = root.text("message.create", "NOTE", 3, "VM", t.first(), "of a snapshot");

    String arrived = move(t.vm());

    assertThat(there.root().record("message", said)).containsEntry("obj_uuid", Value.of(t.first()));
    assertArrived(t, one, two);
    assertThat(there.content(there.disks(arrived).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 2, 0, 3);
    assertGone(t);
    there.root().call("VM.revert", there.root().text("VM.get_by_uuid", t.first()));
    assertThat(there.content(there.disks(arrived).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 1, 1, 0);
  }

  /** It is kept at the source with its snapshots, and they are not in its way. */
  @Test
  void aVmThatIsKeptComesBackWithItsSnapshots() throws Exception {
    Layered t = layered("returns");
    String arrived = move(t.vm(), "keep-source", "1h");
    await().until(() -> !here.root().text("VM.get_uuid", t.vm()).equals(t.uuid()));

    String back = moveBack(arrived);

    assertThat(here.root().text("VM.get_uuid", back)).isEqualTo(t.uuid());
    for (String vm : List.of(t.vm(), back)) {
      String second = here.root().text("VM.get_parent", vm);
      String first = here.root().text("VM.get_parent", second);
      assertThat(here.content(here.disks(first).getFirst(), 0, 2, 4, 25))
          .containsExactly(1, 1, 1, 0);
      assertThat(here.content(here.disks(second).getFirst(), 0, 2, 4, 25))
          .containsExactly(1, 2, 0, 0);
      assertThat(here.root().text("VM.get_uuid", first).equals(t.first()))
          .isEqualTo(vm.equals(back));
      assertThat(here.root().text("VM.get_uuid", second).equals(t.second()))
          .isEqualTo(vm.equals(back));
    }
    destroy(t.vm(), back);
  }

  @Test
  void aRunningVmMovesWithItsSnapshots() throws Exception {
    Layered t = layered("running");
    here.root().call("VM.start", t.vm(), false, false);
    TestServer.Calls root = here.root();
    Map<String, Value> one = root.record("VM", root.text("VM.get_by_uuid", t.first()));
    Map<String, Value> two = root.record("VM", root.text("VM.get_by_uuid", t.second()));

    String arrived = move(t.vm());

    assertThat(there.root().text("VM.get_power_state", arrived)).isEqualTo("Running");
    assertArrived(t, one, two);
    String third = there.root().text("VM.snapshot", arrived, "there", List.of());
    assertThat(there.content(there.disks(third).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 2, 0, 3);
    BitSet since = there.changed(there.disk(t.second()), there.disks(third).getFirst());
    assertThat(since.cardinality()).as("one MiB").isEqualTo(16);
    assertThat(since.nextSetBit(0)).isEqualTo((int) (25 * MIB / BLOCK));
    assertGone(t);
    there.root().call("VM.hard_shutdown", arrived);
  }

  /** Each disk is copied from snapshots of which nothing is left, the VM's own ones unharmed. */
  @Test
  void aRunningVmMovesBySnapshotsOfItsDisks() throws Exception {
    Layered t = layered("frozen");
    here.root().call("VM.start", t.vm(), false, false);
    TestServer.Calls root = here.root();
    Map<String, Value> one = root.record("VM", root.text("VM.get_by_uuid", t.first()));
    Map<String, Value> two = root.record("VM", root.text("VM.get_by_uuid", t.second()));

    String arrived = move(t.vm(), "strategy", "snapshot");

    assertThat(strategies(t.uuid())).containsExactly("snapshot");
    assertThat(there.root().text("VM.get_power_state", arrived)).isEqualTo("Running");
    assertArrived(t, one, two);
    String third = there.root().text("VM.snapshot", arrived, "there", List.of());
    assertThat(there.content(there.disks(third).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 2, 0, 3);
    assertGone(t);
    there.root().call("VM.hard_shutdown", arrived);
  }

  /** Of the VM's own disks, by its moves from here. */
  private static List<String> strategies(String vm) throws Exception {
    List<String> strategies = new ArrayList<>();
    for (JsonNode move : Rest.get(here.server(), "/v1/migrations")) {
      for (JsonNode disk : move.path("disks")) {
        if (move.path("vm").asText().equals(vm)
            && !disk.path("device").asText().startsWith("snapshot-")) {
          strategies.add(disk.path("strategy-asked").asText());
        }
      }
    }
    return strategies;
  }

  /** While it is copied the snapshot belongs to the move; afterwards there is none. */
  @Test
  void nothingIsLeftOfSnapshotsWhenTheirMoveIsCancelled() throws Exception {
    Layered t = layered("thawed");
    String disk = here.disks(t.vm()).getFirst();
    here.root().call("VM.start", t.vm(), false, false);
    List<String> before = TestServer.texts(here.root().call("SR.get_VDIs", here.sr()));
    String task = begin(t.vm(), "strategy", "snapshot", "bandwidth", "262144");
    await().atMost(TwoHosts.LONG).until(() -> !taken(before).isEmpty());
    String snapshot = taken(before).getFirst();
    assertThat(here.root().text("VDI.get_snapshot_of", snapshot)).isEqualTo(disk);
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> here.root().call("VDI.destroy", snapshot));
    cancel(task);
    await().atMost(TwoHosts.LONG).untilAsserted(() -> assertThat(taken(before)).isEmpty());
    assertThat(here.root().text("VM.get_power_state", t.vm())).isEqualTo("Running");
    here.root().call("VM.hard_shutdown", t.vm());
    assertThat(here.content(disk, 0, 2, 4, 25)).containsExactly(1, 2, 0, 3);
    assertThat(here.changed(here.disk(t.second()), disk).cardinality()).as("one MiB").isEqualTo(16);
    destroy(t.vm());
  }

  /** Disks at the source that were not there before. */
  private static List<String> taken(List<String> before) throws Exception {
    List<String> now =
        new ArrayList<>(TestServer.texts(here.root().call("SR.get_VDIs", here.sr())));
    now.removeAll(before);
    return now;
  }

  /** There and back, with something written, zeroed and discarded at each place. */
  @Test
  @Tag("slow")
  void theNextBackupIsStillOneOfWhatHasChanged() throws Exception {
    Layered t = layered("back");
    byte[] first = here.bytes(here.disk(t.first()));

    String arrived = move(t.vm());
    String disk = there.disks(arrived).getFirst();
    there.put(disk, "write -P 5 8M 64k");
    there.put(disk, "write -z 9M 64k");
    there.put(disk, "discard 10M 64k");
    String third = there.root().text("VM.snapshot", arrived, "three", List.of());
    String one = there.disk(t.first());
    BitSet changed = there.changed(one, there.disks(third).getFirst());
    assertHolds(changed, differing(first, there.bytes(there.disks(third).getFirst())));
    assertThat(changed.cardinality()).as("three MiB and three blocks").isEqualTo(51);
    there.put(disk, "write -P 6 11M 64k");
    String thirdUuid = there.root().text("VM.get_uuid", third);

    String back = moveBack(arrived);
    disk = here.disks(back).getFirst();
    assertThat(here.tracked(disk)).isTrue();
    here.put(disk, "write -P 7 30M 64k");
    BitSet all = here.changed(here.disk(t.first()), disk);
    assertHolds(all, differing(first, here.bytes(disk)));
    assertThat(all.cardinality()).isEqualTo(53);
    assertThat(here.changed(here.disk(thirdUuid), disk))
        .as("two blocks")
        .satisfies(since -> assertThat(since.cardinality()).isEqualTo(2));
    here.root().call("VDI.disable_cbt", disk);
    assertThat(here.tracked(disk)).isFalse();
    destroy(back);
  }
}
