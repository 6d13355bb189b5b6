package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.TristateType;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VMGuestMetrics;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.spi.AgentReport;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

/**
 * The VM_guest_metrics of VMs with a guest here: made when its agent first answers, changed when it
 * says something else, removed when the VM is halted. Each change is an event for every client, so
 * an answer like the one before writes nothing.
 */
public final class AgentRecords {
  /** In {@code other}. */
  static final String HOST_NAME = "xenferry:host-name";

  /** The same. */
  static final String AGENT = "xenferry:agent";

  private static final List<String> VERSION = List.of("major", "minor", "micro");

  private final ObjectDatabase database;
  private final Clock clock;

  public AgentRecords(ObjectDatabase database, Clock clock) {
    this.database = database;
    this.clock = clock;
  }

  /** Records an answer; one that comes when the VM runs here no longer is dropped. */
  void answered(UUID uuid, AgentReport report) throws XenApiException {
    Snapshot db = database.snapshot();
    Optional<Ref<VM>> vm = guestHere(db, uuid);
    if (vm.isPresent() && !isRecorded(db, vm.get(), told(db, vm.get(), report))) {
      database.change(tx -> {
        Optional<Ref<VM>> still = guestHere(tx, uuid);
        if (still.isPresent()) {
          put(tx, still.get(), told(tx, still.get(), report), clock.instant());
        }
      });
    }
  }

  /** Records that the agent, if there was one, does not answer now. */
  void silent(UUID uuid) throws XenApiException {
    Snapshot db = database.snapshot();
    Optional<Ref<VM>> vm = guestHere(db, uuid);
    if (vm.isPresent() && isLive(db, vm.get())) {
      database.change(tx -> notLive(tx, vm.get(), clock.instant()));
    }
  }

  private static Optional<Ref<VM>> guestHere(Snapshot db, UUID uuid) throws XenApiException {
    Optional<Row> row = db.byUuid("VM", uuid.toString());
    if (row.isEmpty()) {
      return Optional.empty();
    }
    Ref<VM> vm = new Ref<>(row.get().ref());
    VmPowerState state = db.get(vm, VM.POWER_STATE);
    return state == VmPowerState.RUNNING || state == VmPowerState.PAUSED
        ? Optional.of(vm)
        : Optional.empty();
  }

  /** What the record is to say. */
  private record Told(
      Map<String, String> system,
      Map<String, String> version,
      Map<String, String> networks,
      Map<String, String> other) {}

  private static Told told(Snapshot db, Ref<VM> vm, AgentReport report) throws XenApiException {
    Map<String, String> version = new LinkedHashMap<>();
    String[] numbers = report.version().split("[^0-9]", -1);
    for (int i = 0; i < Math.min(VERSION.size(), numbers.length); i++) {
      if (!numbers[i].isEmpty()) {
        version.put(VERSION.get(i), numbers[i]);
      }
    }
    Map<String, String> other = new LinkedHashMap<>();
    other.put(AGENT, ("qemu-ga " + report.version()).strip());
    if (!report.hostName().isEmpty()) {
      other.put(HOST_NAME, report.hostName());
    }
    return new Told(report.system(), version, networks(db, vm, report), other);
  }

