package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import io.xenferry.server.config.ServerConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A server of QEMU guests with an SR of qcow2 images, and one of raw files to look at disks. */
record LayeredSite(TestServer server, TestServer.Calls root, String sr, String rawSr) {
  static final long SIZE = 32 << 20;
  static final long MIB = 1 << 20;
  static final int BLOCK = 64 << 10;

  static LayeredSite start(String address) throws Exception {
    TestServer server = TestServer.startAt(address, LayeredSite::qemu);
    TestServer.Calls root = server.calls();
    String sr = root.layeredSr(server.directory.resolve("q"));
    return new LayeredSite(server, root, sr, root.sr(server.directory.resolve("raw")));
  }

  private static ServerConfig qemu(ServerConfig config) {
    return config.with(config.toolstack().withHypervisor("qemu"));
  }

  /** The first disk of the VM that has a uuid. */
  String disk(String uuid) throws Exception {
    return disks(root.text("VM.get_by_uuid", uuid)).getFirst();
  }

  List<String> disks(String vm) throws Exception {
    Map<String, String> byDevice = new TreeMap<>();
    for (String vbd : TestServer.texts(root.call("VM.get_VBDs", vm))) {
      byDevice.put(root.text("VBD.get_userdevice", vbd), root.text("VBD.get_VDI", vbd));
    }
    return List.copyOf(byDevice.values());
  }

  /** The image that a disk writes to. */
  Path leaf(String vdi) throws Exception {
    String uuid = root.text("VDI.get_uuid", vdi);
    Path tree = server.directory.resolve("q").resolve("images.meta");
    if (Files.exists(tree)) {
      for (String line : Files.readAllLines(tree)) {
        if (line.startsWith("vdi." + uuid + "=")) {
          uuid = line.substring(line.indexOf('=') + 1);
        }
      }
    }
    return server.directory.resolve("q").resolve(uuid + ".qcow2");
  }

  /** The image of a disk that has one of its own, in a format. */
  Path file(String vdi, String format) throws Exception {
    boolean layered = root.text("VDI.get_SR", vdi).equals(sr);
    return server
        .directory
        .resolve(layered ? "q" : "raw")
        .resolve(root.text("VDI.get_uuid", vdi) + "." + format);
  }

  /** Changes a disk that nothing has open, as qemu-io does. */
  void put(String vdi, String command) throws Exception {
    ExternalTools.run("qemu-io", "-f", "qcow2", "-c", command, leaf(vdi).toString());
  }

  /** The content of a disk. */
  byte[] bytes(String vdi) throws Exception {
    String copy = root.text("VDI.copy", vdi, rawSr, "OpaqueRef:NULL", "OpaqueRef:NULL");
    byte[] bytes = Files.readAllBytes(file(copy, "raw"));
    root.call("VDI.destroy", copy);
    return bytes;
  }

  boolean tracked(String vdi) throws Exception {
    return root.record("VDI", vdi).get("cbt_enabled").equals(Value.of(true));
  }

  /** The blocks that are said to have changed. */
  BitSet changed(String from, String to) throws Exception {
    byte[] bits = Base64.getDecoder().decode(root.text("VDI.list_changed_blocks", from, to));
    assertThat(bits).hasSize((int) (SIZE / BLOCK / 8));
    BitSet changed = new BitSet();
    for (int i = 0; i < bits.length * 8; i++) {
      changed.set(i, (bits[i / 8] & (0x80 >> (i % 8))) != 0);
    }
    return changed;
  }

  /** The bytes at whole MiBs of a disk. */
  List<Integer> content(String vdi, int... mibs) throws Exception {
    byte[] bytes = bytes(vdi);
    List<Integer> found = new ArrayList<>();
    for (int mib : mibs) {
      found.add((int) bytes[(int) (mib * MIB)]);
    }
    return found;
  }

  /** How many images there are. */
  long images() throws Exception {
    try (var files = Files.list(server.directory.resolve("q"))) {
      return files.filter(f -> f.toString().endsWith(".qcow2")).count();
    }
  }

  /** VMs with their snapshots, and the disks of all of them. */
  void destroy(String... of) throws Exception {
    List<String> vms = new ArrayList<>();
    for (String vm : of) {
      vms.addAll(TestServer.texts(root.call("VM.get_snapshots", vm)));
      vms.add(vm);
    }
    List<String> disks = new ArrayList<>();
    for (String each : vms) {
      disks.addAll(disks(each));
    }
    for (String each : vms) {
      root.call("VM.destroy", each);
    }
    for (String vdi : disks) {
      root.call("VDI.destroy", vdi);
    }
  }

  /** The blocks in which two disks of one size differ. */
  static BitSet differing(byte[] one, byte[] other) {
    BitSet blocks = new BitSet();
    for (int at = 0; at < one.length; at += BLOCK) {
      blocks.set(at / BLOCK, !Arrays.equals(one, at, at + BLOCK, other, at, at + BLOCK));
    }
    return blocks;
  }

  /** None too few. */
  static void assertHolds(BitSet listed, BitSet different) {
    BitSet missing = (BitSet) different.clone();
    missing.andNot(listed);
    assertThat(missing).as("blocks that differ and are not listed").isEqualTo(new BitSet());
    assertThat(different.cardinality()).isPositive();
  }
}
