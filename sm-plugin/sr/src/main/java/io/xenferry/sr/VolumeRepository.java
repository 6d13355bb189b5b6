package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * An SR of plain volumes over a {@link VolumeStore}: what may be done with a VDI and when. Its
 * {@link VolumeBooks} see to it that a crash leaves nothing half done. Snapshots and clones are in
 * {@link VolumeCopies}, changed blocks in {@link TrackedVolumes}, who uses a volume in {@link
 * VolumeAccess}; merges are {@link ChainMerging} and {@link GuestMerges}.
 */
public final class VolumeRepository implements StorageRepository {
  private static final Logger LOG = LoggerFactory.getLogger(VolumeRepository.class);

  private final String sr;
  private final VolumeStore store;
  private final VolumeBooks books;
  private final Volumes volumes;
  private final VolumeCopies copies;
  private final TrackedVolumes tracked;
  private final VolumeAccess access;

  private VolumeRepository(Volumes volumes) {
    this.sr = volumes.sr;
    this.store = volumes.store;
    this.books = volumes.books;
    this.volumes = volumes;
    this.copies = new VolumeCopies(volumes);
    this.tracked = new TrackedVolumes(volumes);
    this.access = new VolumeAccess(volumes);
  }

  /** Reads the books and repairs them. */
  public static VolumeRepository open(String sr, VolumeStore store) throws SmapiException {
    try {
      Volumes volumes = new Volumes(sr, store, VolumeBooks.open(sr, store));
      volumes.locked(
          SmError.METADATA,
          () -> {
            volumes.layering.ifPresent(l -> l.tracking().settleAll());
            volumes.wakeMerging();
            return sr;
          });
      return new VolumeRepository(volumes);
    } catch (IOException e) {
      store.close();
      throw SmapiException.failure(SmError.METADATA, sr + ": " + e).withCause(e);
    }
  }

  @Override
  public String sr() {
    return sr;
  }

  @Override
  public SrInfo stat() throws SmapiException {
    return volumes.locked(
        SmError.SR_SCAN,
        () -> {
          Map<String, String> own = store.srRecord();
          VolumeStore.Space space = store.space();
          return new SrInfo(
              sr,
              own.getOrDefault("name_label", ""),
              own.getOrDefault("name_description", ""),
              space.total(),
              space.free(),
              false,
              SrInfo.Health.HEALTHY);
        });
  }

  @Override
  public void setNameLabel(String value) throws SmapiException {
    setOwn("name_label", value);
  }

  @Override
  public void setNameDescription(String value) throws SmapiException {
    setOwn("name_description", value);
  }

  private void setOwn(String key, String value) throws SmapiException {
    volumes.locked(
        SmError.METADATA,
        () -> {
          Map<String, String> own = new HashMap<>(store.srRecord());
          own.put(key, value);
          store.putSrRecord(own);
          return own;
        });
  }

  @Override
  public List<VdiInfo> scan() throws SmapiException {
    return volumes.locked(
        SmError.SR_SCAN,
        () -> {
          List<VdiInfo> found = new ArrayList<>();
          for (String vdi : books.ready()) {
            if (store.exists(vdi)) {
              found.add(books.info(vdi));
            } else {
              LOG.warn("SR {}: VDI {} has a record and no volume", sr, vdi);
            }
          }
          return found;
        });
  }

  @Override
  public void detach() throws SmapiException {
    volumes.locked(
        SmError.SR_IN_USE,
        () -> {
          refuseIfBusy();
          stopMerging();
          store.close();
          return sr;
        });
  }

  private void stopMerging() {
    volumes.layering.ifPresent(l -> l.merging().stop());
  }

  @Override
  public void release() {
    volumes.lock.lock();
    try {
      stopMerging();
      store.close();
    } finally {
      volumes.lock.unlock();
    }
  }

  @Override
  public void destroy() throws SmapiException {
    volumes.locked(
        SmError.FILE_SR_DELETE,
        () -> {
          refuseIfBusy();
          if (!books.isEmpty()) {
            throw SmapiException.failure(
                SmError.SR_NOT_EMPTY, "the SR still holds " + books.size() + " VDIs");
          }
          stopMerging();
          store.destroy();
          return sr;
        });
  }

  private void refuseIfBusy() throws SmapiException {
    if (!volumes.copying.isEmpty() || !volumes.active.isEmpty() || !volumes.open.isEmpty()) {
      throw SmapiException.failure(SmError.SR_IN_USE, "VDIs of the SR are in use");
    }
  }

