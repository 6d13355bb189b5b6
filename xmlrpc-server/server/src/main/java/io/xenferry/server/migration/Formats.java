package io.xenferry.server.migration;

import io.xenferry.migration.state.Plan;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;

/**
 * The formats that disks of a plan shall have at the destination, by their uuids at the source;
 * where none is named the destination's SR chooses. They travel in the plan's options, where no
 * client can write them.
 */
record Formats(Map<UUID, String> asked) {
  static final String OPTION = "xenferry:formats";

  /** The format that no disk which rests on another can have. */
  private static final String RAW = "raw";

  Formats {
    asked = Map.copyOf(asked);
  }

  /** Whether a word can be the name of a format at all, known or not. */
  static boolean isName(String word) {
    return word.matches("[A-Za-z0-9._-]{1,32}");
  }

  /** As {@code VDI=FORMAT,…}. */
  String text() {
    return asked.entrySet().stream()
        .map(e -> e.getKey() + "=" + e.getValue())
        .sorted()
        .collect(Collectors.joining(","));
  }

  /**
   * @throws IllegalArgumentException when a peer sent nonsense
   */
  static Formats of(Plan plan) {
    String text = plan.options().getOrDefault(OPTION, "");
    Map<UUID, String> asked = new LinkedHashMap<>();
    for (String pair : text.isEmpty() ? new String[0] : text.split(",", -1)) {
      int equals = pair.indexOf('=');
      if (equals < 0 || !isName(pair.substring(equals + 1))) {
        throw new IllegalArgumentException("formats that are none");
      }
      asked.put(UUID.fromString(pair.substring(0, equals)), pair.substring(equals + 1));
    }
    return new Formats(asked);
  }

  Optional<String> of(UUID vdi) {
    return Optional.ofNullable(asked.get(vdi));
  }

  /** The disks that cannot rest on others at the destination: all of their content is sent. */
  Set<UUID> alone() {
    return asked.entrySet().stream()
        .filter(e -> e.getValue().equals(RAW))
        .map(Map.Entry::getKey)
        .collect(Collectors.toSet());
  }
}
