package io.xenferry.sr;

import java.io.IOException;
import java.util.HashSet;
import java.util.Set;

/**
 * Changed block tracking, by the images themselves: what a disk has written since its last snapshot
 * is what its topmost image holds. When a snapshot is taken that is written down for good, so that
 * it outlasts the image; what a snapshot that goes had noted becomes its successor's. The topmost
 * image of a tracked disk is never merged into another. Notes may be taken to another repository,
 * where the disk's own image must hold as much. Called under the repository's lock.
 */
final class BlockTracking {
  private final VolumeStore store;
  private final VolumeBooks books;
  private final VolumeChains chains;

  BlockTracking(VolumeStore store, VolumeBooks books, VolumeChains chains) {
    this.store = store;
    this.books = books;
    this.chains = chains;
  }

  boolean isTracked(String vdi) throws IOException {
    return !store.changes(vdi).isEmpty();
  }

  private ChangedBlocks of(String vdi) throws IOException {
    return ChangedBlocks.fromRecord(store.changes(vdi));
  }

  void enable(String vdi) throws IOException {
    if (!isTracked(vdi)) {
      store.putChanges(vdi, ChangedBlocks.none("").toRecord());
    }
  }

  /** With what was known of the VDI's content elsewhere. */
  void takeUp(String vdi, ChangedBlocks known) throws IOException {
    store.putChanges(vdi, known.toRecord());
  }

  /**
   * What has been noted of a VDI, its own image apart, since the nearest of some VDIs before it;
   * since nothing that is known when none of them is.
   */
  ChangedBlocks noted(String vdi, Set<String> ends) throws IOException {
    ChangedBlocks all = of(vdi);
    Set<String> seen = new HashSet<>(Set.of(vdi));
    while (!ends.contains(all.parent())) {
      if (all.parent().isEmpty() || !seen.add(all.parent()) || !isTracked(all.parent())) {
        return ChangedBlocks.none("");
      }
      all = all.after(of(all.parent()));
    }
    return all;
  }

  void disable(String vdi) throws IOException {
    store.deleteChanges(vdi);
  }

  /** What a disk wrote before it got the image that it has now, its other image being another's. */
  void beforeBranch(String vdi) throws IOException {
    if (isTracked(vdi)) {
      store.putChanges(vdi, of(vdi).and(chains.own(vdi)).toRecord());
    }
  }

  /** A snapshot has the image that the disk had. */
  void afterSnapshot(String vdi, String snapshot) throws IOException {
    if (isTracked(vdi)) {
      store.putChanges(snapshot, of(vdi).and(chains.own(snapshot)).toRecord());
      store.putChanges(vdi, ChangedBlocks.none(snapshot).toRecord());
    }
  }

  /** What was there is no longer what the next snapshot differs from. */
  void startOver(String vdi) throws IOException {
    if (isTracked(vdi)) {
      store.putChanges(vdi, ChangedBlocks.none("").toRecord());
    }
  }

  /** A VDI goes: whatever was noted since it is noted since the one before it. */
  void beforeDestroy(String vdi) throws IOException {
    if (isTracked(vdi)) {
      ChangedBlocks gone = of(vdi);
      for (String other : books.ready()) {
        if (!other.equals(vdi) && isTracked(other) && of(other).parent().equals(vdi)) {
          store.putChanges(other, of(other).after(gone).toRecord());
        }
      }
      store.deleteChanges(vdi);
    }
  }

  /**
   * The blocks in which two VDIs of one disk may differ, {@code from} the earlier.
   *
   * @return as {@link ChangedBlocks#base64}, for the size of {@code to}
   */
  String between(String from, String to) throws SmapiException, IOException {
    VdiInfo target = books.info(to);
    ChangedBlocks all = isTracked(to) ? of(to) : untracked(to);
    if (!target.isASnapshot()) {
      all = all.and(chains.own(to));
    }
    Set<String> seen = new HashSet<>();
    while (!all.parent().equals(from)) {
      String parent = all.parent();
      if (parent.isEmpty() || !seen.add(parent)) {
        throw SmapiException.failure(
            SmError.CBT_CHANGED_BLOCKS, to + " is not known to have been made of " + from);
      }
      all = all.after(isTracked(parent) ? of(parent) : untracked(parent));
    }
    long before = books.info(from).virtualSize();
    if (target.virtualSize() > before) {
      all.blocks()
          .set(
              Math.toIntExact(before / ChangedBlocks.BLOCK),
              Math.toIntExact(Math.ceilDiv(target.virtualSize(), (long) ChangedBlocks.BLOCK)));
    }
    return all.base64(target.virtualSize());
  }

  private static ChangedBlocks untracked(String vdi) throws SmapiException {
    throw SmapiException.failure(
        SmError.CBT_CHANGED_BLOCKS, "changed blocks of " + vdi + " are not tracked");
  }
}
