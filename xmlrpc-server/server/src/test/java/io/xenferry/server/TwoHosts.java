package io.xenferry.server;

import static org.awaitility.Awaitility.await;

import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.config.ServerConfig;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** Two servers on loopback, each with an SR, and VMs with simulated guests that move between. */
final class TwoHosts implements AutoCloseable {
  static final long SIZE = 8 << 20;
  static final Duration LONG = Duration.ofSeconds(60);

  final TestServer here;
  final TestServer there;
  final TestServer.Calls source;
  final TestServer.Calls destination;

  /** The SR at the source. */
  final String from;

  /** The SR at the destination. */
  final String to;

  static TwoHosts start() throws Exception {
    return start(config -> config);
  }

  /** The destination configured otherwise. */
  static TwoHosts start(UnaryOperator<ServerConfig> change) throws Exception {
    TestServer here = TestServer.startAt("127.0.0.1");
    try {
      return new TwoHosts(here, TestServer.startAt("127.0.0.2", change));
    } catch (Exception | AssertionError e) {
      here.close();
      throw e;
    }
  }

  private TwoHosts(TestServer here, TestServer there) throws Exception {
    this.here = here;
    this.there = there;
    source = here.calls();
    destination = there.calls();
    from = source.sr(here.directory.resolve("sr"));
    to = destination.sr(there.directory.resolve("sr"));
  }

  @Override
  public void close() throws Exception {
    try {
      there.close();
    } finally {
      here.close();
    }
  }

  /** A VM at the source with so many filled disks. */
  Traveller traveller(String name, int disks) throws Exception {
    Path ledger = here.directory.resolve(name + ".ledger");
    // Gentle enough that copies converge at once, also on a busy machine.
    String vm =
        source.vm(
            name,
            Map.of(
                "xenferry:ledger",
                ledger.toString(),
                "xenferry:workload-rate",
                Integer.toString(512 << 10),
                "xenferry:memory-dirty-rate",
                Integer.toString(256 << 10)));
    List<String> vdis = new ArrayList<>();
    List<String> uuids = new ArrayList<>();
    for (int i = 0; i < disks; i++) {
      String vdi = source.vdi(from, name + i, SIZE);
      String uuid = source.text("VDI.get_uuid", vdi);
      DiskFiller.fill(image(uuid), i, new FillPattern(SIZE, 60, 7), ledger);
      source.vbd(vm, vdi, i);
      vdis.add(vdi);
      uuids.add(uuid);
    }
    source.text(
        "VIF.create",
        RecordsTest.required(
            "VIF", Map.of("VM", vm, "network", source.only("network"), "device", "0")));
    return new Traveller(this, vm, source.text("VM.get_uuid", vm), vdis, uuids, ledger);
  }

  /** The image of a disk at the source. */
  Path image(String vdi) throws Exception {
    return StorageTest.image(here.directory.resolve("sr"), vdi);
  }

  Value token() throws XenApiException {
    return destination.call(
        "host.migrate_receive", destination.only("host"), destination.only("network"), Map.of());
  }

  /** Whether the disks are being copied: beside that the memory is sent, as slowly. */
  static boolean isCopying(MigrationStatus status) {
    return switch (status.phase()) {
      case "copying the disks",
          "waiting for the process that receives the memory",
          "sending the memory" ->
          true;
      default -> false;
    };
  }

  /**
   * Begins to move a VM, slowly enough that much can happen before its disks are copied.
   *
   * @return the task, once the disks are being copied
   */
  String begin(Traveller t, long bytesPerSecond) throws Exception {
    String task =
        source.text(
            "Async.VM.migrate_send",
            t.arguments(token(), to, Map.of("bandwidth", Long.toString(bytesPerSecond))));
    await().atMost(LONG).until(() -> movesOf(t).stream().anyMatch(TwoHosts::isCopying));
    return task;
  }

  /** What the source knows of moves of the VM. */
  List<MigrationStatus> movesOf(Traveller t) {
    return here.server.coordinator().statuses().stream()
        .filter(s -> s.vm().toString().equals(t.uuid()))
        .toList();
  }

  /** How many records of the classes that a move concerns a server has. */
  static Map<String, Integer> objects(TestServer server) {
    Map<String, Integer> counts = new LinkedHashMap<>();
    var db = server.server.context().db().snapshot();
    for (String c : List.of("VM", "VDI", "VBD", "VIF", "VM_metrics", "SR", "PBD", "session")) {
      counts.put(c, List.copyOf(db.rows(c)).size());
    }
    return counts;
  }

  /** A VM with filled disks and a network interface, and the ledger of its writes. */
  record Traveller(
      TwoHosts hosts, String vm, String uuid, List<String> vdis, List<String> uuids, Path ledger) {

    Map<String, String> vdiMap(String sr) {
      Map<String, String> map = new LinkedHashMap<>();
      vdis.forEach(v -> map.put(v, sr));
      return map;
    }

    Map<String, String> vifMap() throws XenApiException {
      Map<String, String> map = new LinkedHashMap<>();
      for (String vif : TestServer.texts(hosts.source.call("VM.get_VIFs", vm))) {
        map.put(vif, hosts.destination.only("network"));
      }
      return map;
    }

    Object[] arguments(Value token, String sr, Map<String, String> options) throws XenApiException {
      return new Object[] {vm, token, true, vdiMap(sr), vifMap(), options};
    }

    /** Its disks as they are at the hosts.destination. */
    List<Path> arrived() throws Exception {
      return arrived(hosts.destination.text("VM.get_by_uuid", uuid));
    }

    List<Path> arrived(String moved) throws Exception {
      List<Path> images = new ArrayList<>();
      Map<String, Path> byDevice = new java.util.TreeMap<>();
      for (String vbd : TestServer.texts(hosts.destination.call("VM.get_VBDs", moved))) {
        String vdi = hosts.destination.text("VBD.get_VDI", vbd);
        byDevice.put(
            hosts.destination.text("VBD.get_userdevice", vbd),
            StorageTest.image(
                hosts.there.directory.resolve("sr"), hosts.destination.text("VDI.get_uuid", vdi)));
      }
      images.addAll(byDevice.values());
      return images;
    }
  }
}
