package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.block.Range;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.sr.SrInfo;
import io.xenferry.sr.VdiInfo;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The disks of migrations, on this host's SRs: tagged until they are a VM's own. */
final class TaggedDisks implements MigrationDisks {
  private static final Logger log = LoggerFactory.getLogger(TaggedDisks.class);

  /**
   * An SR with less than this is full. File systems refuse writes before the last byte is used:
   * requests in flight, their own books, a share kept for the superuser.
   */
  static final long FULL = 64L << 20;

  private final ObjectDatabase database;
  private final HostStorage storage;
  private final Exporters exporters;
  private final TrackedDisks tracked;
  private final Bases bases;
  private final Attempts attempts;

  TaggedDisks(ObjectDatabase database, HostStorage storage, Exporters exporters) {
    this.database = database;
    this.storage = storage;
    this.exporters = exporters;
    this.tracked = new TrackedDisks(database, storage);
    this.bases = new Bases(database, storage);
    this.attempts = new Attempts(database, storage);
  }

  @Override
  public void checkSpace(Survey survey, Map<String, Long> bytesBySr) {
    Map<Ref<SR>, Long> bytes = new LinkedHashMap<>();
    for (Map.Entry<String, Long> entry : bytesBySr.entrySet()) {
      survey
          .ask(() -> storage.sr(entry.getKey()), ObstacleKind.TARGET_SR_UNKNOWN)
          .ifPresent(sr -> bytes.merge(sr, entry.getValue(), Long::sum));
    }
    bytes.forEach((sr, needed) ->
        survey.look(
            () -> requireSpace(sr, needed),
            ObstacleKind.TARGET_SR_UNKNOWN,
            ObstacleKind.TARGET_SR_DETACHED,
            ObstacleKind.TARGET_SR_UNABLE,
            ObstacleKind.TARGET_SR_FULL));
  }

  private void requireSpace(Ref<SR> sr, long bytes) throws XenApiException {
    storage.requireAttached(sr);
    String uuid = database.snapshot().get(sr, SR.UUID);
    if (HostStorage.driver(() -> storage.mux().repository(uuid).formats()).isEmpty()) {
      throw new XenApiException("SR_DOES_NOT_SUPPORT_MIGRATION", sr.opaque(), "VDI_MIRROR_IN");
    }
    SrInfo info = HostStorage.driver(() -> storage.mux().repository(uuid).stat());
    if (bytes > info.freeSpace()) {
      throw new XenApiException("SR_FULL", Long.toString(bytes), Long.toString(info.freeSpace()));
    }
  }

  @Override
  public void checkRoom(Collection<UUID> vdis) throws XenApiException {
    Map<String, Long> missing = new LinkedHashMap<>();
    for (UUID vdi : vdis) {
      HostStorage.Place place = storage.get(vdi);
      VdiInfo info =
          HostStorage.driver(() -> storage.mux().repository(place.sr()).stat(place.location()));
      missing.merge(
          place.sr(), Math.max(0, info.virtualSize() - info.physicalUtilisation()), Long::sum);
    }
    for (Map.Entry<String, Long> sr : missing.entrySet()) {
      long free =
          HostStorage.driver(() -> storage.mux().repository(sr.getKey()).stat()).freeSpace();
      if (free < Math.min(sr.getValue(), FULL)) {
        throw new XenApiException("SR_FULL", Long.toString(sr.getValue()), Long.toString(free));
      }
    }
  }

  @Override
  public void requireRoomToWrite(UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    long free = HostStorage.driver(() -> storage.mux().repository(place.sr()).stat()).freeSpace();
    long size =
        HostStorage.driver(() -> storage.mux().repository(place.sr()).stat(place.location()))
            .virtualSize();
    if (free < Math.min(size, FULL)) {
      throw new XenApiException("SR_SOURCE_SPACE_INSUFFICIENT", storage.sr(place.sr()).opaque());
    }
  }

