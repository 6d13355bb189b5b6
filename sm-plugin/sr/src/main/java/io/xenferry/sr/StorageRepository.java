package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * An attached SR. VDIs are named by their location.
 *
 * <p>Who may do what when (datapath states, exports) is the mux's affair; a repository guards its
 * own records and files. Thread-safe; all methods block. Anything may fail with Vdi_does_not_exist.
 */
public interface StorageRepository {

  String sr();

  SrInfo stat() throws SmapiException;

  void setNameLabel(String value) throws SmapiException;

  void setNameDescription(String value) throws SmapiException;

  /** All VDIs; what was found broken is left out and logged. */
  List<VdiInfo> scan() throws SmapiException;

  /** Gives the SR back; nothing of it is open afterwards. */
  void detach() throws SmapiException;

  /**
   * Lets go of the SR, whatever is in use, for a server that ends: guests and exports outlive it,
   * and the next server attaches the SR again. Nothing else may be called afterwards.
   */
  void release();

  /** Detaches and deletes the SR, which must hold no VDI (39). */
  void destroy() throws SmapiException;

  /**
   * Of which formats VDIs can be made, what their {@link VdiInfo#SM_CONFIG_FORMAT} may say, first
   * the one of VDIs for which none is asked; empty where none can be made.
   */
  default List<String> formats() throws SmapiException {
    return List.of("raw");
  }

  /** Makes a VDI of zeroes; size is rounded up. Location and uuid are chosen if not given. */
  VdiInfo create(VdiInfo wanted) throws SmapiException;

  void destroyVdi(String vdi) throws SmapiException;

  VdiInfo stat(String vdi) throws SmapiException;

  /**
   * A copy of a VDI that nobody writes, as it is now. Names, sm_config and, if it has one, uuid as
   * in {@code wanted}. Disks that can share what they have in common do.
   */
  VdiInfo snapshot(VdiInfo wanted, Progress progress) throws SmapiException;

  /** A copy like {@link #snapshot}, but a disk in its own right. */
  VdiInfo copyOf(VdiInfo wanted, Progress progress) throws SmapiException;

  /**
   * Whether {@link #beginSnapshot} can be had of a VDI time and again: false as well where it rests
   * on very many images already.
   */
  default boolean isSnapshotWhileWritten(String vdi) throws SmapiException {
    return false;
  }

  /**
   * Begins a snapshot of a VDI that a guest has open: the guest is to go on with another image.
   *
   * @throws SmapiException VDI_IN_USE, or Unimplemented where disks cannot share
   */
  default LiveSnapshot beginSnapshot(VdiInfo wanted) throws SmapiException {
    throw SmapiException.unimplemented("VDI.snapshot");
  }

  /**
   * Makes a VDI what its snapshot is.
   *
   * @throws SmapiException Unimplemented where disks cannot share
   */
  default void revert(String vdi, String snapshot) throws SmapiException {
    throw SmapiException.unimplemented("VDI.revert");
  }

  /**
   * Puts a VDI that is still empty on top of another: it shows that one where nothing is written to
   * it.
   */
  default void layer(String vdi, String lower) throws SmapiException {
    throw SmapiException.unimplemented("VDI.compose");
  }

  /** The VDIs on which a VDI rests, the nearest first. */
  default List<String> below(String vdi) throws SmapiException {
    return List.of();
  }

  /** How many images a VDI has above those of one on which it rests. */
  default int layersAbove(String vdi, String lower) throws SmapiException {
    throw SmapiException.unimplemented("VDI.compose");
  }

  /** What a VDI that nobody writes has above one on which it rests, zeroes included; in order. */
  default List<Range> changesSince(String vdi, String lower) throws SmapiException {
    throw SmapiException.unimplemented("VDI.list_changed_blocks");
  }

  /** From now on changed blocks are tracked; it may be repeated. */
  default void enableCbt(String vdi) throws SmapiException {
    throw SmapiException.unimplemented("VDI.enable_cbt");
  }

  default void disableCbt(String vdi) throws SmapiException {
    throw SmapiException.unimplemented("VDI.disable_cbt");
  }

  /**
   * The blocks of 64 KiB in which a later VDI of a disk may differ from an earlier one, as bits in
   * Base64, the first the most significant of its byte.
   *
   * @throws SmapiException 460 when that is not known, VDI_IN_USE while a guest writes {@code to}
   */
  default String listChangedBlocks(String from, String to) throws SmapiException {
    throw SmapiException.unimplemented("VDI.list_changed_blocks");
  }

  /**
   * What a tracked VDI has noted since the nearest of some VDIs before it: all that has changed in
   * a snapshot; in a disk all but what its own image holds. Empty when it is not tracked.
   *
   * @param ends locations of VDIs that may be the nearest
   */
  default Optional<ChangedBlocks> notedChanges(String vdi, Set<String> ends) throws SmapiException {
    return Optional.empty();
  }

