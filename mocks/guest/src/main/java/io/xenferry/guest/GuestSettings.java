package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

/**
 * What the guest is, from its {@code spec.json}. These keys of the platform map steer it:
 *
 * <pre>
 * xenferry:ledger             path of the ledger; without one nothing is written
 * xenferry:workload-rate      bytes per second over all disks, default 4 MiB; 0 none, -1 unlimited
 * xenferry:workload-depth     writes in flight, default 2
 * xenferry:workload-seed      default from the VM's uuid
 * xenferry:workload-span      bytes at the beginning of each disk that are written; default all
 * xenferry:workload-flush     milliseconds between flushes, default 500
 * xenferry:memory-size        bytes of memory that are really there, default 16 MiB
 * xenferry:memory-dirty-rate  bytes per second, default 4 MiB
 * xenferry:accel              tcg: it says that its processors are emulated
 * xenferry:fault              see {@link Faults}
 * </pre>
 */
record GuestSettings(
    UUID vm,
    String name,
    List<Disk> disks,
    List<String> nics,
    Map<String, String> drives,
    long memory,
    int vcpus,
    int maximumVcpus,
    Optional<Path> ledger,
    Map<String, String> platform) {
  private static final String PREFIX = "xenferry:";

  record Disk(String device, String node, Path file, boolean readOnly) {}

  static GuestSettings read(Path spec) throws IOException {
    JsonNode root = new ObjectMapper().readTree(spec.toFile());
    List<Disk> disks = new ArrayList<>();
    for (JsonNode disk : root.path("disks")) {
      if (!disk.path("format").asText().equals("raw")) {
        throw new IOException("format " + disk.path("format").asText() + " is not supported");
      }
      disks.add(
          new Disk(
              disk.path("device").asText(),
              disk.path("node").asText(),
              Path.of(disk.path("file").asText()),
              disk.path("readOnly").asBoolean()));
    }
    List<String> nics = new ArrayList<>();
    root.path("nics").forEach(nic -> nics.add(nic.path("device").asText()));
    // By device, the node of the medium; none when empty.
    Map<String, String> drives = new LinkedHashMap<>();
    for (JsonNode drive : root.path("drives")) {
      String device = drive.path("device").asText();
      drives.put(device, drive.has("file") ? "disk-" + device : "");
    }
    Map<String, String> platform = new LinkedHashMap<>();
    root.path("platform")
        .properties()
        .forEach(entry -> platform.put(entry.getKey(), entry.getValue().asText()));
    return new GuestSettings(
        UUID.fromString(root.path("vm").asText()),
        root.path("name").asText(),
        List.copyOf(disks),
        List.copyOf(nics),
        Map.copyOf(drives),
        root.path("memory").asLong(),
        root.path("vcpus").asInt(1),
        root.path("vcpusMaximum").asInt(1),
        Optional.ofNullable(platform.get(PREFIX + "ledger")).map(Path::of),
        Map.copyOf(platform));
  }

  boolean emulated() {
    return "tcg".equals(platform.get(PREFIX + "accel"));
  }

  long number(String key, long otherwise) throws IOException {
    String value = platform.get(PREFIX + key);
    try {
      return value == null ? otherwise : Long.parseLong(value);
    } catch (NumberFormatException e) {
      throw new IOException("platform:" + PREFIX + key + " is no number: " + value, e);
    }
  }

  Faults faults() {
    return Faults.parse(platform.getOrDefault(PREFIX + "fault", ""));
  }
}
