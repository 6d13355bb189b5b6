package io.xenferry.sr;

import io.xenferry.block.Range;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;

/**
 * What a store can do whose volumes may rest on others: a volume is an image, which shows those
 * below it where it holds nothing itself. Images that have others above them do not change. Called
 * under the repository's lock unless it is said otherwise.
 */
public interface VolumeChains {

  /** Whether the volume can have others on top of it while nobody uses it. */
  boolean isLayered(String key) throws IOException;

  /** Whether nobody else sees the volume's own image, so that it may be written. */
  boolean isWritable(String key);

  /**
   * Makes an empty image on top of a volume's; nothing uses it yet. From now on a crash ends with
   * the volume on the new image, unless somebody is found to write the old one.
   */
  Layer begin(String key) throws IOException;

  /**
   * The volume is on the new image from now on, for good.
   *
   * @param other has the old image, which is fixed now; empty for none
   */
  void commit(Layer layer, Optional<String> other) throws IOException;

  /** Takes back what {@link #begin} made; the volume is on its old image. */
  void abandon(Layer layer);

  /**
   * Puts a volume on a new image of its own that shows what another one is now; the image it had
   * goes.
   */
  void branch(String key, String shown, long size) throws IOException;

  /** The volumes whose images are below a volume's, the nearest first. */
  List<String> below(String key);

  /** How many images a volume has, its own included. */
  int depth(String key);

  /** How many images a volume has above the other one's, on which it rests. */
  int distance(String key, String lower) throws IOException;

  /**
   * What a volume that nobody writes has above the other one's image: whole clusters, in order,
   * those that read as zeroes as well.
   */
  List<Range> changes(String key, String since) throws IOException;

  /** What a volume's own image holds, if nobody writes it: whole clusters, in order. */
  List<Range> own(String key) throws IOException;

  /** Names a volume's own image, as long as it has that. */
  String image(String key);

  /**
   * What the images below a volume's own hold, down to one of them and with that: whole clusters,
   * in order; empty when it does not rest on it.
   *
   * @param image as {@link #image} named it
   */
  Optional<List<Range>> downTo(String key, String image) throws IOException;

  /** Gives a volume an empty image that rests on nothing, of the size that it has. */
  void empty(String key) throws IOException;

  /**
   * Something to merge that no volume in use rests on; it is under way then.
   *
   * @param pinned whether a volume's own image must stay what it is
   */
  Optional<Merge> beginMerge(Predicate<String> used, Predicate<String> pinned) throws IOException;

  /**
   * Something to merge below a volume that a guest writes, images of others first, then the
   * volume's own; it is under way then, and the guest is to do it.
   *
   * @param used whether a volume must not be touched now, that one apart
   * @param pinned whether the volume's own image must stay what it is
   */
  Optional<Join> beginJoin(String key, Predicate<String> used, boolean pinned) throws IOException;

  /** Those that a process before this one began and whose guest is still there. */
  List<Join> unsettledJoins();

  /**
   * Two images that a guest has open and that become one: the upper one's content is written into
   * the lower one, which nobody else shows.
   */
  interface Join {
    /** The volume that the guest writes. */
    String volume();

    /** The volumes that must not be used meanwhile, and that one. */
    Set<String> volumes();

    Path upper();

    Path lower();

    /** Whether the upper image is the one that the guest writes. */
    boolean isOwn();

    /** Whether {@link #decide} has been done. */
    boolean isDecided();

    StorageRepository.GuestMerge.Decision decision();

    /**
     * Everything is in the lower image, flushed, and nothing is written to the upper one any more:
     * from now on either of them is right, and after a crash the upper one goes.
     */
    void decide() throws IOException;

    /** The guest has only the lower image, or is gone since {@link #decide}: the upper one goes. */
    void finish() throws IOException;

    /** The guest has both as before, or is gone and nothing was decided. */
    void undo() throws IOException;
  }

  /**
   * An image that holds a volume's newest writes, and the one below it.
   *
   * @param before was the volume's image
   */
  record Layer(String key, String before, String after, Path below, Path file) {}

  /** Two images that become one. */
  interface Merge {
    /** The volumes that must not be used meanwhile. */
    Set<String> volumes();

    /** Moves the bytes; long, without the lock. It may be given up and done again. */
    void run() throws IOException;

    /** Makes {@link #run} fail soon. Any thread. */
    void cancel();

    /** After {@link #run}: the lower image is both from now on. */
    void finish() throws IOException;
  }

  /** What clients are shown of a volume's place, as keys of sm_config. */
  Map<String, String> describe(String key) throws IOException;
}
