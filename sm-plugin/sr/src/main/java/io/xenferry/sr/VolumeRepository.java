package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.Range;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * An SR of plain volumes over a {@link VolumeStore}: what may be done with a VDI and when. Its
 * {@link VolumeBooks} see to it that a crash leaves nothing half done.
 */
public final class VolumeRepository implements StorageRepository {
  private static final Logger LOG = LoggerFactory.getLogger(VolumeRepository.class);

  /** Sizes are multiples of the sector of iSCSI and of guests. */
  private static final long SECTOR = 512;

  /** What a raw file may have on common file systems (ext4, 4 KiB blocks). */
  private static final long LARGEST = 16L << 40;

  /** A guest opens all images of its disk, and looks for what it reads in one after the other. */
  private static final int MANY_IMAGES = 128;

  private final String sr;
  private final VolumeStore store;
  private final VolumeBooks books;
  private final ReentrantLock lock = new ReentrantLock();
  private final Set<String> copying = new HashSet<>();
  private final Set<String> attached = new HashSet<>();
  private final Set<String> active = new HashSet<>();
  private final Set<String> written = new HashSet<>();
  private final Set<String> exported = new HashSet<>();
  private final Map<String, Integer> open = new HashMap<>();
  private final Optional<Layering> layering;
  private volatile Runnable onMergeable = () -> {};
  private volatile Runnable onMerged = () -> {};

  /** What there is where volumes may rest on others. */
  private record Layering(
      VolumeChains chains, ChainMerging merging, GuestMerges guests, BlockTracking tracking) {}

  private VolumeRepository(String sr, VolumeStore store, VolumeBooks books) {
    this.sr = sr;
    this.store = store;
    this.books = books;
    this.layering =
        store
            .chains()
            .map(chains -> {
              BlockTracking tracking = new BlockTracking(store, books, chains);
              return new Layering(
                  chains,
                  new ChainMerging(
                      sr,
                      chains,
                      this::isUsed,
                      vdi -> isPinned(tracking, vdi),
                      lock,
                      () -> onMerged.run()),
                  new GuestMerges(sr, chains, lock, this::wakeMerging),
                  tracking);
            });
  }

  /** A tracked disk's own image is what it has written since its last snapshot. */
  private boolean isPinned(BlockTracking tracking, String vdi) {
    try {
      return tracking.isTracked(vdi) && !books.info(vdi).isASnapshot();
    } catch (IOException e) {
      LOG.warn("SR {}: VDI {} is left as it is", sr, vdi, e);
      return true;
    }
  }

  private boolean isBusy(String vdi) {
    return copying.contains(vdi)
        || attached.contains(vdi)
        || active.contains(vdi)
        || open.containsKey(vdi);
  }

  private boolean isUsed(String vdi) {
    return exported.contains(vdi)
        || isBusy(vdi)
        || layering.isPresent() && layering.get().guests().has(vdi);
  }

  private void wakeMerging() {
    layering.ifPresent(l -> l.merging().wake());
    onMergeable.run();
  }

  /** Nobody merges what the VDI rests on once this returns; the lock is given up meanwhile. */
  private void requireStill(String vdi) throws SmapiException, IOException {
    books.require(vdi);
    if (layering.isPresent()) {
      layering.get().guests().giveWay(vdi);
      layering.get().merging().giveWay(vdi);
      books.require(vdi);
    }
  }

