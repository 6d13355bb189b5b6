package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Optional;
import java.util.UUID;

/**
 * Snapshots and clones of volumes, and back to a snapshot: images that share what they have in
 * common where the store has chains, else full copies.
 */
final class VolumeCopies {
  /** A guest opens all images of its disk, and looks for what it reads in one after the other. */
  private static final int MANY_IMAGES = 128;

  private final Volumes volumes;
  private final VolumeStore store;
  private final VolumeBooks books;

  VolumeCopies(Volumes volumes) {
    this.volumes = volumes;
    this.store = volumes.store;
    this.books = volumes.books;
  }

  VdiInfo snapshot(VdiInfo wanted, Progress progress) throws SmapiException {
    return duplicate(wanted, true, SmError.VDI_SNAPSHOT, progress);
  }

  VdiInfo copyOf(VdiInfo wanted, Progress progress) throws SmapiException {
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
        volumes.locked(
            otherwise,
            () -> {
              books.require(from);
              if (volumes.written.contains(from)) {
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
              String made = volumes.begin(request);
              volumes.copying.add(from);
              volumes.copying.add(made);
              return made;
            });
    boolean done = false;
    try (BlockBackend in = store.open(from, false);
        BlockBackend out = store.open(key, true)) {
      VolumeCopy.copy(key, in, Optional.empty(), out, progress);
      done = true;
    } catch (BlockException e) {
      throw volumes.translated(otherwise, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw SmapiException.cancelled(key).withCause(e);
    } finally {
      volumes.lock.lock();
      try {
        volumes.copying.remove(from);
        volumes.copying.remove(key);
        if (!done) {
          books.discard(key);
        }
      } finally {
        volumes.lock.unlock();
      }
    }
    return volumes.locked(otherwise, () -> books.finish(key, source[0]));
  }

  /** The copy that shares what it has in common; empty where that cannot be. */
  private Optional<VdiInfo> layered(VdiInfo wanted, boolean snapshot, SmError otherwise)
      throws SmapiException {
    String from = wanted.vdi();
    if (volumes.layering.isEmpty()) {
      return Optional.empty();
    }
    VolumeChains chains = volumes.layering.get().chains();
    return volumes.locked(
        otherwise,
        () -> {
          volumes.requireStill(from);
          if (!chains.isLayered(from)) {
            return Optional.empty();
          }
          if (volumes.written.contains(from) || volumes.copying.contains(from)) {
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
                volumes.layering.get().tracking().noteSnapshot(from, key);
              } else {
                chains.branch(key, key, source.virtualSize());
              }
            }
          } catch (IOException e) {
            books.discard(key);
            volumes.layering.get().tracking().settle(from);
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
      volumes.layering.orElseThrow().tracking().settle(from);
    }
  }

  boolean isSnapshotWhileWritten(String vdi) throws SmapiException {
    return volumes.locked(
        SmError.VDI_LOAD,
        () -> {
          books.require(vdi);
          return volumes.layering.isPresent()
              && volumes.layering.get().chains().isLayered(vdi)
              && volumes.layering.get().chains().depth(vdi) < MANY_IMAGES;
        });
  }

  StorageRepository.LiveSnapshot beginSnapshot(VdiInfo wanted) throws SmapiException {
    String from = wanted.vdi();
    VolumeChains chains =
        volumes.layering.orElseThrow(() -> SmapiException.unimplemented("VDI.snapshot")).chains();
    return volumes.locked(
        SmError.VDI_SNAPSHOT,
        () -> {
          volumes.requireStill(from);
          if (!chains.isLayered(from)) {
            throw SmapiException.failure(
                SmError.VDI_IN_USE, "a VM writes the disk: only qcow2 disks can be snapshot then");
          }
          if (volumes.copying.contains(from)
              || volumes.open.containsKey(from)
              || !chains.isWritable(from)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the disk is being copied");
          }
          VdiInfo source = books.info(from);
          VdiInfo request = copyRequest(source, wanted, true);
          String key = books.begin(request, made -> {});
          try {
            VolumeChains.Layer layer = chains.begin(from);
            volumes.copying.add(from);
            return new Pending(chains, layer, key, request);
          } catch (IOException e) {
            books.discard(key);
            throw e;
          }
        });
  }

  /** A snapshot of a disk that a guest has open. */
  private final class Pending implements StorageRepository.LiveSnapshot {
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
      return volumes.locked(
          SmError.VDI_SNAPSHOT,
          () -> {
            volumes.copying.remove(layer.key());
            chains.commit(layer, Optional.of(snapshot));
            try {
              volumes.layering.orElseThrow().tracking().noteSnapshot(layer.key(), snapshot);
            } catch (IOException e) {
              books.discard(snapshot);
              volumes.layering.orElseThrow().tracking().settle(layer.key());
              throw e;
            }
            VdiInfo made = finish(snapshot, request, layer.key());
            books.save(
                books.info(layer.key()).edit().contentId(UUID.randomUUID().toString()).done());
            volumes.wakeMerging();
            return made;
          });
    }

    @Override
    public void abandon() {
      volumes.lock.lock();
      try {
        volumes.copying.remove(layer.key());
        chains.abandon(layer);
        books.discard(snapshot);
        volumes.wakeMerging();
      } finally {
        volumes.lock.unlock();
      }
    }
  }

  void revert(String vdi, String snapshot) throws SmapiException {
    VolumeChains chains =
        volumes.layering.orElseThrow(() -> SmapiException.unimplemented("VDI.revert")).chains();
    volumes.locked(
        SmError.VDI_SNAPSHOT,
        () -> {
          volumes.requireStill(vdi);
          volumes.requireStill(snapshot);
          if (!chains.isLayered(vdi) || !chains.isLayered(snapshot)) {
            throw SmapiException.unimplemented("VDI.revert");
          }
          if (volumes.isBusy(vdi) || volumes.copying.contains(snapshot)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the disk is in use");
          }
          chains.branch(vdi, snapshot, store.size(snapshot));
          volumes.layering.get().tracking().startOver(vdi);
          String content = books.info(snapshot).contentId();
          books.save(books.info(vdi).edit().contentId(content).done());
          volumes.wakeMerging();
          return vdi;
        });
  }

  private static VdiInfo copyRequest(VdiInfo source, VdiInfo wanted, boolean snapshot) {
    VdiInfo plain = VdiInfo.request(wanted.nameLabel(), source.virtualSize());
    VdiInfo.Edit copy = plain.edit().nameDescription(wanted.nameDescription());
    copy.type(source.type()).contentId(source.contentId()).smConfig(wanted.smConfig());
    // Whoever asks by the source's own record asks for no uuid.
    wanted.uuid().filter(uuid -> !source.uuid().equals(Optional.of(uuid))).ifPresent(copy::uuid);
    return (snapshot ? copy.snapshotOf(source.vdi(), Instant.now()) : copy).done();
  }
}
