package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Commands about block nodes and their dirty bitmaps. */
final class BitmapCommands {
  private final Machine machine;

  BitmapCommands(Machine machine) {
    this.machine = machine;
  }

  GuestDisk disk(String node) throws QmpError {
    return machine.disks.stream()
        .filter(disk -> disk.settings.node().equals(node))
        .findFirst()
        .orElseThrow(() -> new QmpError("Cannot find device='" + node + "' nor node-name=''"));
  }

  static DirtyBitmap bitmap(Map<String, DirtyBitmap> bitmaps, String name) throws QmpError {
    DirtyBitmap bitmap = bitmaps.get(name);
    if (bitmap == null) {
      throw new QmpError("Dirty bitmap '" + name + "' not found");
    }
    return bitmap;
  }

  private static DirtyBitmap idle(Map<String, DirtyBitmap> bitmaps, String name) throws QmpError {
    DirtyBitmap bitmap = bitmap(bitmaps, name);
    if (bitmap.busy) {
      throw new QmpError("Bitmap '" + name + "' is currently in use by another operation");
    }
    return bitmap;
  }

  JsonNode run(String command, JsonNode arguments) throws QmpError {
    GuestDisk disk = disk(arguments.path("node").asText());
    disk.withBitmaps(bitmaps -> {
      apply(disk, bitmaps, command, arguments);
      return true;
    });
    return QmpCommands.done();
  }

  private static void apply(
      GuestDisk disk, Map<String, DirtyBitmap> bitmaps, String command, JsonNode arguments)
      throws QmpError {
    String name = arguments.path("name").asText();
    switch (command) {
      case "block-dirty-bitmap-add" -> {
        if (name.isEmpty()) {
          throw new QmpError("Bitmap name cannot be empty");
        }
        DirtyBitmap bitmap = new DirtyBitmap(name, disk.size);
        bitmap.recording = !arguments.path("disabled").asBoolean();
        if (bitmaps.putIfAbsent(name, bitmap) != null) {
          throw new QmpError("Bitmap already exists: " + name);
        }
      }
      case "block-dirty-bitmap-remove" -> bitmaps.remove(idle(bitmaps, name).name);
      case "block-dirty-bitmap-disable" -> idle(bitmaps, name).recording = false;
      case "block-dirty-bitmap-enable" -> idle(bitmaps, name).recording = true;
      case "block-dirty-bitmap-clear" -> idle(bitmaps, name).clear();
      case "block-dirty-bitmap-merge" -> {
        DirtyBitmap target = idle(bitmaps, arguments.path("target").asText());
        for (JsonNode source : arguments.path("bitmaps")) {
          target.merge(bitmap(bitmaps, source.asText()));
        }
      }
      default -> throw new QmpError("The command " + command + " has not been found");
    }
  }

  /** All or nothing, and at one instant for the guest's writes. */
  JsonNode transaction(JsonNode actions) throws QmpError {
    List<QmpError> refused = new ArrayList<>();
    machine
        .gate()
        .quiesced(() -> {
          List<Runnable> undo = new ArrayList<>();
          try {
            for (JsonNode action : actions) {
              undo.addFirst(perform(action.path("type").asText(), action.path("data")));
            }
          } catch (QmpError e) {
            undo.forEach(Runnable::run);
            refused.add(e);
          }
        });
    if (!refused.isEmpty()) {
      throw refused.getFirst();
    }
    return QmpCommands.done();
  }

  private Runnable perform(String type, JsonNode arguments) throws QmpError {
    String reverse =
        switch (type) {
          case "block-dirty-bitmap-add" -> "block-dirty-bitmap-remove";
          case "block-dirty-bitmap-disable" -> "block-dirty-bitmap-enable";
          case "block-dirty-bitmap-enable" -> "block-dirty-bitmap-disable";
          default -> throw new QmpError("Action " + type + " is not supported here");
        };
    run(type, arguments);
    return () -> {
      try {
        run(reverse, arguments);
      } catch (QmpError e) {
        throw new IllegalStateException(e);
      }
    };
  }

  ArrayNode query(String command) throws QmpError {
    ArrayNode answer = QmpCommands.array();
    for (GuestDisk disk : machine.disks) {
      ObjectNode node = QmpServer.object();
      node.put("node-name", disk.settings.node())
          .put("drv", "raw")
          .put("ro", disk.settings.readOnly())
          .put("file", disk.settings.file().toString());
      node.putObject("image")
          .put("filename", disk.settings.file().toString())
          .put("virtual-size", disk.size)
          .put("format", "raw");
      ArrayNode list = node.putArray("dirty-bitmaps");
      disk.withBitmaps(bitmaps -> {
        for (DirtyBitmap bitmap : bitmaps.values()) {
          list.addObject()
              .put("name", bitmap.name)
              .put("count", bitmap.count())
              .put("granularity", DirtyBitmap.GRANULARITY)
              .put("recording", bitmap.recording)
              .put("busy", bitmap.busy)
              .put("persistent", false);
        }
        return true;
      });
      if (command.equals("query-block")) {
        ObjectNode device = answer.addObject();
        device.put("device", "").put("locked", false).put("removable", false);
        device.put("qdev", "/machine/peripheral/" + disk.settings.device() + "/virtio-backend");
        device.set("inserted", node);
      } else {
        answer.add(node);
      }
    }
    return answer;
  }
}
