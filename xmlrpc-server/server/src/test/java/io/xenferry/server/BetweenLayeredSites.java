package io.xenferry.server;

import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;

/**
 * Tests of moves of VMs on qcow2 disks between two servers, which those of a class have in common.
 */
abstract class BetweenLayeredSites {
  static LayeredSite here;
  static LayeredSite there;

  @BeforeAll
  static void startSites() throws Exception {
    ExternalTools.require(
        "qemu-img", "qemu-nbd", "qemu-io", "qemu-storage-daemon", "qemu-system-x86_64");
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(Files.exists(Path.of("/dev/fuse")), "no /dev/fuse");
    }
    here = LayeredSite.start("127.0.0.1");
    there = LayeredSite.start("127.0.0.2");
  }

  @AfterAll
  static void closeSites() throws Exception {
    if (there != null) {
      there.server().close();
    }
    if (here != null) {
      here.server().close();
    }
  }

  /** Moves a VM from here to there, with options by key and value. */
  static String move(String vm, String... options) throws Exception {
    return move(here, there, vm, there.sr(), Map.of(), options);
  }

  /** Moves it back, with options by key and value. */
  static String moveBack(String vm, String... options) throws Exception {
    return move(there, here, vm, here.sr(), Map.of(), options);
  }

  /**
   * @param sr for all its disks
   * @param formats by disk, for those that change it
   */
  static String move(
      LayeredSite from,
      LayeredSite to,
      String vm,
      String sr,
      Map<String, String> formats,
      String... options)
      throws Exception {
    return from.root().text("VM.migrate_send", arguments(from, to, vm, sr, formats, options));
  }

  /**
   * Begins to move a VM from here to there.
   *
   * @return the task
   */
  static String begin(String vm, String... options) throws Exception {
    return here.root()
        .text("Async.VM.migrate_send", arguments(here, there, vm, there.sr(), Map.of(), options));
  }

  private static Object[] arguments(
      LayeredSite from,
      LayeredSite to,
      String vm,
      String sr,
      Map<String, String> formats,
      String... options)
      throws Exception {
    String network = to.root().only("network");
    Map<String, String> vdis = new LinkedHashMap<>();
    from.disks(vm).forEach(vdi -> vdis.put(vdi, sr));
    Map<String, String> vifs = new LinkedHashMap<>();
    for (String vif : TestServer.texts(from.root().call("VM.get_VIFs", vm))) {
      vifs.put(vif, network);
    }
    return new Object[] {
      vm, to.root().token(), true, vdis, vifs, TwoHosts.options(options), Map.of(), formats
    };
  }

  /** Cancels a move from here, and waits until its task says so. */
  static void cancel(String task) throws Exception {
    here.root().call("task.cancel", task);
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> here.root().text("task.get_status", task), "cancelled"::equals);
  }

  /** Destroys VMs with all that they have, here. */
  static void destroy(String... vms) throws Exception {
    here.destroy(vms);
    // What nobody has is removed in the background.
    await().atMost(TwoHosts.LONG).until(() -> here.images() == 0);
  }

  /** A VM with a disk, two snapshots of it, and something written after each. */
  record Layered(String vm, String uuid, String first, String second) {}

  static Layered layered(String name) throws Exception {
    String vm = here.root().vm(name, Map.of());
    String vdi = here.root().vdi(here.sr(), name, LayeredSite.SIZE);
    here.root().vbd(vm, vdi, 0);
    here.root().call("VDI.enable_cbt", vdi);
    here.root()
        .text(
            "VIF.create",
            RecordsTest.required(
                "VIF", Map.of("VM", vm, "network", here.root().only("network"), "device", "0")));
    here.put(vdi, "write -P 1 0 20M");
    String first = here.root().text("VM.snapshot", vm, name + " one", List.of());
    here.put(vdi, "write -P 2 2M 1M");
    here.put(vdi, "write -z 4M 1M");
    String second = here.root().text("VM.snapshot", vm, name + " two", List.of());
    here.put(vdi, "write -P 3 25M 1M");
    here.root().call("VM.add_tags", first, "precious");
    return new Layered(
        vm,
        here.root().text("VM.get_uuid", vm),
        here.root().text("VM.get_uuid", first),
        here.root().text("VM.get_uuid", second));
  }
}
