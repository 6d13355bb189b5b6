package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Backend;
import io.xenferry.spi.GuestSpec.Boot;
import io.xenferry.spi.GuestSpec.BootDevice;
import io.xenferry.spi.GuestSpec.Medium;
import io.xenferry.spi.MachineOptions;
import io.xenferry.spi.Scheduling;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;

/** A guest's spec as JSON: what a later server, and the simulated guest, know of the guest. */
final class SpecFile {
  private static final ObjectMapper JSON = new ObjectMapper();

  private SpecFile() {}

  static byte[] write(GuestSpec spec) throws IOException {
    ObjectNode root = JSON.createObjectNode();
    root.put("vm", spec.vm().toString());
    root.put("name", spec.name());
    root.put("memory", spec.memory().maximum());
    root.put("memoryTarget", spec.memory().target());
    root.put("vcpus", spec.vcpus().present());
    root.put("vcpusMaximum", spec.vcpus().maximum());
    root.put("coresPerSocket", spec.vcpus().coresPerSocket());
    root.put("weight", spec.vcpus().scheduling().weight());
    ArrayNode masks = root.putArray("masks");
    for (Set<Integer> mask : spec.vcpus().scheduling().masks()) {
      ArrayNode processors = masks.addArray();
      mask.stream().sorted().forEach(processors::add);
    }
    GuestSpec.Machine machine = spec.machine();
    root.putObject("machine")
        .put("type", machine.type())
        .put("cpu", machine.cpu())
        .put("layout", machine.layout())
        .put("accelerator", machine.accelerator())
        .put("serialPorts", machine.serialPorts())
        .put("options", machine.options().text());
    root.set("boot", boot(spec.boot()));
    ArrayNode disks = root.putArray("disks");
    for (GuestSpec.Disk disk : spec.disks()) {
      disks
          .addObject()
          .put("device", disk.device())
          .put("node", GuestLauncher.nodeName(disk.device()))
          .put("vdi", disk.vdi().toString())
          .put("file", disk.file().toString())
          .put("format", disk.format())
          .put("readOnly", disk.readOnly())
          .put("serial", disk.serial());
    }
    ArrayNode drives = root.putArray("drives");
    for (GuestSpec.CdDrive drive : spec.drives()) {
      ObjectNode node = drives.addObject().put("device", drive.device());
      drive
          .medium()
          .ifPresent(medium ->
              node.put("vdi", medium.vdi().toString())
                  .put("file", medium.file().toString())
                  .put("format", medium.format()));
    }
    ArrayNode nics = root.putArray("nics");
    for (GuestSpec.Nic nic : spec.nics()) {
      ObjectNode node =
          nics.addObject()
              .put("device", nic.device())
              .put("mac", nic.mac())
              .put("bridge", nic.bridge());
      switch (nic.backend()) {
        case Backend.Isolated isolated -> node.put("backend", "isolated");
        case Backend.User user -> node.put("backend", "user");
        case Backend.Tap(String name) -> node.put("backend", "tap").put("interface", name);
        case Backend.Bridge(String name) -> node.put("backend", "bridge").put("interface", name);
      }
    }
    ObjectNode platform = root.putObject("platform");
    spec.platform().forEach(platform::put);
    ObjectNode strings = root.putObject("biosStrings");
    spec.biosStrings().forEach(strings::put);
    root.put("clock", spec.clock().toSeconds());
    spec.tpm().ifPresent(directory -> root.put("tpm", directory.toString()));
    return JSON.writeValueAsBytes(root);
  }

  private static ObjectNode boot(Boot boot) {
    ObjectNode node = JSON.createObjectNode();
    switch (boot) {
      case Boot.Bios(List<BootDevice> order) -> order(node.put("by", "bios"), order);
      case Boot.Uefi(List<BootDevice> order, Path code, Path variables) ->
          order(
              node.put("by", "uefi")
                  .put("code", code.toString())
                  .put("variables", variables.toString()),
              order);
      case Boot.Kernel(Path kernel, Optional<Path> ramdisk, String arguments) -> {
        node.put("by", "kernel").put("kernel", kernel.toString()).put("arguments", arguments);
        ramdisk.ifPresent(path -> node.put("ramdisk", path.toString()));
      }
    }
    return node;
  }

  private static void order(ObjectNode node, List<BootDevice> order) {
    ArrayNode devices = node.putArray("order");
    order.forEach(device -> devices.add(device.name().toLowerCase(Locale.ROOT)));
  }

  static GuestSpec read(Path file) throws IOException {
    JsonNode root = JSON.readTree(file.toFile());
    try {
      return spec(root);
    } catch (IllegalArgumentException e) {
      throw new IOException("not a guest's spec", e);
    }
  }

