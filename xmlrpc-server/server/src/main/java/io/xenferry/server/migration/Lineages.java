package io.xenferry.server.migration;

import io.xenferry.migration.state.Plan;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.OptionValues;
import io.xenferry.server.storage.MigrationDisks.Origin;
import io.xenferry.sr.VdiInfo;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;

/**
 * Of what the disks of a plan descend, those that may begin at the destination as copies of what
 * that has already. Disks of layers are left out, which bring only what they have above them, and
 * those whose changed blocks are tracked, since what is a copy's own says nothing of what has
 * changed.
 */
final class Lineages {
  /** What the move is told: {@code auto}, {@code none}, or the uuid of a VDI at the destination. */
  static final String OPTION = "base";

  private static final String AUTO = "auto";
  private static final String NONE = "none";

  /**
   * For how long, once a move has come to nothing, what it has brought stays at the destination for
   * the next one to go on with.
   */
  static final String KEEP_ATTEMPT = "keep-attempt";

  static final OptionValues KEPT =
      new OptionValues(
          value -> value.equals("false") || Retention.of(value).isPresent(),
          "false, or hours or days to keep it, as 12h or 7d");

  /** In the plan's options where {@link #OPTION} is a default. */
  static final String DEFAULT = "xenferry:base-by-default";

  /** In the plan's options, for the destination. */
  private static final String PLANNED = "xenferry:lineages";

  static final OptionValues VALUES =
      new OptionValues(
          value -> asksForNothing(value) || uuid(value).isPresent(),
          "auto, none, the uuid of a VDI at the destination");

  private Lineages() {}

  /** Whether nothing is asked for that a move within one server does not do. */
  static boolean asksForNothing(String value) {
    return value.equals(AUTO) || value.equals(NONE);
  }

  private static Optional<UUID> uuid(String text) {
    try {
      UUID uuid = UUID.fromString(text);
      return uuid.toString().equals(text) ? Optional.of(uuid) : Optional.empty();
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  /** The source's side: puts them into the options of a plan with these disks. */
  static void put(Snapshot db, List<Plan.Disk> disks, Layers layers, Map<String, String> options)
      throws XenApiException {
    if (options.getOrDefault(OPTION, AUTO).equals(NONE)) {
      return;
    }
    Map<UUID, UUID> found = new LinkedHashMap<>();
    for (Plan.Disk disk : disks) {
      Optional<Row> row = db.byUuid("VDI", disk.vdi().toString());
      if (row.isEmpty()
          || disk.device().equals(Plan.SUSPEND)
          || Layers.isOfSnapshot(disk)
          || layers.below().containsKey(disk.vdi())
          || layers.below().containsValue(disk.vdi())) {
        continue;
      }
      Ref<VDI> vdi = new Ref<>(row.get().ref());
      if (!db.get(vdi, VDI.CBT_ENABLED)) {
        String noted = db.get(vdi, VDI.SM_CONFIG).getOrDefault(VdiInfo.SM_CONFIG_LINEAGE, "");
        found.put(disk.vdi(), uuid(noted).orElse(disk.vdi()));
      }
    }
    if (!found.isEmpty()) {
      options.put(
          PLANNED,
          found.entrySet().stream()
              .map(e -> e.getKey() + "=" + e.getValue())
              .collect(Collectors.joining(",")));
    }
  }

  /** The destination's side: whether nobody has named the base for this move. */
  static boolean isDefault(Plan plan) {
    return plan.options().containsKey(DEFAULT);
  }

  /** The destination's side: the one disk that is asked for as base; empty for whichever. */
  static Optional<UUID> base(Plan plan) {
    return uuid(plan.options().getOrDefault(OPTION, AUTO));
  }

  /**
   * The destination's side: of what a disk descends; empty where it is to begin empty.
   *
   * @throws IllegalArgumentException when a peer sent nonsense
   */
  static Optional<Origin> of(Plan plan, UUID disk) {
    String text = plan.options().getOrDefault(PLANNED, "");
    for (String pair : text.isEmpty() ? new String[0] : text.split(",", -1)) {
      if (pair.startsWith(disk + "=")) {
        return Optional.of(
            new Origin(UUID.fromString(pair.substring(pair.indexOf('=') + 1)), base(plan)));
      }
    }
    return Optional.empty();
  }

  /**
   * By SR the uuids by which disks there are known that those of a plan may begin as copies of:
   * their own, or of what they descend.
   */
  static Map<String, Set<String>> bySr(Plan plan) {
    Map<String, Set<String>> lineages = new LinkedHashMap<>();
    for (Plan.Disk disk : plan.disks()) {
      of(plan, disk.vdi())
          .ifPresent(origin ->
              lineages
                  .computeIfAbsent(disk.sr(), sr -> new LinkedHashSet<>())
                  .add(origin.base().orElse(origin.lineage()).toString()));
    }
    return lineages;
  }
}
