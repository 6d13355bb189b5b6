package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Commands about CD drives, processors and the balloon: names and numbers, and threads that do
 * nothing.
 */
final class TuningCommands {
  private final Machine machine;

  /** By drive, the node of its medium; the empty string when there is none. */
  private final Map<String, String> media;

  private final Set<String> open = new HashSet<>();

  /** By place, the id of the processor there; empty for one that was there from the start. */
  private final Map<Integer, String> processors = new TreeMap<>();

  /** By place likewise. */
  private final Map<Integer, VcpuThread> threads = new TreeMap<>();

  private long memory;

  TuningCommands(Machine machine) {
    this.machine = machine;
    this.media = new HashMap<>(machine.settings.drives());
    this.memory = machine.settings.memory();
    for (int i = 0; i < machine.settings.vcpus(); i++) {
      processors.put(i, "");
      threads.put(i, VcpuThread.start());
    }
  }

  JsonNode run(String command, JsonNode arguments) throws QmpError {
    String id = arguments.path("id").asText();
    switch (command) {
      case "blockdev-open-tray" -> {
        medium(id);
        if (machine.faults.has("lock-tray") && !arguments.path("force").asBoolean()) {
          throw new QmpError("Device '" + id + "' is locked and force was not specified");
        }
        open.add(id);
      }
      case "blockdev-close-tray" -> open.remove(id);
      case "blockdev-insert-medium" -> {
        if (!open.contains(id) || !medium(id).isEmpty()) {
          throw new QmpError("Tray of device '" + id + "' is not open, or not empty");
        }
        media.put(id, arguments.path("node-name").asText());
      }
      case "blockdev-remove-medium" -> {
        if (!open.contains(id)) {
          throw new QmpError("Tray of device '" + id + "' is not open");
        }
        media.put(id, "");
      }
      case "query-hotpluggable-cpus" -> {
        return places();
      }
      case "query-cpus-fast" -> {
        ArrayNode cpus = QmpCommands.array();
        threads.forEach((place, thread) ->
            cpus.addObject().put("cpu-index", place).put("thread-id", thread.id()));
        return cpus;
      }
      case "query-kvm" -> {
        return QmpServer.object().put("enabled", !machine.settings.emulated()).put("present", true);
      }
      case "query-balloon" -> {
        return QmpServer.object().put("actual", memory);
      }
      case "balloon" -> memory = arguments.path("value").asLong();
      default -> throw new QmpError("The command " + command + " has not been found");
    }
    return QmpCommands.done();
  }

  private String medium(String drive) throws QmpError {
    String medium = media.get(drive);
    if (medium == null) {
      throw new QmpError("Device '" + drive + "' not found");
    }
    return medium;
  }

  /** Whether a node is a medium in one of the drives. */
  boolean uses(String node) {
    return media.containsValue(node);
  }

  private JsonNode places() {
    ArrayNode places = QmpCommands.array();
    for (int i = 0; i < machine.settings.maximumVcpus(); i++) {
      ObjectNode place = places.addObject().put("type", "simulated-cpu").put("vcpus-count", 1);
      place.putObject("props").put("socket-id", i).put("core-id", 0).put("thread-id", 0);
      String id = processors.get(i);
      if (id != null) {
        place.put(
            "qom-path",
            id.isEmpty() ? "/machine/unattached/device[" + i + "]" : "/machine/peripheral/" + id);
      }
    }
    return places;
  }

  void addProcessor(int place, String id) throws QmpError {
    if (processors.putIfAbsent(place, id) != null) {
      throw new QmpError("CPU[" + place + "] exists");
    }
    threads.put(place, VcpuThread.start());
  }

  /**
   * @return whether there was one of that id
   */
  boolean removeProcessor(String id) {
    boolean removed = processors.values().removeIf(id::equals);
    threads
        .entrySet()
        .removeIf(e -> {
          boolean gone = !processors.containsKey(e.getKey());
          if (gone) {
            e.getValue().end();
          }
          return gone;
        });
    return removed;
  }

  Set<String> plugged() {
    Set<String> ids = new HashSet<>(processors.values());
    ids.addAll(media.keySet());
    ids.remove("");
    return ids;
  }
}
