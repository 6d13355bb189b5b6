package io.xenferry.sr;

import io.xenferry.block.Range;
import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Changed block tracking, by the images themselves: what a disk has written since its last snapshot
 * is what its topmost image holds. When a snapshot is taken that is written down for good, so that
 * it outlasts the image; what a snapshot that goes had noted becomes its successor's. The topmost
 * image of a tracked disk is never merged into another. Notes may be taken to another repository,
 * where the disk's own image must hold as much. Called under the repository's lock.
 *
 * <p>A disk's notes name the image that it had when they were written. Should it be found on
 * another one, a server died, or could not write, between the disk's change of images and the notes
 * about that: the images between the two say what is missing in the notes. Where they are no longer
 * below the disk, nothing is known of it from before.
 */
final class BlockTracking {
  private static final Logger log = LoggerFactory.getLogger(BlockTracking.class);

  /** In a disk's notes: what it has written since is in this image, and those above it. */
  private static final String IMAGE = "image";

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

  /** What has changed but for what the VDI's own image says. */
  private ChangedBlocks of(String vdi) throws IOException {
    Map<String, String> record = store.changes(vdi);
    ChangedBlocks noted = ChangedBlocks.fromRecord(record);
    Optional<String> image = Optional.ofNullable(record.get(IMAGE));
    if (image.isEmpty() || image.get().equals(chains.image(vdi)) || books.info(vdi).isASnapshot()) {
      return noted;
    }
    Optional<String> snapshot = chains.below(vdi).stream().findFirst();
    if (snapshot.isPresent()
        && chains.image(snapshot.get()).equals(image.get())
        && chains.distance(vdi, snapshot.get()) == 1
        && books.ready().contains(snapshot.get())
        && isTracked(snapshot.get())) {
      return ChangedBlocks.none(snapshot.get());
    }
    Optional<List<Range>> missing = chains.downTo(vdi, image.get());
    return missing.isPresent() ? noted.and(missing.get()) : ChangedBlocks.none("");
  }

  private void put(String vdi, ChangedBlocks known) throws IOException {
    Map<String, String> record = new HashMap<>(known.toRecord());
    record.put(IMAGE, chains.image(vdi));
    store.putChanges(vdi, record);
  }

  void enable(String vdi) throws IOException {
    if (!isTracked(vdi)) {
      put(vdi, ChangedBlocks.none(""));
    }
  }

  /** With what was known of the VDI's content elsewhere. */
  void takeUp(String vdi, ChangedBlocks known) throws IOException {
    put(vdi, known);
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

  /** A snapshot that is not whole yet has the image that the disk had; {@link #settle} follows. */
  void noteSnapshot(String vdi, String snapshot) throws IOException {
    if (isTracked(vdi)) {
      Map<String, String> record = store.changes(vdi);
      String image = chains.image(snapshot);
      ChangedBlocks known =
          record.getOrDefault(IMAGE, image).equals(image)
              ? ChangedBlocks.fromRecord(record).and(chains.own(snapshot))
              : of(vdi);
      store.putChanges(snapshot, known.toRecord());
    }
  }

  /**
   * The disk has another image than when its notes were written: brings them up to date, before
   * images that they need are merged. What cannot be written is known from these until then.
   */
  void settle(String vdi) {
    try {
      if (isTracked(vdi) && !books.info(vdi).isASnapshot()) {
        put(vdi, of(vdi));
      }
    } catch (IOException e) {
      log.warn("changed blocks of VDI {} are not noted now", vdi, e);
    }
  }

  /** The same for all that a server before this one has left. */
  void settleAll() {
    for (String vdi : books.ready()) {
      try {
        if (!chains.image(vdi).equals(store.changes(vdi).get(IMAGE))) {
          settle(vdi);
        }
      } catch (IOException e) {
        log.warn("changed blocks of VDI {} cannot be read", vdi, e);
      }
    }
  }

  /** What was there is no longer what the next snapshot differs from. */
  void startOver(String vdi) throws IOException {
    if (isTracked(vdi)) {
      put(vdi, ChangedBlocks.none(""));
    }
  }

  /** A VDI goes: whatever was noted since it is noted since the one before it. */
  void beforeDestroy(String vdi) throws IOException {
    if (isTracked(vdi)) {
      ChangedBlocks gone = of(vdi);
      for (String other : books.ready()) {
        if (!other.equals(vdi) && isTracked(other) && of(other).parent().equals(vdi)) {
          ChangedBlocks known = of(other).after(gone);
          if (store.changes(other).containsKey(IMAGE)) {
            put(other, known);
          } else {
            store.putChanges(other, known.toRecord());
          }
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
