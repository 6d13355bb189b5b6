package io.xenferry.migration.flow;

import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.peer.Keys;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.DestinationPorts.ExportSpec;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The exports of the disks that arrive. Names, accounts and their secrets follow from the migration
 * alone, so that they are the same with the next server.
 */
final class ArrivingDisks {
  private final DestinationMigration migration;
  private final List<ExportSpec> exports = new ArrayList<>();

  /** By the disks' uuids at the source; filled by effects, on any thread. */
  private final Map<UUID, DiskTarget> targets = new ConcurrentHashMap<>();

  /** Those that began as copies of what was there, by their uuids at the source; the same. */
  private final Set<UUID> based = ConcurrentHashMap.newKeySet();

  /** How a disk is exported. */
  @FunctionalInterface
  interface Exporting {
    CompletableFuture<DiskTarget> export(MigrationId id, Plan.Disk disk, ExportSpec export);
  }

  ArrivingDisks(DestinationMigration migration) {
    this.migration = migration;
  }

  /** The next disk of the plan is this one here. */
  void add(UUID vdi) {
    String account = "xf" + migration.id().toString().replace("-", "") + exports.size();
    exports.add(
        new ExportSpec(
            name(exports.size()), vdi, account, Keys.secret(migration.row().key(), account)));
  }

  private String name(int index) {
    return "xf-" + migration.id() + "-" + index;
  }

  /**
   * Takes the disks from the journal, where the exports of all of them are OPEN.
   *
   * @return whether they are
   */
  boolean addOpen(List<JournalEntry> journal) {
    Map<String, UUID> vdis = new HashMap<>();
    for (JournalEntry entry : journal) {
      if (entry.kind() == JournalEntry.Kind.EXPORT
          && entry.standing() == JournalEntry.Standing.OPEN) {
        vdis.put(entry.name(), UUID.fromString(entry.detail()));
      }
    }
    int disks = migration.plan().disks().size();
    for (int i = 0; i < disks; i++) {
      UUID vdi = vdis.get(name(i));
      if (vdi == null) {
        return false;
      }
      add(vdi);
    }
    return disks > 0;
  }

  /** What is to be in the journal before the disks are exported. */
  List<JournalEntry> intents() {
    List<JournalEntry> intents = new ArrayList<>();
    for (ExportSpec export : exports) {
      intents.add(
          migration.intent(JournalEntry.Kind.EXPORT, export.name(), export.vdi().toString()));
      intents.add(migration.intent(JournalEntry.Kind.ACCOUNT, export.account(), export.name()));
    }
    return intents;
  }

  /** Creates a disk that was added. */
  Effect creating(Plan.Disk disk, UUID vdi) {
    return new Effect(
        "creating disk " + disk.device(),
        () -> storage().createVdi(migration.id(), disk, vdi).thenApply(copy -> noted(disk, copy)));
  }

  /** What a server before this one knew of the disks. */
  List<Effect> lookingAgain() {
    List<Effect> effects = new ArrayList<>();
    for (int i = 0; i < exports.size(); i++) {
      Plan.Disk disk = migration.plan().disks().get(i);
      UUID vdi = exports.get(i).vdi();
      effects.add(
          new Effect(
              "looking at disk " + disk.device(),
              () -> storage().isCopy(vdi).thenApply(copy -> noted(disk, copy))));
    }
    return effects;
  }

  private boolean noted(Plan.Disk disk, boolean copy) {
    if (copy) {
      based.add(disk.vdi());
    }
    return copy;
  }

  private DestinationPorts.Storage storage() {
    return migration.host().destination().storage();
  }

  List<Effect> exporting(Exporting how) {
    List<Effect> effects = new ArrayList<>();
    for (int i = 0; i < exports.size(); i++) {
      Plan.Disk disk = migration.plan().disks().get(i);
      ExportSpec export = exports.get(i);
      effects.add(
          new Effect(
              "exporting disk " + disk.device(),
              () ->
                  how.export(migration.id(), disk, export)
                      .thenApply(target -> {
                        targets.put(disk.vdi(), target);
                        return target;
                      })));
    }
    return effects;
  }

  /** Where the source writes to, in the order of the plan. */
  List<DiskTarget> targets() {
    return migration.plan().disks().stream()
        .map(disk -> targets.get(disk.vdi()))
        .filter(target -> target != null)
        .toList();
  }

  /** Those that began as copies of what was there, by their uuids at the source. */
  List<UUID> based() {
    return List.copyOf(based);
  }

  /** In the order of the plan. */
  List<ExportSpec> exports() {
    return List.copyOf(exports);
  }

  /**
   * A disk by its uuid here.
   *
   * @param disk its uuid at the source
   * @param end bytes that it must have; empty for one that has fewer
   */
  Optional<UUID> whole(UUID disk, long end) {
    List<Plan.Disk> planned = migration.plan().disks();
    for (int i = 0; i < exports.size(); i++) {
      if (planned.get(i).vdi().equals(disk)) {
        return end <= planned.get(i).size() ? Optional.of(exports.get(i).vdi()) : Optional.empty();
      }
    }
    return Optional.empty();
  }

  /** Their uuids here, in the order of the plan. */
  List<UUID> vdis() {
    return exports.stream().map(ExportSpec::vdi).toList();
  }
}