  /**
   * As on XenServer: {@code 0/ip} is the first IPv4 address of VIF 0, {@code 0/ipv4/0} too, {@code
   * 0/ipv6/0} its first IPv6 address; what holds beyond the link comes first. The guest's
   * interfaces are told by their MACs; those of no VIF, such as bridges of containers, are left
   * out.
   */
  private static Map<String, String> networks(Snapshot db, Ref<VM> vm, AgentReport report)
      throws XenApiException {
    Map<String, String> networks = new LinkedHashMap<>();
    for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
      String device = db.get(vif, VIF.DEVICE);
      String mac = db.get(vif, VIF.MAC).toLowerCase(Locale.ROOT);
      List<String> ipv4 = new ArrayList<>();
      List<String> ipv6 = new ArrayList<>();
      for (AgentReport.Interface card : report.interfaces()) {
        if (card.mac().equals(mac)) {
          card.ipv4().stream().filter(a -> !ipv4.contains(a)).forEach(ipv4::add);
          card.ipv6().stream().filter(a -> !ipv6.contains(a)).forEach(ipv6::add);
        }
      }
      if (!ipv4.isEmpty()) {
        networks.put(device + "/ip", ipv4.getFirst());
      }
      number(networks, device + "/ipv4/", ipv4);
      ipv6.sort(Comparator.comparing(address -> address.startsWith("fe80:")));
      number(networks, device + "/ipv6/", ipv6);
    }
    return networks;
  }

  private static void number(Map<String, String> networks, String prefix, List<String> addresses) {
    int count = Math.min(addresses.size(), AgentReport.Interface.ADDRESSES);
    for (int i = 0; i < count; i++) {
      networks.put(prefix + i, addresses.get(i));
    }
  }

  private static boolean isRecorded(Snapshot db, Ref<VM> vm, Told told) throws XenApiException {
    Ref<VMGuestMetrics> metrics = db.get(vm, VM.GUEST_METRICS);
    return isLive(db, vm)
        && db.get(metrics, VMGuestMetrics.OS_VERSION).equals(told.system())
        && db.get(metrics, VMGuestMetrics.PV_DRIVERS_VERSION).equals(told.version())
        && db.get(metrics, VMGuestMetrics.NETWORKS).equals(told.networks())
        && db.get(metrics, VMGuestMetrics.OTHER).equals(told.other());
  }

  private static boolean isLive(Snapshot db, Ref<VM> vm) throws XenApiException {
    Ref<VMGuestMetrics> metrics = db.get(vm, VM.GUEST_METRICS);
    return db.row("VM_guest_metrics", metrics.opaque()).isPresent()
        && db.get(metrics, VMGuestMetrics.LIVE);
  }

  private static void put(Transaction tx, Ref<VM> vm, Told told, Instant now)
      throws XenApiException {
    Ref<VMGuestMetrics> metrics = tx.get(vm, VM.GUEST_METRICS);
    if (tx.row("VM_guest_metrics", metrics.opaque()).isEmpty()) {
      metrics = new Ref<>(tx.create("VM_guest_metrics", Map.of()));
      tx.set(vm, VM.GUEST_METRICS, metrics);
    }
    tx.set(metrics, VMGuestMetrics.OS_VERSION, told.system());
    tx.set(metrics, VMGuestMetrics.PV_DRIVERS_VERSION, told.version());
    tx.set(metrics, VMGuestMetrics.NETWORKS, told.networks());
    tx.set(metrics, VMGuestMetrics.OTHER, told.other());
    tx.set(metrics, VMGuestMetrics.PV_DRIVERS_DETECTED, true);
    tx.set(metrics, VMGuestMetrics.PV_DRIVERS_UP_TO_DATE, true);
    // A guest with an agent has an operating system, which serves the slots of its ports.
    tx.set(metrics, VMGuestMetrics.CAN_USE_HOTPLUG_VBD, TristateType.YES);
    tx.set(metrics, VMGuestMetrics.CAN_USE_HOTPLUG_VIF, TristateType.YES);
    tx.set(metrics, VMGuestMetrics.LIVE, true);
    tx.set(metrics, VMGuestMetrics.LAST_UPDATED, now);
  }

  private static void notLive(Transaction tx, Ref<VM> vm, Instant now) throws XenApiException {
    if (isLive(tx, vm)) {
      Ref<VMGuestMetrics> metrics = tx.get(vm, VM.GUEST_METRICS);
      tx.set(metrics, VMGuestMetrics.LIVE, false);
      tx.set(metrics, VMGuestMetrics.LAST_UPDATED, now);
    }
  }

  /** No guest is here any more: a suspended VM keeps what is known of it, a halted one nothing. */
  static void gone(Transaction tx, Ref<VM> vm, VmPowerState state) throws XenApiException {
    if (state == VmPowerState.SUSPENDED) {
      notLive(tx, vm, Instant.now());
      return;
    }
    Ref<VMGuestMetrics> metrics = tx.get(vm, VM.GUEST_METRICS);
    if (tx.row("VM_guest_metrics", metrics.opaque()).isPresent()) {
      tx.delete("VM_guest_metrics", metrics.opaque());
    }
    if (!metrics.isNull()) {
      tx.set(vm, VM.GUEST_METRICS, Ref.nullRef());
    }
  }
}
