package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Commands that plug and unplug. A disk that is plugged in is there for bitmaps and exports, but
 * nothing is written to it; one that is unplugged is written to no more. Network cards are names
 * only.
 */
final class DeviceCommands {
  private final Machine machine;
  private final TuningCommands tuning;
  private final Map<String, GuestDisk> unused = new HashMap<>();
  private final Set<String> netdevs = new HashSet<>();

  /** By device id, the network device behind it. */
  private final Map<String, String> nics = new HashMap<>();

  DeviceCommands(Machine machine, TuningCommands tuning) {
    this.machine = machine;
    this.tuning = tuning;
    for (String nic : machine.settings.nics()) {
      netdevs.add("net" + nic);
      nics.put("vif" + nic, "net" + nic);
    }
  }

  JsonNode run(String command, JsonNode arguments) throws QmpError {
    switch (command) {
      case "blockdev-add" -> open(arguments);
      case "blockdev-del" -> close(arguments.path("node-name").asText());
      case "blockdev-reopen" -> {
        for (JsonNode node : arguments.path("options")) {
          reopen(node);
        }
      }
      case "netdev_add" -> {
        if (!netdevs.add(arguments.path("id").asText())) {
          throw new QmpError("Duplicate ID '" + arguments.path("id").asText() + "' for netdev");
        }
      }
      case "netdev_del" -> {
        String id = arguments.path("id").asText();
        if (nics.containsValue(id)) {
          throw new QmpError("Device '" + id + "' is in use");
        }
        if (!netdevs.remove(id)) {
          throw new QmpError("Device '" + id + "' not found");
        }
      }
      case "device_add" -> plug(arguments);
      case "device_del" -> unplug(arguments.path("id").asText());
      case "qom-list" -> {
        return list(arguments.path("path").asText());
      }
      default -> throw new QmpError("The command " + command + " has not been found");
    }
    return QmpCommands.done();
  }

  private void open(JsonNode node) throws QmpError {
    String name = node.path("node-name").asText();
    if (unused.containsKey(name) || machine.disks.stream().anyMatch(d -> d.node().equals(name))) {
      throw new QmpError("Duplicate nodes with node-name='" + name + "'");
    }
    if (!node.path("driver").asText().equals("raw")) {
      throw new QmpError("Unknown driver '" + node.path("driver").asText() + "'");
    }
    Path file = Path.of(node.path("file").path("filename").asText());
    GuestSettings.Disk settings =
        new GuestSettings.Disk("", name, file, node.path("read-only").asBoolean());
    try {
      int index = machine.disks.stream().mapToInt(d -> d.index).max().orElse(-1) + 1;
      GuestDisk disk = new GuestDisk(index, settings);
      disk.activate();
      unused.put(name, disk);
    } catch (IOException e) {
      throw new QmpError("Could not open '" + file + "': " + e.getMessage());
    }
  }

  /** Another image for a disk; the node that was added for it is then the disk's own. */
  private void reopen(JsonNode options) throws QmpError {
    String name = options.path("node-name").asText();
    GuestDisk disk =
        machine.disks.stream()
            .filter(d -> d.node().equals(name))
            .findFirst()
            .orElseThrow(() -> new QmpError("Failed to find node with node-name='" + name + "'"));
    GuestDisk below = unused.get(options.path("file").asText());
    if (below == null) {
      throw new QmpError("Cannot find device='' nor node-name='" + options.path("file") + "'");
    }
    if (below.size != disk.size) {
      throw new QmpError("the images have different sizes");
    }
    machine.faults.dieAt("reopen");
    if (machine.faults.has("refuse-reopen")) {
      throw new QmpError("fault: reopen refused");
    }
    try {
      machine.replace(disk, below);
    } catch (IOException e) {
      throw new QmpError("Could not reopen '" + name + "': " + e.getMessage());
    }
    unused.remove(below.node());
  }

  private void close(String node) throws QmpError {
    if (machine.disks.stream().anyMatch(d -> d.node().equals(node)) || tuning.uses(node)) {
      throw new QmpError("Node " + node + " is in use");
    }
    GuestDisk disk = unused.remove(node);
    if (disk == null) {
      throw new QmpError("Failed to find node with node-name='" + node + "'");
    }
    disk.close();
  }

  private void plug(JsonNode arguments) throws QmpError {
    String id = arguments.path("id").asText();
    if (plugged().contains(id)) {
      throw new QmpError("Duplicate device ID '" + id + "'");
    }
    boolean cpu = arguments.path("driver").asText().equals("simulated-cpu");
    if (!cpu && !arguments.path("bus").asText().equals("port-" + id)) {
      throw new QmpError("Bus '" + arguments.path("bus").asText() + "' not found");
    }
    switch (arguments.path("driver").asText()) {
      case "virtio-blk-pci" -> {
        GuestDisk disk = unused.remove(arguments.path("drive").asText());
        if (disk == null) {
          throw new QmpError("Property 'virtio-blk-device.drive' can't find value");
        }
        machine.plug(disk.plugged(id));
      }
      case "simulated-cpu" -> tuning.addProcessor(arguments.path("socket-id").asInt(), id);
      case "virtio-net-pci" -> {
        if (!netdevs.contains(arguments.path("netdev").asText())) {
          throw new QmpError("Property 'virtio-net-device.netdev' can't find value");
        }
        nics.put(id, arguments.path("netdev").asText());
      }
      default ->
          throw new QmpError("'" + arguments.path("driver").asText() + "' is not a valid device");
    }
  }

  private void unplug(String id) throws QmpError {
    if (!plugged().contains(id)) {
      throw new QmpError("Device '" + id + "' not found");
    }
    if (machine.faults.has("refuse-unplug")) {
      machine.tell(
          "DEVICE_UNPLUG_GUEST_ERROR",
          QmpServer.object().put("device", id).put("path", "/machine/peripheral/" + id));
    } else if (!machine.faults.has("ignore-unplug")) {
      letGo(id);
    }
  }

  private void letGo(String id) throws QmpError {
    if (nics.remove(id) == null && !tuning.removeProcessor(id)) {
      GuestDisk disk =
          machine.disks.stream()
              .filter(d -> d.settings.device().equals(id))
              .findFirst()
              .orElseThrow(() -> new QmpError("Device '" + id + "' not found"));
      machine.unplug(disk);
      unused.put(disk.node(), disk);
    }
    machine.tell(
        "DEVICE_DELETED",
        QmpServer.object().put("device", id).put("path", "/machine/peripheral/" + id));
  }

  private Set<String> plugged() {
    Set<String> all = new HashSet<>(nics.keySet());
    machine.disks.forEach(disk -> all.add(disk.settings.device()));
    all.addAll(tuning.plugged());
    return all;
  }

  private JsonNode list(String path) throws QmpError {
    if (!path.equals("/machine/peripheral")) {
      throw new QmpError("Device '" + path + "' not found");
    }
    ArrayNode answer = QmpCommands.array();
    List<String> names = new ArrayList<>(plugged());
    names.forEach(name -> answer.addObject().put("name", name).put("type", "child<device>"));
    return answer;
  }
}