  /** Reads the books and repairs them. */
  public static VolumeRepository open(String sr, VolumeStore store) throws SmapiException {
    try {
      VolumeRepository repository = new VolumeRepository(sr, store, VolumeBooks.open(sr, store));
      repository.locked(
          SmError.METADATA,
          () -> {
            repository.layering.ifPresent(l -> l.tracking().settleAll());
            repository.wakeMerging();
            return sr;
          });
      return repository;
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
    return locked(
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
    locked(
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
    return locked(
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
    locked(
        SmError.SR_IN_USE,
        () -> {
          refuseIfBusy();
          stopMerging();
          store.close();
          return sr;
        });
  }

  private void stopMerging() {
    layering.ifPresent(l -> l.merging().stop());
  }

  @Override
  public void release() {
    lock.lock();
    try {
      stopMerging();
      store.close();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void destroy() throws SmapiException {
    locked(
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
    if (!copying.isEmpty() || !active.isEmpty() || !open.isEmpty()) {
      throw SmapiException.failure(SmError.SR_IN_USE, "VDIs of the SR are in use");
    }
  }

  @Override
  public VdiInfo create(VdiInfo wanted) throws SmapiException {
    VdiInfo complete = store.complete(wanted);
    return locked(SmError.VDI_CREATE, () -> books.finish(begin(complete), complete));
  }

  private String begin(VdiInfo wanted) throws SmapiException, IOException {
    long size = rounded(wanted.virtualSize());
    if (size > store.space().total()) {
      throw SmapiException.failure(
          SmError.SR_NO_SPACE, size + " bytes are more than the SR could ever hold");
    }
    return books.begin(wanted, key -> store.create(key, wanted, size));
  }

  @Override
  public void destroyVdi(String vdi) throws SmapiException {
    locked(
        SmError.VDI_DELETE,
        () -> {
          requireStill(vdi);
          if (isBusy(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          exported.remove(vdi);
          if (layering.isPresent()) {
            layering.get().tracking().beforeDestroy(vdi);
          }
          books.destroy(vdi);
          wakeMerging();
          return vdi;
        });
  }

  @Override
  public VdiInfo stat(String vdi) throws SmapiException {
    return locked(
        SmError.VDI_LOAD,
        () -> {
          books.require(vdi);
          return books.info(vdi);
        });
  }

  @Override
  public VdiInfo snapshot(VdiInfo wanted, Progress progress) throws SmapiException {
    return duplicate(wanted, true, SmError.VDI_SNAPSHOT, progress);
  }

  @Override
  public VdiInfo copyOf(VdiInfo wanted, Progress progress) throws SmapiException {
    return duplicate(wanted, false, SmError.VDI_CLONE, progress);
  }

  private VdiInfo duplicate(VdiInfo wanted, boolean snapshot, SmError otherwise, Progress progress)
      throws SmapiException {
    String from = wanted.vdi();
    Optional<VdiInfo> layered = layered(wanted, snapshot, otherwise);
    if (layered.isPresent()) {
      return layered.get();
    }
    VdiInfo[] source = new VdiInfo[1];
    String key =
        locked(
            otherwise,
            () -> {
              books.require(from);
              if (written.contains(from)) {
                throw SmapiException.failure(
                    SmError.VDI_IN_USE, "this SR copies disks only while no VM writes them");
              }
              source[0] = books.info(from);
              if (source[0].physicalUtilisation() > store.space().free()) {
                throw SmapiException.failure(
                    SmError.SR_NO_SPACE,
                    "a copy needs " + source[0].physicalUtilisation() + " bytes");
              }
              VdiInfo request = copyRequest(source[0], wanted, snapshot);
              if (request.smConfig().containsKey(VdiInfo.SM_CONFIG_FORMAT)) {
                request = store.complete(request);
              }
              source[0] = request;
              String made = begin(request);
              copying.add(from);
              copying.add(made);
              return made;
            });
    boolean done = false;
    try (BlockBackend in = store.open(from, false);
        BlockBackend out = store.open(key, true)) {
      VolumeCopy.copy(key, in, out, progress);
      done = true;
    } catch (BlockException e) {
      throw translated(otherwise, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw SmapiException.cancelled(key).withCause(e);
    } finally {
      lock.lock();
      try {
        copying.remove(from);
        copying.remove(key);
        if (!done) {
          books.discard(key);
        }
      } finally {
        lock.unlock();
      }
    }
    return locked(otherwise, () -> books.finish(key, source[0]));
  }

  /** The copy that shares what it has in common; empty where that cannot be. */
  private Optional<VdiInfo> layered(VdiInfo wanted, boolean snapshot, SmError otherwise)
      throws SmapiException {
    String from = wanted.vdi();
    if (layering.isEmpty()) {
      return Optional.empty();
    }
    VolumeChains chains = layering.get().chains();
    return locked(
        otherwise,
        () -> {
          requireStill(from);
          if (!chains.isLayered(from)) {
            return Optional.empty();
          }
          if (written.contains(from) || copying.contains(from)) {
            throw SmapiException.failure(
                SmError.VDI_IN_USE, "a VM writes the disk, or it is being copied");
          }
          VdiInfo source = books.info(from);
          VdiInfo request = copyRequest(source, wanted, snapshot);
          String key = books.begin(request, made -> {});
          try {
            if (source.isASnapshot() || !chains.isWritable(from)) {
              chains.branch(key, from, source.virtualSize());
            } else {
              VolumeChains.Layer layer = chains.begin(from);
              try {
                chains.commit(layer, Optional.of(key));
              } catch (IOException e) {
                chains.abandon(layer);
                throw e;
              }
              if (snapshot) {
                layering.get().tracking().noteSnapshot(from, key);
              } else {
                chains.branch(key, key, source.virtualSize());
              }
            }
          } catch (IOException e) {
            books.discard(key);
            layering.get().tracking().settle(from);
            throw e;
          }
          return Optional.of(finish(key, request, from));
        });
  }

  /** Marks a copy of a disk whole that may have got the disk's image. */
  private VdiInfo finish(String copy, VdiInfo request, String from) throws IOException {
    try {
      return books.finish(copy, request);
    } finally {
      layering.orElseThrow().tracking().settle(from);
    }
  }

  @Override
  public boolean isSnapshotWhileWritten(String vdi) throws SmapiException {
    return locked(
        SmError.VDI_LOAD,
        () -> {
          books.require(vdi);
          return layering.isPresent()
              && layering.get().chains().isLayered(vdi)
              && layering.get().chains().depth(vdi) < MANY_IMAGES;
        });
  }

  @Override
  public LiveSnapshot beginSnapshot(VdiInfo wanted) throws SmapiException {
    String from = wanted.vdi();
    VolumeChains chains =
        layering.orElseThrow(() -> SmapiException.unimplemented("VDI.snapshot")).chains();
    return locked(
        SmError.VDI_SNAPSHOT,
        () -> {
          requireStill(from);
          if (!chains.isLayered(from)) {
            throw SmapiException.failure(
                SmError.VDI_IN_USE, "a VM writes the disk: only qcow2 disks can be snapshot then");
          }
          if (copying.contains(from) || open.containsKey(from) || !chains.isWritable(from)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the disk is being copied");
          }
          VdiInfo source = books.info(from);
          VdiInfo request = copyRequest(source, wanted, true);
          String key = books.begin(request, made -> {});
          try {
            VolumeChains.Layer layer = chains.begin(from);
            copying.add(from);
            return new Pending(chains, layer, key, request);
          } catch (IOException e) {
            books.discard(key);
            throw e;
          }
        });
  }

  @Override
  public Optional<GuestMerge> beginGuestMerge(String vdi) throws SmapiException {
    return locked(
        SmError.METADATA,
        () -> {
          books.require(vdi);
          if (layering.isEmpty()
              || !written.contains(vdi)
              || copying.contains(vdi)
              || open.containsKey(vdi)
              || exported.contains(vdi)) {
            return Optional.empty();
          }
          boolean pinned = isPinned(layering.get().tracking(), vdi);
          return layering.get().guests().begin(vdi, this::isUsed, pinned);
        });
  }

  @Override
  public List<GuestMerge> guestMerges() throws SmapiException {
    return locked(
        SmError.METADATA, () -> layering.isEmpty() ? List.of() : layering.get().guests().current());
  }

  @Override
  public void onMergeable(Runnable listener) {
    onMergeable = listener;
  }

  @Override
  public void onMerged(Runnable listener) {
    onMerged = listener;
  }

  /** A snapshot of a disk that a guest has open. */
  private final class Pending implements LiveSnapshot {
    private final VolumeChains chains;
    private final VolumeChains.Layer layer;
    private final String snapshot;
    private final VdiInfo request;

    Pending(VolumeChains chains, VolumeChains.Layer layer, String snapshot, VdiInfo request) {
      this.chains = chains;
      this.layer = layer;
      this.snapshot = snapshot;
      this.request = request;
    }

    @Override
    public Path below() {
      return layer.below();
    }

    @Override
    public Path file() {
      return layer.file();
    }

    @Override
    public VdiInfo commit() throws SmapiException {
      return locked(
          SmError.VDI_SNAPSHOT,
          () -> {
            copying.remove(layer.key());
            chains.commit(layer, Optional.of(snapshot));
            try {
              layering.orElseThrow().tracking().noteSnapshot(layer.key(), snapshot);
            } catch (IOException e) {
              books.discard(snapshot);
              layering.orElseThrow().tracking().settle(layer.key());
              throw e;
            }
            VdiInfo made = finish(snapshot, request, layer.key());
            books.save(
                books.info(layer.key()).edit().contentId(UUID.randomUUID().toString()).done());
            wakeMerging();
            return made;
          });
    }

    @Override
    public void abandon() {
      lock.lock();
      try {
        copying.remove(layer.key());
        chains.abandon(layer);
        books.discard(snapshot);
        wakeMerging();
      } finally {
        lock.unlock();
      }
    }
  }

  @Override
  public void revert(String vdi, String snapshot) throws SmapiException {
    VolumeChains chains =
        layering.orElseThrow(() -> SmapiException.unimplemented("VDI.revert")).chains();
    locked(
        SmError.VDI_SNAPSHOT,
        () -> {
          requireStill(vdi);
          requireStill(snapshot);
          if (!chains.isLayered(vdi) || !chains.isLayered(snapshot)) {
            throw SmapiException.unimplemented("VDI.revert");
          }
          if (isBusy(vdi) || copying.contains(snapshot)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the disk is in use");
          }
          chains.branch(vdi, snapshot, store.size(snapshot));
          layering.get().tracking().startOver(vdi);
          String content = books.info(snapshot).contentId();
          books.save(books.info(vdi).edit().contentId(content).done());
          wakeMerging();
          return vdi;
        });
  }

  private BlockTracking tracking(String call, String vdi) throws SmapiException, IOException {
    requireStill(vdi);
    if (layering.isEmpty() || !layering.get().chains().isLayered(vdi)) {
      throw SmapiException.unimplemented(call);
    }
    return layering.get().tracking();
  }

  @Override
  public void enableCbt(String vdi) throws SmapiException {
    locked(
        SmError.METADATA,
        () -> {
          tracking("VDI.enable_cbt", vdi).enable(vdi);
          return vdi;
        });
  }

  @Override
  public void disableCbt(String vdi) throws SmapiException {
    locked(
        SmError.METADATA,
        () -> {
          tracking("VDI.disable_cbt", vdi).disable(vdi);
          wakeMerging();
          return vdi;
        });
  }

  @Override
  public String listChangedBlocks(String from, String to) throws SmapiException {
    return locked(
        SmError.CBT_CHANGED_BLOCKS,
        () -> {
          books.require(from);
          BlockTracking tracking = tracking("VDI.list_changed_blocks", to);
          if (written.contains(to)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "a VM writes the disk");
          }
          return tracking.between(from, to);
        });
  }

  @Override
  public Optional<ChangedBlocks> notedChanges(String vdi, Set<String> ends) throws SmapiException {
    return locked(
        SmError.CBT_CHANGED_BLOCKS,
        () -> {
          books.require(vdi);
          return layering.isPresent() && layering.get().tracking().isTracked(vdi)
              ? Optional.of(layering.get().tracking().noted(vdi, ends))
              : Optional.empty();
        });
  }

  @Override
  public boolean takeUpChanges(String vdi, ChangedBlocks noted) throws SmapiException {
    return locked(
        SmError.METADATA,
        () -> {
          requireStill(vdi);
          if (layering.isEmpty() || !layering.get().chains().isLayered(vdi)) {
            return false;
          }
          layering.get().tracking().takeUp(vdi, noted);
          return true;
        });
  }

  @Override
  public void dataDestroy(String vdi) throws SmapiException {
    locked(
        SmError.VDI_DELETE,
        () -> {
          BlockTracking tracking = tracking("VDI.data_destroy", vdi);
          if (isBusy(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          VdiInfo info = books.info(vdi);
          if (!info.isASnapshot() || !tracking.isTracked(vdi)) {
            throw SmapiException.backend("VDI_NO_CBT_METADATA", List.of(vdi));
          }
          books.save(
              info.edit()
                  .type(VdiInfo.CBT_METADATA)
                  .contentId(UUID.randomUUID().toString())
                  .done());
          layering.orElseThrow().chains().empty(vdi);
          wakeMerging();
          return vdi;
        });
  }

  private VolumeChains chains(String call) throws SmapiException {
    return layering.orElseThrow(() -> SmapiException.unimplemented(call)).chains();
  }

  @Override
  public void layer(String vdi, String lower) throws SmapiException {
    VolumeChains chains = chains("VDI.compose");
    locked(
        SmError.VDI_CREATE,
        () -> {
          requireStill(vdi);
          requireStill(lower);
          if (isBusy(vdi) || !chains.isWritable(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the disk is in use");
          }
          chains.branch(vdi, lower, store.size(vdi));
          return vdi;
        });
  }

  @Override
  public List<String> below(String vdi) throws SmapiException {
    return locked(
        SmError.VDI_LOAD,
        () -> {
          books.require(vdi);
          return layering.isEmpty() ? List.of() : layering.get().chains().below(vdi);
        });
  }

  @Override
  public int layersAbove(String vdi, String lower) throws SmapiException {
    VolumeChains chains = chains("VDI.compose");
    return locked(SmError.VDI_LOAD, () -> chains.distance(vdi, lower));
  }

  @Override
  public List<Range> changesSince(String vdi, String lower) throws SmapiException {
    VolumeChains chains = chains("VDI.list_changed_blocks");
    return locked(
        SmError.VDI_LOAD,
        () -> {
          requireStill(vdi);
          return chains.changes(vdi, lower);
        });
  }

  private static VdiInfo copyRequest(VdiInfo source, VdiInfo wanted, boolean snapshot) {
    VdiInfo plain = VdiInfo.request(wanted.nameLabel(), source.virtualSize());
    VdiInfo.Edit copy = plain.edit().nameDescription(wanted.nameDescription());
    copy.type(source.type()).contentId(source.contentId()).smConfig(wanted.smConfig());
    return (snapshot ? copy.snapshotOf(source.vdi(), Instant.now()) : copy).done();
  }

  @Override
  public long resize(String vdi, long newSize) throws SmapiException {
    return locked(
        SmError.VDI_RESIZE,
        () -> {
          requireStill(vdi);
          long size = rounded(newSize);
          long now = store.size(vdi);
          if (size < now) {
            throw SmapiException.failure(SmError.VDI_SIZE, "a VDI cannot become smaller");
          }
          if (isBusy(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "resize is for disks not in use");
          }
          if (!isWritable(vdi)) {
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
    return locked(
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
    return locked(
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
  public List<Implementation> attachVdi(String vdi, boolean writable) throws SmapiException {
    return locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          requireStill(vdi);
          return attach(vdi, writable);
        });
  }

  @Override
  public void resumeVdi(String vdi, boolean writable) throws SmapiException {
    locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          books.require(vdi);
          return attach(vdi, writable);
        });
  }

  private List<Implementation> attach(String vdi, boolean writable)
      throws SmapiException, IOException {
    if (books.info(vdi).type().equals(VdiInfo.CBT_METADATA)) {
      throw SmapiException.backend("VDI_INCOMPATIBLE_TYPE", List.of(vdi, VdiInfo.CBT_METADATA));
    }
    if (writable && (books.info(vdi).readOnly() || !isWritable(vdi))) {
      throw SmapiException.failure(SmError.VDI_UNAVAILABLE, "the VDI is read-only");
    }
    attached.add(vdi);
    Optional<Path> path = store.path(vdi);
    if (path.isEmpty()) {
      return List.of();
    }
    String text = path.get().toString();
    return List.of(
        new Implementation.XenDisk(text, Map.of(), "qdisk"), new Implementation.File(text));
  }

  @Override
  public void activate(String vdi, boolean writable) throws SmapiException {
    locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          books.require(vdi);
          if (writable && copying.contains(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is being copied");
          }
          // Whoever lets a domain have it has seen that no target serves it any more.
          store.endView(vdi);
          exported.remove(vdi);
          if (writable) {
            // Whoever writes makes it differ from all that had the same content.
            books.save(books.info(vdi).edit().contentId(UUID.randomUUID().toString()).done());
            written.add(vdi);
          }
          active.add(vdi);
          onMergeable.run();
          return vdi;
        });
  }

  @Override
  public void deactivate(String vdi) throws SmapiException {
    locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          active.remove(vdi);
          written.remove(vdi);
          return vdi;
        });
  }

  private boolean isWritable(String vdi) {
    return layering.isEmpty() || layering.get().chains().isWritable(vdi);
  }

  @Override
  public void detachVdi(String vdi) throws SmapiException {
    locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          attached.remove(vdi);
          wakeMerging();
          books.require(vdi);
          return vdi;
        });
  }

  @Override
  public BlockBackend open(String vdi, boolean writable) throws SmapiException {
    locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          requireStill(vdi);
          if (!exported.contains(vdi)) {
            store.endView(vdi); // left by another server
          }
          open.merge(vdi, 1, Integer::sum);
          return vdi;
        });
    boolean opened = false;
    try {
      BlockBackend backend = store.open(vdi, writable);
      opened = true;
      return new OpenVolume(backend, vdi);
    } catch (BlockException e) {
      throw e.kind() == BlockException.Kind.ACCESS
          ? SmapiException.failure(SmError.VDI_IN_USE, String.valueOf(e.getMessage())).withCause(e)
          : translated(SmError.VDI_UNAVAILABLE, e);
    } finally {
      if (!opened) {
        closed(vdi);
      }
    }
  }

  private void closed(String vdi) {
    lock.lock();
    try {
      open.computeIfPresent(vdi, (key, count) -> count > 1 ? count - 1 : null);
      wakeMerging();
    } finally {
      lock.unlock();
    }
  }

  /** A volume that is read or written from here. */
  private final class OpenVolume extends ForwardingBackend {
    private final String vdi;
    private final AtomicBoolean closed = new AtomicBoolean();

    OpenVolume(BlockBackend backend, String vdi) {
      super(backend);
      this.vdi = vdi;
    }

    @Override
    public void close() {
      super.close();
      if (closed.compareAndSet(false, true)) {
        closed(vdi);
      }
    }
  }

  @Override
  public Optional<Path> beginExport(String vdi) throws SmapiException {
    return locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          requireStill(vdi);
          if (open.containsKey(vdi) || copying.contains(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          Optional<Path> view = store.beginView(vdi);
          exported.add(vdi);
          return view;
        });
  }

  @Override
  public void endExport(String vdi) throws SmapiException {
    locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          store.endView(vdi);
          exported.remove(vdi);
          wakeMerging();
          return vdi;
        });
  }

  @Override
  public Optional<Path> path(String vdi) throws SmapiException {
    stat(vdi);
    return store.path(vdi);
  }

  private interface Body<T> {
    T run() throws SmapiException, IOException;
  }

  private <T> T locked(SmError otherwise, Body<T> body) throws SmapiException {
    lock.lock();
    try {
      return body.run();
    } catch (IOException e) {
      throw translated(otherwise, e);
    } finally {
      lock.unlock();
    }
  }

  private SmapiException translated(SmError otherwise, IOException e) {
    boolean full =
        e instanceof BlockException b && b.kind() == BlockException.Kind.NO_SPACE
            || String.valueOf(e.getMessage()).contains("No space left");
    SmError error = full ? SmError.SR_NO_SPACE : otherwise;
    return SmapiException.failure(error, sr + ": " + e.getMessage()).withCause(e);
  }

  private static long rounded(long size) throws SmapiException {
    if (size <= 0 || size > LARGEST - SECTOR) {
      throw SmapiException.failure(
          SmError.VDI_SIZE, "size " + size + " is not between 1 and " + (LARGEST - SECTOR));
    }
    return Math.ceilDiv(size, SECTOR) * SECTOR;
  }
}