  @Override
  public boolean create(
      String sr, UUID vdi, long bytes, String tag, Optional<String> format, Optional<Origin> origin)
      throws XenApiException {
    VdiInfo wanted =
        VdiInfo.request("", bytes)
            .withUuid(vdi.toString())
            .withSmConfig(VdiInfo.SM_CONFIG_MIGRATION, tag);
    if (origin.isPresent()) {
      wanted = wanted.withSmConfig(VdiInfo.SM_CONFIG_LINEAGE, origin.get().lineage().toString());
    }
    Optional<HostStorage.Place> there = storage.find(vdi);
    if (there.isPresent()) {
      attempts.settle(there.get(), wanted);
      return isCopy(vdi);
    }
    Ref<SR> ref = storage.sr(sr);
    if (origin.isPresent()) {
      if (attempts.takeUp(ref, wanted, format, origin.get())
          || bases.copy(ref, wanted, format, origin.get())) {
        return true;
      }
    }
    storage.createVdi(
        ref,
        format.isPresent() ? wanted.withSmConfig(VdiInfo.SM_CONFIG_FORMAT, format.get()) : wanted);
    return false;
  }

  @Override
  public void checkFormat(String sr, UUID vdi, Optional<String> format, Predicate<String> opened)
      throws XenApiException {
    Ref<SR> ref = storage.sr(sr);
    storage.requireAttached(ref);
    String uuid = database.snapshot().get(ref, SR.UUID);
    List<String> known = HostStorage.driver(() -> storage.mux().repository(uuid).formats());
    if (format.isPresent() && !known.contains(format.get())) {
      throw new XenApiException(
          "VDI_INCOMPATIBLE_TYPE",
          vdi.toString(),
          format.get() + ", while SR " + uuid + " makes " + String.join(" and ", known));
    }
    Optional<String> made = format.or(() -> known.stream().findFirst());
    if (made.filter(opened.negate()).isPresent()) {
      throw new XenApiException(
          "VDI_INCOMPATIBLE_TYPE",
          vdi.toString(),
          made.get() + ", which no running guest of the destination host can have");
    }
  }

  @Override
  public void checkBase(UUID base, Collection<Coming> disks) throws XenApiException {
    bases.check(base, disks);
  }

  @Override
  public void adopt(UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    Snapshot db = database.snapshot();
    String label = db.get(place.ref(), VDI.NAME_LABEL);
    String description = db.get(place.ref(), VDI.NAME_DESCRIPTION);
    String type = db.get(place.ref(), VDI.TYPE).wire();
    // The SR's own record knows it by these, should that of the database be lost.
    VdiInfo now =
        HostStorage.driver(() ->
            storage
                .mux()
                .repository(place.sr())
                .update(
                    place.location(),
                    info ->
                        info.withoutSmConfig(VdiInfo.SM_CONFIG_MIGRATION)
                            .withoutSmConfig(VdiInfo.SM_CONFIG_BASE)
                            .edit()
                            .nameLabel(label)
                            .nameDescription(description)
                            .type(type)
                            .done()));
    database.change(tx -> tx.set(place.ref(), VDI.SM_CONFIG, now.smConfig()));
    storage.use().of(place.ref());
  }

  @Override
  public void destroyTagged(UUID vdi, String tag) throws XenApiException {
    Optional<HostStorage.Place> place = storage.find(vdi);
    if (place.isEmpty()) {
      // Made by a server that died before it wrote the record.
      place = introduce(vdi, tag);
    }
    if (place.isPresent()) {
      Map<String, String> config = database.snapshot().get(place.get().ref(), VDI.SM_CONFIG);
      if (tag.equals(config.get(VdiInfo.SM_CONFIG_MIGRATION))) {
        forgetDatapaths(place.get());
        storage.destroyVdi(place.get().ref());
      }
    }
  }

