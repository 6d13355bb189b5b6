package io.xenferry.server.migration;

import io.xenferry.migration.state.Plan;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;

/**
 * Which disks of a plan rest on which others, by their uuids at the source: the destination builds
 * the same chains, and of each disk only what it has above the other one is sent. It travels in the
 * plan's options, where no client can write it.
 */
record Layers(Map<UUID, UUID> below) {
  static final String OPTION = "xenferry:layers";

  /** Disks of a VM's snapshots have no device; they are called so in the plan. */
  private static final String SNAPSHOT = "snapshot-";

  Layers {
    below = Map.copyOf(below);
  }

  static String device(int number) {
    return SNAPSHOT + number;
  }

  static boolean isOfSnapshot(Plan.Disk disk) {
    return disk.device().startsWith(SNAPSHOT);
  }

  /**
   * Bytes for which each SR of a plan must have room: what rests on another has little of its own.
   */
  static Map<String, Long> bytesBySr(Plan plan) {
    Layers layers = of(plan);
    Map<String, Long> bytes = new LinkedHashMap<>();
    for (Plan.Disk disk : plan.disks()) {
      bytes.merge(disk.sr(), layers.below(disk.vdi()).isEmpty() ? disk.size() : 0, Long::sum);
    }
    return bytes;
  }

  /** As {@code UPPER=LOWER,…}. */
  String text() {
    return below.entrySet().stream()
        .map(e -> e.getKey() + "=" + e.getValue())
        .sorted()
        .collect(Collectors.joining(","));
  }

  /**
   * @throws IllegalArgumentException when a peer sent nonsense
   */
  static Layers of(Plan plan) {
    String text = plan.options().getOrDefault(OPTION, "");
    Map<UUID, UUID> below = new LinkedHashMap<>();
    Set<UUID> known = plan.disks().stream().map(Plan.Disk::vdi).collect(Collectors.toSet());
    for (String pair : text.isEmpty() ? new String[0] : text.split(",", -1)) {
      int equals = pair.indexOf('=');
      if (equals < 0) {
        throw new IllegalArgumentException("layers without '='");
      }
      UUID upper = UUID.fromString(pair.substring(0, equals));
      UUID lower = UUID.fromString(pair.substring(equals + 1));
      if (!known.contains(upper) || !known.contains(lower)) {
        throw new IllegalArgumentException("layers of disks that are not in the plan");
      }
      below.put(upper, lower);
    }
    return new Layers(below);
  }

  /** The same, but that these disks rest on nothing. */
  Layers without(Set<UUID> alone) {
    Map<UUID, UUID> others = new LinkedHashMap<>(below);
    others.keySet().removeAll(alone);
    return new Layers(others);
  }

  Optional<UUID> below(UUID vdi) {
    return Optional.ofNullable(below.get(vdi));
  }

  /** Those that rest on others, each after what it rests on. */
  List<UUID> inOrder() {
    Set<UUID> done = new LinkedHashSet<>();
    for (UUID vdi : below.keySet()) {
      List<UUID> path = new ArrayList<>();
      for (UUID at = vdi; at != null && below.containsKey(at); at = below.get(at)) {
        if (path.contains(at)) {
          throw new IllegalArgumentException("disks that rest on themselves");
        }
        path.add(at);
      }
      done.addAll(path.reversed());
    }
    return List.copyOf(done);
  }
}
