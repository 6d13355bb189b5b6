package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A Linux guest that writes is moved, shut down, or asked to let go of its disk while images below
 * that disk are merged, so slowly that it does not end by itself.
 */
@Timeout(600)
@Tag("slow")
class LinuxMergeInUseTest {
  private static final Duration PATIENCE = Duration.ofSeconds(120);
  private static final String BANDWIDTH = "xenferry:merge-bandwidth";

  /** Of what is to be merged QEMU writes some MiB at once, whatever the limit. */
  private static final long RECORDS = 400;

  private static Moves begin() throws Exception {
    Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "embedded");
    try {
      moves.startServers();
      for (Site site : moves.sites()) {
        try (Api api = new Api(site)) {
          api.text("SR.add_to_other_config", repository(api), BANDWIDTH, "65536");
        }
      }
      moves.writing(1 << 20, 16 << 20).addVm(DiskFiles.QCOW2, 32L << 20);
      moves.start();
      return moves;
    } catch (Exception | AssertionError e) {
      moves.close();
      throw e;
    }
  }

  private static String repository(Api api) throws XenApiException {
    return api.texts("SR.get_by_name_label", DiskFiles.QCOW2).getFirst();
  }

  private static List<Path> images(Site site) throws IOException {
    try (Stream<Path> files = Files.list(DiskFiles.repository(site, DiskFiles.QCOW2))) {
      return files.filter(f -> f.toString().endsWith(".qcow2")).toList();
    }
  }

  private static void awaitImages(Site site, int count) {
    await()
        .atMost(PATIENCE)
        .untilAsserted(() -> assertThat(images(site)).as(site.tailOfLog()).hasSize(count));
  }

  /** Whether images are being merged under a guest. */
  private static boolean merging(Api api) throws XenApiException {
    for (String task : api.texts("task.get_all")) {
      if (api.text("task.get_name_label", task).equals("SR.coalesce")
          && api.text("task.get_status", task).equals("pending")) {
        return true;
      }
    }
    return false;
  }

  private static void awaitMerging(Site site) throws Exception {
    try (Api api = new Api(site)) {
      await()
          .atMost(PATIENCE)
          .untilAsserted(() -> assertThat(merging(api)).as(site.tailOfLog()).isTrue());
    }
  }

  /** Begins a merge below one of the guest's disks, and returns while it is under way. */
  private static void merge(Moves moves, Site site, int disk) throws Exception {
    try (Api api = new Api(site)) {
      String snapshot =
          ((Value.Text)
                  api.call("VDI.snapshot", Value.of(vdi(api, moves, disk)), Value.EMPTY_STRUCT))
              .text();
      long before = moves.observer().acknowledged(disk);
      await().atMost(PATIENCE).until(() -> moves.observer().acknowledged(disk) > before + RECORDS);
      api.text("VDI.destroy", snapshot);
    }
    awaitMerging(site);
  }

  private static String vbd(Api api, Moves moves, int disk) throws XenApiException {
    for (String vbd : api.texts("VM.get_VBDs", api.text("VM.get_by_uuid", moves.vm()))) {
      if (api.text("VBD.get_userdevice", vbd).equals(Integer.toString(disk))) {
        return vbd;
      }
    }
    throw new AssertionError("the VM has no disk " + disk);
  }

  private static String vdi(Api api, Moves moves, int disk) throws XenApiException {
    return api.text("VBD.get_VDI", vbd(api, moves, disk));
  }

  private static void assertContent(Moves moves, Site site) throws Exception {
    moves.observer().sync();
    Verdict verdict = DiskFiles.verify(moves.lab().ledger(), moves.disks(site, moves.vm()));
    assertThat(verdict.good()).as(verdict.toString()).isTrue();
    assertThat(verdict.acknowledged()).isPositive();
    assertThat(moves.observer().anomalies()).isEmpty();
  }

  @Test
  void aVmMovesAndItsMergeBeginsAgainWhereItIs() throws Exception {
    try (Moves moves = begin()) {
      merge(moves, moves.lab().alpha(), 0);
      Xe.Outcome there = moves.move(moves.lab().alpha()).await();
      assertThat(there.exit()).as(there + moves.describe()).isZero();
      assertThat(moves.assertWell()).isSameAs(moves.lab().beta());
      assertThat(images(moves.lab().beta())).hasSize(1);

      merge(moves, moves.lab().beta(), 0);
      Xe.Outcome refused = moves.move(moves.lab().beta(), "transport=none").await();
      assertThat(refused.exit()).as(refused.toString()).isNotZero();
      // A move that came to nothing leaves the merge to go on.
      awaitMerging(moves.lab().beta());
      Xe.Outcome back = moves.move(moves.lab().beta()).await();
      assertThat(back.exit()).as(back + moves.describe()).isZero();
      assertThat(moves.assertWell()).isSameAs(moves.lab().alpha());
      assertThat(moves.observer().boots()).isEqualTo(1);
    }
  }

  @Test
  void aGuestThatShutsDownHasOneImageThen() throws Exception {
    try (Moves moves = begin()) {
      Site site = moves.lab().alpha();
      merge(moves, site, 0);
      try (Api api = new Api(site)) {
        String vm = api.text("VM.get_by_uuid", moves.vm());
        api.text("VM.clean_shutdown", vm);
        assertThat(moves.powerState(site)).contains("Halted");
        awaitImages(site, 1);
        assertContent(moves, site);
        assertThat(merging(api)).isFalse();
        api.call("VM.start", Value.of(vm), Value.of(false), Value.of(false));
      }
      moves.assertWrites();
      moves.assertNothingLost(site);
      assertThat(moves.observer().boots()).isEqualTo(2);
    }
  }

  @Test
  void aDiskIsUnpluggedAndPluggedInAgain() throws Exception {
    try (Moves moves = begin()) {
      Site site = moves.lab().alpha();
      try (Api api = new Api(site)) {
        String vbd = addDisk(api, moves);
        api.text("VBD.plug", vbd);
        await().atMost(PATIENCE).until(() -> moves.observer().acknowledged(1) > 20);
        merge(moves, site, 1);

        api.text("VBD.unplug", vbd);

        assertThat(api.call("VBD.get_currently_attached", Value.of(vbd)))
            .isEqualTo(Value.of(false));
        // Nobody has it any more.
        awaitImages(site, 2);
        assertThat(merging(api)).isFalse();
        api.text("VM.pause", api.text("VM.get_by_uuid", moves.vm()));
        assertContent(moves, site);
        api.text("VM.unpause", api.text("VM.get_by_uuid", moves.vm()));
        long before = moves.observer().acknowledged(1);
        api.text("VBD.plug", vbd);
        // It has another name while its writer holds on to the old one.
        await()
            .atMost(PATIENCE)
            .until(() ->
                moves.observer().acknowledged(1) > before + 20
                    || moves.observer().acknowledged(2) > 20);
        moves.assertWrites();
      }
    }
  }

  private static String addDisk(Api api, Moves moves) throws XenApiException {
    String vdi =
        api.create(
            "VDI",
            Map.of(
                "name_label", Value.of("second"),
                "SR", Value.of(repository(api)),
                "virtual_size", Value.of(32L << 20),
                "type", Value.of("user"),
                "sharable", Value.of(false),
                "read_only", Value.of(false),
                "other_config", Value.EMPTY_STRUCT));
    return api.create(
        "VBD",
        Map.of(
            "VM", Value.of(api.text("VM.get_by_uuid", moves.vm())),
            "VDI", Value.of(vdi),
            "userdevice", Value.of("1"),
            "bootable", Value.of(false),
            "mode", Value.of("RW"),
            "type", Value.of("Disk"),
            "empty", Value.of(false),
            "other_config", Value.EMPTY_STRUCT,
            "qos_algorithm_type", Value.of(""),
            "qos_algorithm_params", Value.EMPTY_STRUCT));
  }
}