  @Override
  public void keepAttempt(UUID vdi, String tag, Instant until) throws XenApiException {
    Optional<HostStorage.Place> place = storage.find(vdi);
    if (place.isPresent()) {
      forgetDatapaths(place.get());
      try {
        attempts.keep(place.get(), tag, until);
      } catch (XenApiException e) {
        log.warn("{} cannot be kept, and goes", vdi, e);
      }
    }
  }

  @Override
  public long thereOf(String sr, long bytes, Optional<String> format, Origin origin)
      throws XenApiException {
    Ref<SR> ref = storage.sr(sr);
    return storage.isAttached(ref) ? attempts.there(ref, bytes, format, origin) : 0;
  }

  @Override
  public void sweepAttempts(Instant now) {
    attempts.sweep(now);
  }

  private Optional<HostStorage.Place> introduce(UUID vdi, String tag) throws XenApiException {
    for (String sr : storage.mux().list()) {
      for (VdiInfo info : HostStorage.driver(() -> storage.mux().repository(sr).scan())) {
        if (info.uuid().equals(Optional.of(vdi.toString()))
            && info.migration().equals(Optional.of(tag))) {
          storage.introduce(storage.sr(sr), info);
          return storage.find(vdi);
        }
      }
    }
    return Optional.empty();
  }

  @Override
  public Map<UUID, String> tagged() {
    Map<UUID, String> found = new LinkedHashMap<>();
    for (String sr : storage.mux().list()) {
      try {
        for (VdiInfo info : HostStorage.driver(() -> storage.mux().repository(sr).scan())) {
          if (info.uuid().isPresent() && info.migration().isPresent()) {
            found.put(UUID.fromString(info.uuid().get()), info.migration().get());
          }
        }
      } catch (XenApiException | IllegalArgumentException e) {
        log.warn("SR {} cannot be looked through for what migrations have left", sr, e);
      }
    }
    return found;
  }

  @Override
  public void closeExportsIf(Predicate<String> orphaned) throws IOException {
    exporters.closeIf(orphaned);
  }

  @Override
  public BlockBackend open(UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    return HostStorage.driver(() -> storage.mux().openForCopy(place.sr(), place.location()));
  }

  @Override
  public boolean isSnapshotWhileWritten(UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    return HostStorage.driver(
        () -> storage.mux().repository(place.sr()).isSnapshotWhileWritten(place.location()));
  }

  @Override
  public long ownBytes(UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    return HostStorage.driver(() -> storage.mux().repository(place.sr()).stat(place.location()))
        .physicalUtilisation();
  }

  @Override
  public Map<UUID, UUID> layers(Collection<UUID> vdis) throws XenApiException {
    Map<UUID, HostStorage.Place> places = new LinkedHashMap<>();
    for (UUID vdi : vdis) {
      places.put(vdi, storage.get(vdi));
    }
    Map<UUID, UUID> layers = new LinkedHashMap<>();
    for (Map.Entry<UUID, HostStorage.Place> upper : places.entrySet()) {
      HostStorage.Place place = upper.getValue();
      List<String> below =
          HostStorage.driver(() -> storage.mux().repository(place.sr()).below(place.location()));
      for (String location : below) {
        for (Map.Entry<UUID, HostStorage.Place> lower : places.entrySet()) {
          if (lower.getValue().sr().equals(place.sr())
              && lower.getValue().location().equals(location)) {
            layers.putIfAbsent(upper.getKey(), lower.getKey());
          }
        }
      }
    }
    return layers;
  }

