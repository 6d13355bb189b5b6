package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.migration.Decorators;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/** Two servers on loopback, each with an SR, and VMs with simulated guests that move between. */
final class TwoHosts implements AutoCloseable {
  static final long SIZE = 8 << 20;
  static final Duration LONG = Duration.ofSeconds(60);

  TestServer here;
  TestServer there;
  TestServer.Calls source;
  TestServer.Calls destination;

  /** The SR at the source. */
  final String from;

  /** The SR at the destination. */
  final String to;

  private interface Start {
    TestServer at(String address) throws Exception;
  }

  static TwoHosts start() throws Exception {
    return start(TestServer::startAt, TestServer::startAt);
  }

  /** The destination configured otherwise. */
  static TwoHosts start(UnaryOperator<ServerConfig> change) throws Exception {
    return start(TestServer::startAt, address -> TestServer.startAt(address, change));
  }

  /** Somebody watches what moves do at the destination. */
  static TwoHosts start(Decorators destination) throws Exception {
    return start(TestServer::startAt, address -> TestServer.startAt(address, destination));
  }

  /** Both configured otherwise. */
  static TwoHosts startAlike(UnaryOperator<ServerConfig> change) throws Exception {
    Start alike = address -> TestServer.startAt(address, change);
    return start(alike, alike);
  }

  /** With databases that outlive the servers, which may be started anew. */
  static TwoHosts startDurable() throws Exception {
    Start durable =
        address -> {
          Path directory = Files.createTempDirectory("xenferry");
          return TestServer.startAt(address, directory, database(directory));
        };
    return start(durable, durable);
  }

  private static ObjectDatabase database(Path directory) throws Exception {
    return SqliteDatabase.open(directory.resolve("pool.db"));
  }

  void restartSource() throws Exception {
    here = here.again(() -> database(here.directory));
    source = here.calls();
  }

  void restartDestination() throws Exception {
    there = there.again(() -> database(there.directory));
    destination = there.calls();
  }

  private static TwoHosts start(Start source, Start destination) throws Exception {
    TestServer here = source.at("127.0.0.1");
    try {
      return new TwoHosts(here, destination.at("127.0.0.2"));
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
    return destination.token();
  }

  /** What moves a VM back from the destination, with options by key and value. */
  Object[] argumentsBack(String moved, String... options) throws XenApiException {
    Map<String, String> vdis = new LinkedHashMap<>();
    for (String vbd : TestServer.texts(destination.call("VM.get_VBDs", moved))) {
      vdis.put(destination.text("VBD.get_VDI", vbd), from);
    }
    Map<String, String> vifs = new LinkedHashMap<>();
    for (String vif : TestServer.texts(destination.call("VM.get_VIFs", moved))) {
      vifs.put(vif, source.only("network"));
    }
    return new Object[] {moved, source.token(), true, vdis, vifs, options(options)};
  }

  /** The images of a VM's disks, by the devices that they are. */
  static List<Path> images(TestServer host, TestServer.Calls calls, String vm) throws Exception {
    Map<String, Path> byDevice = new TreeMap<>();
    for (String vbd : TestServer.texts(calls.call("VM.get_VBDs", vm))) {
      String vdi = calls.text("VDI.get_uuid", calls.text("VBD.get_VDI", vbd));
      byDevice.put(
          calls.text("VBD.get_userdevice", vbd),
          StorageTest.image(host.directory.resolve("sr"), vdi));
    }
    return List.copyOf(byDevice.values());
  }

  /** The options of a move, by key and value. */
  static Map<String, String> options(String... keysAndValues) {
    Map<String, String> options = new LinkedHashMap<>();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      options.put(keysAndValues[i], keysAndValues[i + 1]);
    }
    return options;
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
    String task = t.moveAsync("bandwidth", Long.toString(bytesPerSecond));
    awaitCopying(t);
    return task;
  }

  void awaitCopying(Traveller t) {
    await().atMost(LONG).until(() -> movesOf(t).stream().anyMatch(TwoHosts::isCopying));
  }

  /** Waits until a move of the VM is in a phase that begins with these words. */
  void awaitPhase(Traveller t, String words) {
    await()
        .atMost(LONG)
        .until(() -> movesOf(t).stream().anyMatch(move -> move.phase().startsWith(words)));
  }

  /** Cancels a move, and waits until its task says so. */
  void cancel(String task) throws XenApiException {
    source.call("task.cancel", task);
    awaitStatus(task, "cancelled");
  }

  /** Waits until a task at the source has come to a status. */
  void awaitStatus(String task, String status) {
    await().atMost(LONG).until(() -> source.text("task.get_status", task), status::equals);
  }

  /** Waits until a task at the source has succeeded; one that fails says why. */
  void awaitSuccess(String task) throws XenApiException {
    assertThat(awaitEnd(task))
        .as("%s", source.call("task.get_error_info", task))
        .isEqualTo("success");
  }

  /**
   * Waits until a task at the source is over.
   *
   * @return its status
   */
  String awaitEnd(String task) {
    return await()
        .atMost(LONG)
        .until(
            () -> source.text("task.get_status", task),
            status -> !status.equals("pending") && !status.equals("cancelling"));
  }

  /** Waits until all moves of a VM have ended and the destination has what it had before. */
  void awaitNothingLeft(Traveller t, Map<String, Integer> before) {
    await()
        .atMost(LONG)
        .untilAsserted(() -> {
          assertThat(movesOf(t)).allMatch(MigrationStatus::ended);
          assertThat(objects(there)).isEqualTo(before);
        });
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
}