  private static GuestSpec spec(JsonNode root) {
    List<GuestSpec.Disk> disks = new ArrayList<>();
    for (JsonNode disk : root.path("disks")) {
      UUID vdi = UUID.fromString(text(disk, "vdi"));
      disks.add(
          new GuestSpec.Disk(
              text(disk, "device"),
              vdi,
              Path.of(text(disk, "file")),
              text(disk, "format"),
              disk.path("readOnly").asBoolean(),
              disk.path("serial").asText(GuestSpec.Disk.serialOf(vdi))));
    }
    List<GuestSpec.CdDrive> drives = new ArrayList<>();
    for (JsonNode drive : root.path("drives")) {
      drives.add(new GuestSpec.CdDrive(text(drive, "device"), medium(drive)));
    }
    List<GuestSpec.Nic> nics = new ArrayList<>();
    for (JsonNode nic : root.path("nics")) {
      nics.add(
          new GuestSpec.Nic(
              text(nic, "device"), text(nic, "mac"), text(nic, "bridge"), backend(nic)));
    }
    Map<String, String> platform = new LinkedHashMap<>();
    root.path("platform")
        .properties()
        .forEach(entry -> platform.put(entry.getKey(), entry.getValue().asText()));
    Map<String, String> biosStrings = new LinkedHashMap<>();
    root.path("biosStrings")
        .properties()
        .forEach(entry -> biosStrings.put(entry.getKey(), entry.getValue().asText()));
    JsonNode machine = root.path("machine");
    return new GuestSpec(
        UUID.fromString(text(root, "vm")),
        text(root, "name"),
        new GuestSpec.Machine(
            text(machine, "type"),
            text(machine, "cpu"),
            machine.path("layout").asInt(1),
            text(machine, "accelerator"),
            machine.path("serialPorts").asInt(1),
            MachineOptions.parse(text(machine, "options"))),
        new GuestSpec.Memory(
            root.path("memory").asLong(),
            root.path("memoryTarget").asLong(root.path("memory").asLong())),
        new GuestSpec.Vcpus(
            root.path("vcpus").asInt(),
            root.path("vcpusMaximum").asInt(root.path("vcpus").asInt()),
            root.path("coresPerSocket").asInt(1),
            scheduling(root)),
        boot(root.path("boot")),
        List.copyOf(disks),
        List.copyOf(drives),
        List.copyOf(nics),
        Map.copyOf(platform),
        root.has("tpm") ? Optional.of(Path.of(text(root, "tpm"))) : Optional.empty(),
        Map.copyOf(biosStrings),
        Duration.ofSeconds(root.path("clock").asLong()));
  }

  private static Scheduling scheduling(JsonNode root) {
    List<Set<Integer>> masks = new ArrayList<>();
    for (JsonNode mask : root.path("masks")) {
      Set<Integer> processors = new TreeSet<>();
      mask.forEach(processor -> processors.add(processor.asInt(-1)));
      masks.add(processors);
    }
    return new Scheduling(root.path("weight").asInt(Scheduling.WEIGHT), masks);
  }

  private static String text(JsonNode node, String field) {
    return node.path(field).asText();
  }

  private static Optional<Medium> medium(JsonNode drive) {
    return drive.has("file")
        ? Optional.of(
            new Medium(
                UUID.fromString(text(drive, "vdi")),
                Path.of(text(drive, "file")),
                text(drive, "format")))
        : Optional.empty();
  }

  private static Backend backend(JsonNode nic) {
    return switch (text(nic, "backend")) {
      case "user" -> new Backend.User();
      case "tap" -> new Backend.Tap(text(nic, "interface"));
      case "bridge" -> new Backend.Bridge(text(nic, "interface"));
      default -> new Backend.Isolated();
    };
  }

  private static Boot boot(JsonNode boot) {
    List<BootDevice> order = new ArrayList<>();
    for (JsonNode device : boot.path("order")) {
      order.add(BootDevice.valueOf(device.asText().toUpperCase(Locale.ROOT)));
    }
    return switch (text(boot, "by")) {
      case "uefi" ->
          new Boot.Uefi(
              List.copyOf(order), Path.of(text(boot, "code")), Path.of(text(boot, "variables")));
      case "kernel" ->
          new Boot.Kernel(
              Path.of(text(boot, "kernel")),
              boot.has("ramdisk") ? Optional.of(Path.of(text(boot, "ramdisk"))) : Optional.empty(),
              text(boot, "arguments"));
      default -> new Boot.Bios(List.copyOf(order));
    };
  }
}