  @Override
  public int layersAbove(UUID vdi, UUID lower) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    String below = storage.get(lower).location();
    return HostStorage.driver(
        () -> storage.mux().repository(place.sr()).layersAbove(place.location(), below));
  }

  @Override
  public List<Range> changesSince(UUID vdi, UUID lower) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    String below = storage.get(lower).location();
    return HostStorage.driver(
        () -> storage.mux().repository(place.sr()).changesSince(place.location(), below));
  }

  @Override
  public void layer(UUID vdi, UUID lower) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    HostStorage.Place below = storage.get(lower);
    if (!below.sr().equals(place.sr())) {
      throw new XenApiException(
          "INVALID_VALUE", "layers", vdi + " and " + lower + " are in different SRs");
    }
    HostStorage.drive(
        () -> storage.mux().repository(place.sr()).layer(place.location(), below.location()));
  }

  @Override
  public void noteSnapshot(UUID vdi, UUID of, Instant time) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    Optional<HostStorage.Place> origin = storage.find(of);
    String location = origin.isPresent() ? origin.get().location() : of.toString();
    HostStorage.drive(() ->
        storage
            .mux()
            .repository(place.sr())
            .update(place.location(), info -> info.edit().snapshotOf(location, time).done()));
  }

  @Override
  public Map<UUID, Tracked> tracked(Collection<UUID> vdis) throws XenApiException {
    return tracked.tracked(vdis);
  }

  @Override
  public boolean track(UUID vdi, Tracked as) throws XenApiException {
    return tracked.track(vdi, as);
  }

  @Override
  public void noteEmptied(UUID vdi) throws XenApiException {
    tracked.noteEmptied(vdi);
  }

  @Override
  public Path image(UUID vdi) throws XenApiException {
    return storage.image(vdi);
  }

  @Override
  public void destroy(UUID vdi, UUID formerUser) throws XenApiException {
    Optional<HostStorage.Place> place = storage.find(vdi);
    if (place.isPresent()) {
      String sr = place.get().sr();
      String location = place.get().location();
      HostStorage.drive(() -> storage.mux().takeFrom(formerUser.toString(), sr, location));
      storage.destroyVdi(place.get().ref());
    }
  }

  @Override
  public void requireUsedOnlyBy(UUID vm, UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    if (HostStorage.driver(
        () -> storage.mux().isUsedBesides(vm.toString(), place.sr(), place.location()))) {
      throw new XenApiException("VDI_IN_USE", place.ref().opaque(), "migrate_send");
    }
  }

  /** The guest that used the disk is gone, and whoever calls knows it. */
  private void forgetDatapaths(HostStorage.Place place) throws XenApiException {
    for (String dp : storage.mux().datapaths(place.sr(), place.location()).keySet()) {
      HostStorage.drive(
          () -> storage.mux().destroyDatapath(dp, place.sr(), place.location(), true));
    }
  }

  @Override
  public String export(UUID vdi, Transport transport, ExportName export) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    try {
      exporters.agree(place.sr() + "/" + place.location(), transport, export);
    } catch (IOException e) {
      throw new XenApiException("VDI_NOT_AVAILABLE", place.ref().opaque()).withCause(e);
    }
    return HostStorage.driver(() -> storage.mux().getUrl(place.sr(), place.location()));
  }

  @Override
  public boolean isCopy(UUID vdi) throws XenApiException {
    return database
        .snapshot()
        .get(storage.get(vdi).ref(), VDI.SM_CONFIG)
        .containsKey(VdiInfo.SM_CONFIG_BASE);
  }

  @Override
  public BlockBackend exported(UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    Path image =
        exporters
            .image(place.sr() + "/" + place.location())
            .orElseThrow(() -> new XenApiException("VDI_NOT_AVAILABLE", place.ref().opaque()));
    try {
      return FileBackend.open(image, FileBackend.Mode.READ_WRITE_SHARED);
    } catch (BlockException e) {
      throw new XenApiException("VDI_NOT_AVAILABLE", place.ref().opaque()).withCause(e);
    }
  }

  @Override
  public void closeExport(UUID vdi) throws XenApiException {
    Optional<HostStorage.Place> place = storage.find(vdi);
    if (place.isPresent()) {
      HostStorage.drive(() -> storage.mux().closeUrl(place.get().sr(), place.get().location()));
    }
  }
}