  @Override
  public List<String> formats() {
    return store.formats();
  }

  @Override
  public VdiInfo create(VdiInfo wanted) throws SmapiException {
    VdiInfo complete = store.complete(wanted);
    return volumes.locked(
        SmError.VDI_CREATE, () -> books.finish(volumes.begin(complete), complete));
  }

  @Override
  public void destroyVdi(String vdi) throws SmapiException {
    volumes.locked(
        SmError.VDI_DELETE,
        () -> {
          volumes.requireStill(vdi);
          if (volumes.isBusy(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          volumes.exported.remove(vdi);
          if (volumes.layering.isPresent()) {
            volumes.layering.get().tracking().beforeDestroy(vdi);
          }
          books.destroy(vdi);
          volumes.wakeMerging();
          return vdi;
        });
  }

  @Override
  public VdiInfo stat(String vdi) throws SmapiException {
    return volumes.locked(
        SmError.VDI_LOAD,
        () -> {
          books.require(vdi);
          return books.info(vdi);
        });
  }

  @Override
  public Optional<GuestMerge> beginGuestMerge(String vdi) throws SmapiException {
    return volumes.locked(
        SmError.METADATA,
        () -> {
          books.require(vdi);
          if (volumes.layering.isEmpty()
              || !volumes.written.contains(vdi)
              || volumes.copying.contains(vdi)
              || volumes.open.containsKey(vdi)
              || volumes.exported.contains(vdi)) {
            return Optional.empty();
          }
          boolean pinned = volumes.isPinned(volumes.layering.get().tracking(), vdi);
          return volumes.layering.get().guests().begin(vdi, volumes::isUsed, pinned);
        });
  }

  @Override
  public List<GuestMerge> guestMerges() throws SmapiException {
    return volumes.locked(
        SmError.METADATA,
        () -> volumes.layering.isEmpty() ? List.of() : volumes.layering.get().guests().current());
  }

  @Override
  public void onMergeable(Runnable listener) {
    volumes.onMergeable = listener;
  }

  @Override
  public void onMerged(Runnable listener) {
    volumes.onMerged = listener;
  }

  private VolumeChains chains(String call) throws SmapiException {
    return volumes.layering.orElseThrow(() -> SmapiException.unimplemented(call)).chains();
  }

  @Override
  public void layer(String vdi, String lower) throws SmapiException {
    VolumeChains chains = chains("VDI.compose");
    volumes.locked(
        SmError.VDI_CREATE,
        () -> {
          volumes.requireStill(vdi);
          volumes.requireStill(lower);
          if (volumes.isBusy(vdi) || !chains.isWritable(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the disk is in use");
          }
          chains.branch(vdi, lower, store.size(vdi));
          return vdi;
        });
  }

  @Override
  public List<String> below(String vdi) throws SmapiException {
    return volumes.locked(
        SmError.VDI_LOAD,
        () -> {
          books.require(vdi);
          return volumes.layering.isEmpty()
              ? List.of()
              : volumes.layering.get().chains().below(vdi);
        });
  }

  @Override
  public int layersAbove(String vdi, String lower) throws SmapiException {
    VolumeChains chains = chains("VDI.compose");
    return volumes.locked(SmError.VDI_LOAD, () -> chains.distance(vdi, lower));
  }

  @Override
  public List<Range> changesSince(String vdi, String lower) throws SmapiException {
    VolumeChains chains = chains("VDI.list_changed_blocks");
    return volumes.locked(
        SmError.VDI_LOAD,
        () -> {
          volumes.requireStill(vdi);
          return chains.changes(vdi, lower);
        });
  }

  @Override
  public long resize(String vdi, long newSize) throws SmapiException {
    return volumes.locked(
        SmError.VDI_RESIZE,
        () -> {
          volumes.requireStill(vdi);
          long size = Volumes.rounded(newSize);
          long now = store.size(vdi);
          if (size < now) {
            throw SmapiException.failure(SmError.VDI_SIZE, "a VDI cannot become smaller");
          }
          if (volumes.isBusy(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "resize is for disks not in use");
          }
          if (!volumes.isWritable(vdi)) {
            throw SmapiException.failure(
                SmError.VDI_SIZE, "other disks rest on this one: it cannot change");
          }
          if (size > store.space().total()) {
            throw SmapiException.failure(SmError.SR_NO_SPACE, "larger than the SR");
          }
          if (size > now) {
            store.grow(vdi, size);
            books.save(books.info(vdi).edit().contentId(UUID.randomUUID().toString()).done());
          }
          return size;
        });
  }

  @Override
  public VdiInfo introduce(String uuid, Map<String, String> smConfig, String location)
      throws SmapiException {
    return volumes.locked(
        SmError.VDI_LOAD,
        () -> {
          VolumeBooks.requireUuid(uuid);
          VolumeBooks.requireUuid(location);
          if (!store.exists(location)) {
            throw SmapiException.vdiDoesNotExist(sr, location);
          }
          store.size(location); // fails for what cannot be taken
          VdiInfo known =
              books.knows(location)
                  ? books.info(location)
                  : VdiInfo.request("", 0).edit().vdi(location).done();
          books.save(known.edit().uuid(uuid).smConfig(smConfig).done());
          return books.info(location);
        });
  }

  @Override
  public VdiInfo update(String vdi, Change change) throws SmapiException {
    return volumes.locked(
        SmError.METADATA,
        () -> {
          books.require(vdi);
          books.save(change.of(books.info(vdi)).edit().vdi(vdi).done());
          return books.info(vdi);
        });
  }

  @Override
  public List<VdiInfo> similarContent(String vdi) throws SmapiException {
    String content = stat(vdi).contentId();
    return scan().stream()
        .filter(v -> !v.vdi().equals(vdi) && v.contentId().equals(content))
        .sorted(Comparator.comparing(VdiInfo::snapshotTime).reversed())
        .toList();
  }

  @Override
  public Optional<Path> path(String vdi) throws SmapiException {
    stat(vdi);
    return store.path(vdi);
  }

  // ---- snapshots and clones

  @Override
  public VdiInfo snapshot(VdiInfo wanted, Progress progress) throws SmapiException {
    return copies.snapshot(wanted, progress);
  }

  @Override
  public VdiInfo copyOf(VdiInfo wanted, Progress progress) throws SmapiException {
    return copies.copyOf(wanted, progress);
  }

  @Override
  public boolean isSnapshotWhileWritten(String vdi) throws SmapiException {
    return copies.isSnapshotWhileWritten(vdi);
  }

  @Override
  public LiveSnapshot beginSnapshot(VdiInfo wanted) throws SmapiException {
    return copies.beginSnapshot(wanted);
  }

  @Override
  public void revert(String vdi, String snapshot) throws SmapiException {
    copies.revert(vdi, snapshot);
  }

  // ---- changed blocks

  @Override
  public void enableCbt(String vdi) throws SmapiException {
    tracked.enableCbt(vdi);
  }

  @Override
  public void disableCbt(String vdi) throws SmapiException {
    tracked.disableCbt(vdi);
  }

  @Override
  public String listChangedBlocks(String from, String to) throws SmapiException {
    return tracked.listChangedBlocks(from, to);
  }

  @Override
  public Optional<ChangedBlocks> notedChanges(String vdi, Set<String> ends) throws SmapiException {
    return tracked.notedChanges(vdi, ends);
  }

  @Override
  public boolean takeUpChanges(String vdi, ChangedBlocks noted) throws SmapiException {
    return tracked.takeUpChanges(vdi, noted);
  }

  @Override
  public void dataDestroy(String vdi) throws SmapiException {
    tracked.dataDestroy(vdi);
  }

  // ---- use

  @Override
  public List<Implementation> attachVdi(String vdi, boolean writable) throws SmapiException {
    return access.attachVdi(vdi, writable);
  }

  @Override
  public void resumeVdi(String vdi, boolean writable) throws SmapiException {
    access.resumeVdi(vdi, writable);
  }

  @Override
  public void activate(String vdi, boolean writable) throws SmapiException {
    access.activate(vdi, writable);
  }

  @Override
  public void deactivate(String vdi) throws SmapiException {
    access.deactivate(vdi);
  }

  @Override
  public void detachVdi(String vdi) throws SmapiException {
    access.detachVdi(vdi);
  }

  @Override
  public BlockBackend open(String vdi, boolean writable) throws SmapiException {
    return access.open(vdi, writable);
  }

  @Override
  public Optional<Path> beginExport(String vdi) throws SmapiException {
    return access.beginExport(vdi);
  }

  @Override
  public void endExport(String vdi) throws SmapiException {
    access.endExport(vdi);
  }
}
