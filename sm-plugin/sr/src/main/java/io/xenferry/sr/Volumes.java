package io.xenferry.sr;

import io.xenferry.block.BlockException;
import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What the parts of a {@link VolumeRepository} share: its volumes, who uses which, and the one lock
 * that guards all of it. What looks at or changes these is done with the lock held.
 */
final class Volumes {
  private static final Logger LOG = LoggerFactory.getLogger(Volumes.class);

  /** Sizes are multiples of the sector of iSCSI and of guests. */
  private static final long SECTOR = 512;

  /** What a raw file may have on common file systems (ext4, 4 KiB blocks). */
  private static final long LARGEST = 16L << 40;

  final String sr;
  final VolumeStore store;
  final VolumeBooks books;
  final ReentrantLock lock = new ReentrantLock();

  /** Sources and targets of copies, and disks of which a guest's snapshot is being taken. */
  final Set<String> copying = new HashSet<>();

  /** By guests; some of them active, and some of these written. */
  final Set<String> attached = new HashSet<>();

  final Set<String> active = new HashSet<>();
  final Set<String> written = new HashSet<>();

  /** Which targets serve to other hosts. */
  final Set<String> exported = new HashSet<>();

  /** In this process, how often. */
  final Map<String, Integer> open = new HashMap<>();

  final Optional<Layering> layering;
  volatile Runnable onMergeable = () -> {};
  volatile Runnable onMerged = () -> {};

  /** What there is where volumes may rest on others. */
  record Layering(
      VolumeChains chains, ChainMerging merging, GuestMerges guests, BlockTracking tracking) {}

  Volumes(String sr, VolumeStore store, VolumeBooks books) {
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
  boolean isPinned(BlockTracking tracking, String vdi) {
    try {
      return tracking.isTracked(vdi) && !books.info(vdi).isASnapshot();
    } catch (IOException e) {
      LOG.warn("SR {}: VDI {} is left as it is", sr, vdi, e);
      return true;
    }
  }

  boolean isBusy(String vdi) {
    return copying.contains(vdi)
        || attached.contains(vdi)
        || active.contains(vdi)
        || open.containsKey(vdi);
  }

  boolean isUsed(String vdi) {
    return exported.contains(vdi)
        || isBusy(vdi)
        || layering.isPresent() && layering.get().guests().has(vdi);
  }

  void wakeMerging() {
    layering.ifPresent(l -> l.merging().wake());
    onMergeable.run();
  }

  /** Nobody merges what the VDI rests on once this returns; the lock is given up meanwhile. */
  void requireStill(String vdi) throws SmapiException, IOException {
    books.require(vdi);
    if (layering.isPresent()) {
      layering.get().guests().giveWay(vdi);
      layering.get().merging().giveWay(vdi);
      books.require(vdi);
    }
  }

  boolean isWritable(String vdi) {
    return layering.isEmpty() || layering.get().chains().isWritable(vdi);
  }

  /** Makes a volume, which is nobody's until the books finish it; its key. */
  String begin(VdiInfo wanted) throws SmapiException, IOException {
    long size = rounded(wanted.virtualSize());
    if (size > store.space().total()) {
      throw SmapiException.failure(
          SmError.SR_NO_SPACE, size + " bytes are more than the SR could ever hold");
    }
    return books.begin(wanted, key -> store.create(key, wanted, size));
  }

  /** Something that is done with the lock held. */
  interface Body<T> {
    T run() throws SmapiException, IOException;
  }

  /** Does it; what fails in the store is the given error, or that there is no space. */
  <T> T locked(SmError otherwise, Body<T> body) throws SmapiException {
    lock.lock();
    try {
      return body.run();
    } catch (IOException e) {
      throw translated(otherwise, e);
    } finally {
      lock.unlock();
    }
  }

  SmapiException translated(SmError otherwise, IOException e) {
    boolean full =
        e instanceof BlockException b && b.kind() == BlockException.Kind.NO_SPACE
            || String.valueOf(e.getMessage()).contains("No space left");
    SmError error = full ? SmError.SR_NO_SPACE : otherwise;
    return SmapiException.failure(error, sr + ": " + e.getMessage()).withCause(e);
  }

  static long rounded(long size) throws SmapiException {
    if (size <= 0 || size > LARGEST - SECTOR) {
      throw SmapiException.failure(
          SmError.VDI_SIZE, "size " + size + " is not between 1 and " + (LARGEST - SECTOR));
    }
    return Math.ceilDiv(size, SECTOR) * SECTOR;
  }
}
