package io.xenferry.server.migration;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VdiType;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.storage.MigrationDisks.Tracked;
import io.xenferry.sr.ChangedBlocks;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What is known of the changed blocks of a VM's disks, as it travels in the VM's document. Disks
 * are named by their uuids at the source.
 *
 * <p>A disk's own image at the destination holds what the disk has written since the disk on which
 * it rests there. So if that is the snapshot since which changes are known, whatever the guest
 * writes while it is copied is known as well; if it is not, every block may have changed.
 *
 * @param noted of each disk that is tracked
 * @param emptied snapshots of which nothing else is left; no VM has them
 */
record Tracking(Map<UUID, Noted> noted, List<Emptied> emptied) {
  private static final Logger log = LoggerFactory.getLogger(Tracking.class);

  static final Tracking NONE = new Tracking(Map.of(), List.of());

  /** Characters of all blocks together; disks for which there is no room travel with all. */
  private static final int ROOM = 2 << 20;

  /** As many as a move may have disks. */
  private static final int MOST_EMPTIED = Plan.MAX_DISKS;

  /**
   * @param since the disk since which changes are noted, empty where none is known
   * @param blocks {@link ChangedBlocks#text}; empty for all
   */
  record Noted(Optional<UUID> since, Optional<String> blocks) {}

  /**
   * A snapshot whose content was destroyed.
   *
   * @param sr where it goes
   * @param size bytes that it had
   */
  record Emptied(UUID vdi, String sr, long size) {}

  Tracking {
    noted = Map.copyOf(noted);
    emptied = List.copyOf(emptied);
  }

  /** What goes with the disks of a plan, and rests as the plan says. */
  static Tracking of(
      Snapshot db, MigrationDisks disks, List<Plan.Disk> planned, Map<UUID, UUID> below)
      throws XenApiException {
    List<Emptied> emptied = new ArrayList<>();
    Map<String, List<UUID>> bySr = new LinkedHashMap<>();
    for (Plan.Disk disk : planned) {
      bySr.computeIfAbsent(disk.sr(), sr -> new ArrayList<>()).add(disk.vdi());
      for (Ref<VDI> left : emptied(db, vdi(db, disk.vdi()))) {
        if (emptied.size() < MOST_EMPTIED) {
          UUID uuid = UUID.fromString(db.get(left, VDI.UUID));
          bySr.computeIfAbsent(disk.sr(), sr -> new ArrayList<>()).add(uuid);
          emptied.add(new Emptied(uuid, disk.sr(), db.get(left, VDI.VIRTUAL_SIZE)));
        }
      }
    }
    Map<UUID, Noted> noted = new LinkedHashMap<>();
    int room = ROOM;
    for (List<UUID> together : bySr.values()) {
      for (Map.Entry<UUID, Tracked> each : disks.tracked(together).entrySet()) {
        Optional<UUID> since = each.getValue().since();
        boolean fixed = db.get(vdi(db, each.getKey()), VDI.IS_A_SNAPSHOT);
        boolean known =
            fixed || since.isEmpty() || since.equals(Optional.ofNullable(below.get(each.getKey())));
        String blocks = known ? each.getValue().noted().text() : "";
        boolean fits = blocks.length() <= room;
        room -= fits ? blocks.length() : 0;
        noted.put(
            each.getKey(),
            new Noted(since, known && fits ? Optional.of(blocks) : Optional.empty()));
      }
    }
    return new Tracking(noted, emptied);
  }

  private static Ref<VDI> vdi(Snapshot db, UUID uuid) {
    return new Ref<>(db.byUuid("VDI", uuid.toString()).orElseThrow().ref());
  }

  /** The snapshots of a disk, in its SR, of which nothing but their changed blocks is left. */
  static List<Ref<VDI>> emptied(Snapshot db, Ref<VDI> disk) throws XenApiException {
    List<Ref<VDI>> emptied = new ArrayList<>();
    for (Ref<VDI> snapshot : db.get(disk, VDI.SNAPSHOTS)) {
      if (db.get(snapshot, VDI.TYPE) == VdiType.CBT_METADATA
          && db.get(snapshot, VDI.SR).equals(db.get(disk, VDI.SR))
          && db.get(snapshot, VDI.VBDS).isEmpty()) {
        emptied.add(snapshot);
      }
    }
    return emptied;
  }