  /**
   * Tracks the changed blocks of a VDI that is being made, with what was noted where it comes from.
   * Since what is noted the VDI's own image must hold all that is not.
   *
   * @return false where this VDI cannot be tracked; it is not, then
   */
  default boolean takeUpChanges(String vdi, ChangedBlocks noted) throws SmapiException {
    return false;
  }

  /**
   * Gives back the space of a snapshot whose changed blocks are to be known further on.
   *
   * @throws SmapiException VDI_NO_CBT_METADATA
   */
  default void dataDestroy(String vdi) throws SmapiException {
    throw SmapiException.unimplemented("VDI.data_destroy");
  }

  /** A snapshot that waits for its guest. One of its methods is to be called, once. */
  interface LiveSnapshot {
    /** The image that the guest has. */
    Path below();

    /** The image that the guest is to go on with, qcow2; the one it has is to be below. */
    Path file();

    /** The guest writes to the new image: the old one is the snapshot. */
    VdiInfo commit() throws SmapiException;

    /** The guest still writes to the old image, for certain. */
    void abandon();
  }

  /**
   * Begins to merge two images below a VDI that a guest writes: the guest is to do it. Empty when
   * there is nothing to merge, or not now.
   */
  default Optional<GuestMerge> beginGuestMerge(String vdi) throws SmapiException {
    return Optional.empty();
  }

  /** Merges that were begun and not ended, those of a server before this one included. */
  default List<GuestMerge> guestMerges() throws SmapiException {
    return List.of();
  }

  /** Calls somebody, who must not block, when there may be something to merge below a guest. */
  default void onMergeable(Runnable listener) {}

  /**
   * Calls somebody, who may block and use this SR, after images that no guest has were merged: what
   * VDIs take up and rest on is another than before.
   */
  default void onMerged(Runnable listener) {}

  /**
   * Two images that become one while a guest has them: the upper one's content is written into the
   * lower one, and the guest goes on without the upper one. Whoever wants one of the VDIs waits for
   * the end, which is {@link #finish} or {@link #abandon}.
   */
  interface GuestMerge {
    /** The VDI that the guest writes. */
    String vdi();

    Path upper();

    /** In the same directory. */
    Path lower();

    /** Whether the upper one is the image that the guest writes. */
    boolean isOwn();

    /** Whether somebody waits for the end. */
    boolean isCancelled();

    boolean isDecided();

    /**
     * Where it stands on stable storage that it is decided.
     *
     * @param file of properties that is replaced as a whole
     * @param value of the key, from {@link #decide} to the end; no other merge has the key before
     *     this one's end
     */
    record Decision(Path file, String key, String value) {}

    /** For whoever acts on it when this process is gone. */
    Decision decision();

    /**
     * Everything is in the lower image, flushed, and nothing is being written to the upper one:
     * after a crash without a guest the upper one goes.
     */
    void decide() throws SmapiException;

    /** The guest has no longer the upper image, or is gone since it was decided. */
    void finish() throws SmapiException;

    /** The guest still has both, for certain, or is gone and nothing was decided. */
    void abandon() throws SmapiException;
  }

  /**
   * Grows a VDI.
   *
   * @return the new size, rounded up
   */
  long resize(String vdi, long newSize) throws SmapiException;

  /** Takes a volume that is in the SR already into its books. */
  VdiInfo introduce(String uuid, Map<String, String> smConfig, String location)
      throws SmapiException;

  /** Changes the record of a VDI. */
  VdiInfo update(String vdi, Change change) throws SmapiException;

  /** VDIs of the same content first; nothing that is known to differ. */
  List<VdiInfo> similarContent(String vdi) throws SmapiException;

  List<Implementation> attachVdi(String vdi, boolean writable) throws SmapiException;

  /**
   * As {@link #attachVdi}, for a guest of before this server's start that has it open: waits for
   * nobody who works with the images, since that one waits for the guest to be known.
   */
  void resumeVdi(String vdi, boolean writable) throws SmapiException;

  /** From now on a guest may use it; when writable its content id is no longer true. */
  void activate(String vdi, boolean writable) throws SmapiException;

  void deactivate(String vdi) throws SmapiException;

  void detachVdi(String vdi) throws SmapiException;

  /** The VDI as a block backend, for copies and targets within this process. */
  BlockBackend open(String vdi, boolean writable) throws SmapiException;

  /** The file of the VDI's image, whatever its format. */
  Optional<Path> path(String vdi) throws SmapiException;

  /**
   * A raw file or device that a target can serve; empty if there is none. It is there until {@link
   * #endExport}, also after a restart.
   */
  default Optional<Path> beginExport(String vdi) throws SmapiException {
    return path(vdi);
  }

  /** No target serves the VDI any more: afterwards its image is closed. Idempotent. */
  default void endExport(String vdi) throws SmapiException {}

  /** A change of a record. */
  @FunctionalInterface
  interface Change {
    VdiInfo of(VdiInfo before);
  }
}
