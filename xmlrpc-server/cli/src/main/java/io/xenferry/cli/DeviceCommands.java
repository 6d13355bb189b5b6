package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** VBDs, VIFs and networks. */
final class DeviceCommands {
  /** How often a disk that a guest still uses is looked at. */
  private static final Duration UNPLUG_POLL = Duration.ofSeconds(5);

  private static final SecureRandom RANDOM = new SecureRandom();

  private DeviceCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("vbd-create", DeviceCommands::createVbd);
    commands.put("vbd-insert", DeviceCommands::insert);
    commands.put("vbd-unplug", DeviceCommands::unplugVbd);
    commands.put("vif-create", DeviceCommands::createVif);
    commands.put("vif-unplug", DeviceCommands::unplugVif);
    commands.put("vif-move", DeviceCommands::moveVif);
    commands.put("vtpm-create", DeviceCommands::createVtpm);
    commands.put("vtpm-destroy", DeviceCommands::destroyVtpm);
    commands.put("network-create", DeviceCommands::createNetwork);
  }

  private static String enumeration(Arguments a, String name, String enumName, String otherwise)
      throws CliException {
    String text = a.get(name, otherwise);
    return RecordClass.words(enumName)
        .read(text)
        .orElseThrow(() ->
            CliException.failed(
                "Parameter '%s' takes one of %s, not '%s'"
                    .formatted(
                        name,
                        String.join(", ", RecordClass.words(enumName).shown().keySet()),
                        text)));
  }

  private static void createVbd(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    Optional<String> vdi = a.get("vdi-uuid");
    String type = enumeration(a, "type", "vbd_type", "Disk");
    if (vdi.isEmpty() && !type.equals("CD")) {
      throw CliException.failed("Only a CD drive can be empty: vdi-uuid is missing");
    }
    SequencedMap<String, Value> vbd = new LinkedHashMap<>();
    vbd.put("VM", Value.of(run.calls().byUuid("VM", a.need("vm-uuid"))));
    vbd.put("VDI", Value.of(vdi.isPresent() ? run.calls().byUuid("VDI", vdi.get()) : Calls.NULL));
    vbd.put("userdevice", Value.of(a.need("device")));
    vbd.put("bootable", Value.of(a.flag("bootable")));
    vbd.put("mode", Value.of(enumeration(a, "mode", "vbd_mode", type.equals("CD") ? "RO" : "RW")));
    vbd.put("type", Value.of(type));
    vbd.put("unpluggable", Value.of(a.flag("unpluggable", true)));
    vbd.put("empty", Value.of(vdi.isEmpty()));
    vbd.put("qos_algorithm_type", Value.of(""));
    vbd.put("qos_algorithm_params", Value.Struct.of(Map.of()));
    vbd.put("other_config", Value.Struct.of(Map.of()));
    String ref = run.calls().text("VBD.create", new Value.Struct(vbd));
    run.printer().line(run.calls().uuid("VBD", ref));
  }

  private static void createVtpm(Run run) throws XenApiException, CliException, IOException {
    Value vm = Value.of(run.calls().byUuid("VM", run.arguments().need("vm-uuid")));
    Value unique = Value.of(run.arguments().flag("is-unique"));
    String ref = run.calls().text("VTPM.create", vm, unique);
    run.printer().line(run.calls().uuid("VTPM", ref));
  }

  /** What it keeps, keys for a guest's disks perhaps, is lost. */
  private static void destroyVtpm(Run run) throws XenApiException, CliException, IOException {
    String vtpm = run.calls().byUuid("VTPM", run.arguments().need("uuid"));
    if (!run.arguments().flag("force")) {
      run.client().print("The TPM goes with all that it keeps; this cannot be undone.");
      run.client().print("Type 'yes' to continue");
      if (!run.client().prompt().strip().toLowerCase(Locale.ROOT).equals("yes")) {
        throw CliException.failed("Nothing was destroyed");
      }
    }
    run.calls().call("VTPM.destroy", Value.of(vtpm));
  }

  private static String vbd(Run run) throws XenApiException, CliException {
    return run.calls().byUuid("VBD", run.arguments().need("uuid"));
  }

  private static void insert(Run run) throws XenApiException, CliException {
    String vdi = run.calls().byUuid("VDI", run.arguments().need("vdi-uuid"));
    run.calls().call("VBD.insert", Value.of(vbd(run)), Value.of(vdi));
  }

  private static void unplugVbd(Run run) throws XenApiException, CliException {
    Value self = Value.of(vbd(run));
    if (run.arguments().flag("force")) {
      run.calls().call("VBD.unplug_force", self);
      return;
    }
    Duration timeout =
        Duration.ofSeconds(
            Math.clamp(
                Parameter.number("timeout", run.arguments().get("timeout", "0")), 0, 86_400));
    Instant end = Instant.now().plus(timeout);
    try {
      run.calls().call("VBD.unplug", self);
    } catch (XenApiException e) {
      if (!e.code().equals("DEVICE_DETACH_REJECTED") || timeout.isZero()) {
        throw e;
      }
      awaitDetached(run, self, end, e);
    }
  }

  private static void awaitDetached(Run run, Value vbd, Instant end, XenApiException rejected)
      throws XenApiException {
    while (Calls.truth(run.calls().call("VBD.get_currently_attached", vbd))) {
      Duration left = Duration.between(Instant.now(), end);
      if (left.isNegative() || left.isZero()) {
        throw rejected;
      }
      try {
        Thread.sleep(left.compareTo(UNPLUG_POLL) < 0 ? left : UNPLUG_POLL);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw rejected;
      }
    }
  }

  private static void createVif(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    String network = run.calls().byUuid("network", a.need("network-uuid"));
    String mac = a.get("mac", "");
    SequencedMap<String, Value> vif = new LinkedHashMap<>();
    vif.put("device", Value.of(a.need("device")));
    vif.put("network", Value.of(network));
    vif.put("VM", Value.of(run.calls().byUuid("VM", a.need("vm-uuid"))));
    vif.put("MAC", Value.of(mac.equals("random") ? randomMac() : mac));
    vif.put("MTU", run.calls().call("network.get_MTU", Value.of(network)));
    vif.put("other_config", Value.Struct.of(Map.of()));
    vif.put("qos_algorithm_type", Value.of(""));
    vif.put("qos_algorithm_params", Value.Struct.of(Map.of()));
    vif.put("locking_mode", Value.of("network_default"));
    vif.put("ipv4_allowed", new Value.Array(List.of()));
    vif.put("ipv6_allowed", new Value.Array(List.of()));
    String ref = run.calls().text("VIF.create", new Value.Struct(vif));
    run.printer().line(run.calls().uuid("VIF", ref));
  }

  /** A unicast address that is marked as given locally (IEEE 802). */
  private static String randomMac() {
    byte[] b = new byte[6];
    RANDOM.nextBytes(b);
    b[0] = (byte) (b[0] & 0xfc | 0x02);
    return String.format(
        Locale.ROOT, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
  }

  private static String vif(Run run) throws XenApiException, CliException {
    return run.calls().byUuid("VIF", run.arguments().need("uuid"));
  }

  private static void unplugVif(Run run) throws XenApiException, CliException {
    String method = run.arguments().flag("force") ? "VIF.unplug_force" : "VIF.unplug";
    run.calls().call(method, Value.of(vif(run)));
  }

  private static void moveVif(Run run) throws XenApiException, CliException {
    String network = run.calls().byUuid("network", run.arguments().need("network-uuid"));
    run.calls().call("VIF.move", Value.of(vif(run)), Value.of(network));
  }

  private static void createNetwork(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    SequencedMap<String, Value> network = new LinkedHashMap<>();
    network.put("name_label", Value.of(a.need("name-label")));
    network.put("name_description", Value.of(a.get("name-description", "")));
    network.put("MTU", Value.of(Parameter.number("MTU", a.get("MTU", "1500"))));
    network.put("other_config", Value.Struct.of(Map.of()));
    network.put("bridge", Value.of(a.get("bridge", "")));
    network.put("managed", Value.of(a.flag("managed", true)));
    network.put("tags", new Value.Array(List.of()));
    String ref = run.calls().text("network.create", new Value.Struct(network));
    run.printer().line(run.calls().uuid("network", ref));
  }
}