  /**
   * Makes the emptied snapshots, where they can be; it may be repeated.
   *
   * @return their uuids here
   */
  Map<UUID, UUID> make(MigrationDisks disks, MigrationId migration) throws XenApiException {
    Map<UUID, UUID> made = new LinkedHashMap<>();
    for (Emptied each : emptied) {
      UUID here =
          UUID.nameUUIDFromBytes(
              (migration + "/" + each.vdi()).getBytes(StandardCharsets.US_ASCII));
      disks.create(each.sr(), here, each.size(), migration.toString(), Optional.empty());
      disks.noteEmptied(here);
      made.put(each.vdi(), here);
    }
    return made;
  }

  /**
   * Tracks the disks here. Where an emptied snapshot cannot be it goes, since nothing else is left
   * of it.
   *
   * @param here uuids by those at the source
   * @param sizes bytes of each, by its uuid at the source
   */
  void apply(
      MigrationDisks disks, MigrationId migration, Map<UUID, UUID> here, Map<UUID, Long> sizes)
      throws XenApiException {
    Set<UUID> useless = new HashSet<>();
    emptied.forEach(each -> useless.add(each.vdi()));
    for (Map.Entry<UUID, Noted> each : noted.entrySet()) {
      UUID vdi = known(here, each.getKey());
      long size = known(sizes, each.getKey());
      Optional<UUID> since = Optional.empty();
      if (each.getValue().since().isPresent()) {
        since = Optional.of(known(here, each.getValue().since().get()));
      }
      ChangedBlocks blocks;
      try {
        blocks =
            each.getValue().blocks().isPresent()
                ? ChangedBlocks.parse("", each.getValue().blocks().get(), size)
                : ChangedBlocks.all("", size);
      } catch (IOException e) {
        throw new XenApiException("INVALID_VALUE", "tracked", each.getKey().toString())
            .withCause(e);
      }
      if (disks.track(vdi, new Tracked(since, blocks))) {
        useless.remove(each.getKey());
      } else {
        log.info("the changed blocks of VDI {} are not tracked here: its SR cannot", vdi);
      }
    }
    for (UUID each : useless) {
      disks.destroyTagged(known(here, each), migration.toString());
    }
  }

  /** A peer may name what it has not sent. */
  private static <T> T known(Map<UUID, T> known, UUID vdi) throws XenApiException {
    T found = known.get(vdi);
    if (found == null) {
      throw new XenApiException("INVALID_VALUE", "tracked", vdi.toString());
    }
    return found;
  }

  void write(ObjectNode root) {
    ObjectNode tracked = root.putObject("tracked");
    noted.forEach((vdi, each) -> {
      ObjectNode node = tracked.putObject(vdi.toString());
      each.since().ifPresent(since -> node.put("since", since.toString()));
      each.blocks().ifPresent(blocks -> node.put("blocks", blocks));
    });
    ArrayNode left = root.putArray("emptied");
    for (Emptied each : emptied) {
      left.addObject()
          .put("vdi", each.vdi().toString())
          .put("sr", each.sr())
          .put("size", each.size());
    }
  }

  /**
   * @throws IllegalArgumentException when a peer sent nonsense
   */
  static Tracking read(JsonNode root) {
    Map<UUID, Noted> noted = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> each : root.path("tracked").properties()) {
      JsonNode node = each.getValue();
      noted.put(
          UUID.fromString(each.getKey()),
          new Noted(
              node.has("since")
                  ? Optional.of(UUID.fromString(node.path("since").asText()))
                  : Optional.empty(),
              node.has("blocks") ? Optional.of(node.path("blocks").asText()) : Optional.empty()));
    }
    List<Emptied> emptied = new ArrayList<>();
    for (JsonNode node : root.path("emptied")) {
      emptied.add(
          new Emptied(
              UUID.fromString(node.path("vdi").asText()),
              node.path("sr").asText(),
              node.path("size").asLong()));
    }
    if (emptied.size() > MOST_EMPTIED) {
      throw new IllegalArgumentException("more than " + MOST_EMPTIED + " emptied snapshots");
    }
    return new Tracking(noted, emptied);
  }
}
