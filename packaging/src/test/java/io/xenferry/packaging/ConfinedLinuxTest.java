package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.model.Value;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A Linux guest whose QEMU has a user of its own does what others do: disks come and go, it is
 * snapshot, its images are merged, it is suspended, goes back to a checkpoint, and is moved there
 * and back.
 */
@Timeout(900)
@Tag("slow")
class ConfinedLinuxTest {
  private static final List<String> FILES = List.of("kernel", "ramdisk");

  /** Not root's home, which guests may not pass through. */
  private Path boot;

  @BeforeEach
  void makeBootDirectory() throws Exception {
    boolean root = Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0);
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(root).as("this test is root").isTrue();
    }
    assumeTrue(root, "only root can run guests as somebody else");
    boot = Files.createTempDirectory("xfboot");
  }

  @AfterEach
  void removeBootDirectory() throws Exception {
    if (boot != null) {
      for (String file : FILES) {
        Files.deleteIfExists(boot.resolve(file));
      }
      Files.delete(boot);
    }
  }

  /** With a guest that runs at the first site. */
  private Moves begin() throws Exception {
    Moves moves =
        Moves.linux(
            "io.xenferry.server.ServerMain", "--guest-user", "auto", "--boot-dir", boot.toString());
    boolean done = false;
    try {
      moves.startServers();
      moves.writing(1 << 20, 16 << 20).addVm(DiskFiles.QCOW2, 32L << 20);
      bootFrom(boot, moves, moves.lab().alpha());
      moves.start();
      done = true;
      return moves;
    } finally {
      if (!done) {
        moves.close();
      }
    }
  }

  private static void bootFrom(Path boot, Moves moves, Site site) throws Exception {
    try (Api api = new Api(site)) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      for (String file : FILES) {
        Path there = Path.of(api.text("VM.get_PV_" + file, vm));
        api.text("VM.set_PV_" + file, vm, Files.copy(there, boot.resolve(file)).toString());
      }
    }
  }

  private static List<String> status(Moves moves, Site site) throws Exception {
    Path pid = site.stateDirectory().resolve("guests").resolve(moves.vm()).resolve("pid");
    return Files.readAllLines(Path.of("/proc/" + Files.readString(pid).strip() + "/status"));
  }

  private static void assertConfined(Moves moves, Site site) throws Exception {
    assertThat(status(moves, site))
        .anyMatch(line -> line.matches("Uid:(\\t19[0-4][0-9]{7}){4}"))
        .contains("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000")
        .contains("NoNewPrivs:\t1", "Seccomp:\t2");
  }

  /** The guest's user may write the topmost image, and read the others. */
  private static void assertWritesOnlyTopmost(Moves moves, Site site, int images) throws Exception {
    List<Path> chain = DiskFiles.chain(moves.disks(site, moves.vm()).getFirst());
    assertThat(chain).hasSize(images);
    for (Path image : chain) {
      assertThat(may(moves, site, "-r", image)).as(image + " is read").isTrue();
      assertThat(may(moves, site, "-w", image))
          .as(image + " is written")
          .isEqualTo(image.equals(chain.getFirst()));
    }
  }

  private static boolean may(Moves moves, Site site, String what, Path file) throws Exception {
    List<String> ids =
        status(moves, site).stream()
            .filter(line -> line.startsWith("Uid:") || line.startsWith("Gid:"))
            .map(line -> line.split("\t")[1])
            .toList();
    Process test =
        new ProcessBuilder(
                "setpriv",
                "--reuid=" + ids.get(0),
                "--regid=" + ids.get(1),
                "--clear-groups",
                "--",
                "test",
                what,
                file.toString())
            .start();
    assertThat(test.waitFor(60, TimeUnit.SECONDS)).isTrue();
    return test.exitValue() == 0;
  }

  private static void mergeImages(Moves moves) throws Exception {
    Site site = moves.lab().alpha();
    try (Api api = new Api(site)) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      List<String> snapshots = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        snapshots.add(api.text("VM.snapshot", vm, "then"));
        moves.awaitWrites(20);
      }
      assertWritesOnlyTopmost(moves, site, 4);
      // The image of the second goes into that of the first, which that of the third then names.
      LinuxMergeTest.destroySnapshot(api, snapshots.get(0));
      LinuxMergeTest.awaitImages(moves, 3);
      assertWritesOnlyTopmost(moves, site, 3);
      LinuxMergeTest.destroySnapshots(moves);
    }
    LinuxMergeTest.awaitImages(moves, 1);
    assertWritesOnlyTopmost(moves, site, 1);
    moves.awaitWrites(20);
    moves.assertNothingLost(site);
  }

  private static void plugAndUnplug(Api api, String vm, String sr) throws Exception {
    String vdi =
        api.create(
            "VDI",
            Map.of(
                "name_label", Value.of("plugged"),
                "SR", Value.of(sr),
                "virtual_size", Value.of(8L << 20),
                "type", Value.of("user"),
                "sharable", Value.of(false),
                "read_only", Value.of(false),
                "other_config", Value.EMPTY_STRUCT));
    String vbd =
        api.create(
            "VBD",
            Map.of(
                "VM", Value.of(vm),
                "VDI", Value.of(vdi),
                "userdevice", Value.of("5"),
                "bootable", Value.of(false),
                "mode", Value.of("RW"),
                "type", Value.of("Disk"),
                "empty", Value.of(false),
                "other_config", Value.EMPTY_STRUCT,
                "qos_algorithm_type", Value.of(""),
                "qos_algorithm_params", Value.EMPTY_STRUCT));
    api.call("VBD.plug", Value.of(vbd));
    api.call("VBD.unplug", Value.of(vbd));
    api.call("VBD.destroy", Value.of(vbd));
    api.call("VDI.destroy", Value.of(vdi));
  }

  @Test
  void itDoesEverything() throws Exception {
    try (Moves moves = begin()) {
      Site alpha = moves.lab().alpha();
      assertConfined(moves, alpha);
      mergeImages(moves);
      try (Api api = new Api(alpha)) {
        String vm = api.text("VM.get_by_uuid", moves.vm());
        String sr = api.texts("SR.get_by_name_label", DiskFiles.QCOW2).getFirst();
        api.call("VM.snapshot", Value.of(vm), Value.of("while it runs"));
        plugAndUnplug(api, vm, sr);
        api.call("VM.set_suspend_SR", Value.of(vm), Value.of(sr));
        api.call("VM.suspend", Value.of(vm));
        api.call("VM.resume", Value.of(vm), Value.of(false), Value.of(false));
      }
      assertConfined(moves, alpha);
      for (Site from : new Site[] {alpha, moves.lab().beta()}) {
        Xe.Outcome outcome = moves.move(from).await();
        assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
        assertConfined(moves, moves.assertWell());
      }
    }
  }

  @Test
  void itGoesBackToACheckpoint() throws Exception {
    try (Moves moves = begin()) {
      LinuxCheckpointTest.assertGoesBack(moves);
      assertConfined(moves, moves.lab().alpha());
    }
  }
}
