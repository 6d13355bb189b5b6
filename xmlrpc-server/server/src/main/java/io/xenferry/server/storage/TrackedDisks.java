package io.xenferry.server.storage;

import io.xenferry.model.VDI;
import io.xenferry.model.VdiType;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.storage.MigrationDisks.Tracked;
import io.xenferry.sr.ChangedBlocks;
import io.xenferry.sr.VdiInfo;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Collectors;

/** The changed blocks of disks that move, as they are taken from one SR and brought to another. */
final class TrackedDisks {
  private final ObjectDatabase database;
  private final HostStorage storage;

  TrackedDisks(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
  }

  Map<UUID, Tracked> tracked(Collection<UUID> vdis) throws XenApiException {
    Map<UUID, HostStorage.Place> places = new LinkedHashMap<>();
    for (UUID vdi : vdis) {
      places.put(vdi, storage.get(vdi));
    }
    Map<UUID, Tracked> tracked = new LinkedHashMap<>();
    for (Map.Entry<UUID, HostStorage.Place> each : places.entrySet()) {
      String sr = each.getValue().sr();
      Map<String, UUID> beside =
          places.entrySet().stream()
              .filter(p -> p.getValue().sr().equals(sr))
              .collect(Collectors.toMap(p -> p.getValue().location(), Map.Entry::getKey));
      Optional<ChangedBlocks> noted =
          HostStorage.driver(() ->
              storage
                  .mux()
                  .repository(sr)
                  .notedChanges(each.getValue().location(), beside.keySet()));
      if (noted.isPresent()) {
        Optional<UUID> since = Optional.ofNullable(beside.get(noted.get().parent()));
        tracked.put(each.getKey(), new Tracked(since, noted.get()));
      }
    }
    return tracked;
  }

  boolean track(UUID vdi, Tracked tracked) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    String since = tracked.since().isPresent() ? storage.get(tracked.since().get()).location() : "";
    boolean done =
        HostStorage.driver(() ->
            storage
                .mux()
                .repository(place.sr())
                .takeUpChanges(place.location(), tracked.noted().since(since)));
    database.change(tx -> tx.set(place.ref(), VDI.CBT_ENABLED, done));
    return done;
  }

  void noteEmptied(UUID vdi) throws XenApiException {
    HostStorage.Place place = storage.get(vdi);
    HostStorage.drive(() ->
        storage
            .mux()
            .repository(place.sr())
            .update(place.location(), info -> info.edit().type(VdiInfo.CBT_METADATA).done()));
    database.change(tx -> tx.set(place.ref(), VDI.TYPE, VdiType.CBT_METADATA));
  }
}
