package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.model.XenApiException;
import io.xenferry.sr.ChangedBlocks;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Predicate;

/**
 * Disks as a migration needs them: created with a given uuid, tagged with the migration that made
 * them, opened for an export, destroyed. Blocking; repeating a call is no error.
 */
public interface MigrationDisks {

  /**
   * Checks without doing anything that new disks would fit: HANDLE_INVALID, SR_NOT_ATTACHED,
   * SR_DOES_NOT_SUPPORT_MIGRATION where none can be made, SR_FULL [requested, maximum] of each SR.
   *
   * @param bytesBySr bytes to be created in each SR; keys are references or uuids
   */
  void checkSpace(Survey survey, Map<String, Long> bytesBySr);

  /**
   * Checks that an SR makes disks of a format, and that they can be used as they will be.
   *
   * @param sr reference or uuid
   * @param vdi uuid of the disk that is to have it, for the error
   * @param format empty for the SR's own choice, which it can always make
   * @param opened whether the guest that is to open the disk can have one of a format
   * @throws XenApiException VDI_INCOMPATIBLE_TYPE [vdi, the format and what there is]
   */
  void checkFormat(String sr, UUID vdi, Optional<String> format, Predicate<String> opened)
      throws XenApiException;

  /**
   * Checks that an SR is not full: so that a write which failed for reasons unknown can be told
   * from a medium that is broken.
   *
   * @param vdis disks that are being filled
   * @throws XenApiException UUID_INVALID, SR_FULL [bytes that the disks do not occupy yet, bytes
   *     free]
   */
  void checkRoom(Collection<UUID> vdis) throws XenApiException;

  /**
   * Checks that the SR of a disk is not full, so that what a guest writes finds room while the disk
   * is copied by snapshots.
   *
   * @throws XenApiException UUID_INVALID, SR_NOT_ATTACHED, SR_SOURCE_SPACE_INSUFFICIENT
   */
  void requireRoomToWrite(UUID vdi) throws XenApiException;

  /**
   * Creates an empty disk that reads as zeroes.
   *
   * @param sr reference or uuid
   * @param tag names the migration; found again by a scan
   * @param format of the image; empty for the SR's own choice
   */
  default void create(String sr, UUID vdi, long bytes, String tag, Optional<String> format)
      throws XenApiException {
    create(sr, vdi, bytes, tag, format, Optional.empty());
  }

  /**
   * Creates a disk: a copy of one in the SR that may have much in common with it, where there is
   * one that nobody writes and that is copied soon, else an empty one.
   *
   * @param origin of what it descends; empty for an empty disk
   * @return whether it is a copy
   */
  boolean create(
      String sr, UUID vdi, long bytes, String tag, Optional<String> format, Optional<Origin> origin)
      throws XenApiException;

  /**
   * Of what a disk that comes descends.
   *
   * @param lineage the first of the VDIs as which it has moved, by its uuid there
   * @param base the one in the SR that it is to be a copy of; empty for whichever descends from the
   *     same
   */
  record Origin(UUID lineage, Optional<UUID> base) {}

  /**
   * A disk that is to come.
   *
   * @param sr reference or uuid
   * @param format that it must have; empty for any
   */
  record Coming(String sr, long bytes, Optional<String> format) {}

  /**
   * Checks that one disk at least could begin as a copy of a VDI.
   *
   * @param base its uuid
   * @throws XenApiException INVALID_VALUE [base, why not]
   */
  void checkBase(UUID base, Collection<Coming> disks) throws XenApiException;

  /**
   * Whether a disk that was created began as a copy.
   *
   * @throws XenApiException UUID_INVALID
   */
  boolean isCopy(UUID vdi) throws XenApiException;

  /** Removes the tag: the disk belongs to a VM now. */
  void adopt(UUID vdi) throws XenApiException;

  /**
   * Destroys a disk that still has the tag, also one that was made and never recorded; one without
   * the tag, or gone, is left alone.
   */
  void destroyTagged(UUID vdi, String tag) throws XenApiException;

  /**
   * Takes the tag from a disk whose move has come to nothing, so that it stays: the next one of the
   * same lineage goes on with it. Nothing happens to a disk without the tag, to one that next to
   * nothing was written to, to one of no lineage, where its SR is full, and where it fails.
   *
   * @param until when it goes, unless somebody has begun to use it
   */
  void keepAttempt(UUID vdi, String tag, Instant until) throws XenApiException;

  /**
   * What a disk that is to come need not have room for: what a kept one of its lineage takes up.
   *
   * @param sr reference or uuid
   */
  long thereOf(String sr, long bytes, Optional<String> format, Origin origin)
      throws XenApiException;

  /** Destroys the disks that were kept until now; what cannot be is tried again the next time. */
  void sweepAttempts(Instant now);

  /** Every disk with a tag on an attached SR, as the SR has it, and the tag; recorded or not. */
  Map<UUID, String> tagged();

  /**
   * Closes exports by their names; the names are asked about after all exports have been listed.
   */
  void closeExportsIf(Predicate<String> orphaned) throws IOException;

  /**
   * Destroys a disk, whoever made it, unless somebody uses it.
   *
   * @param formerUser a VM whose guest is gone: what it had of the disk is forgotten
   * @throws XenApiException VDI_IN_USE
   */
  void destroy(UUID vdi, UUID formerUser) throws XenApiException;

  /**
   * @throws XenApiException VDI_IN_USE when another VM, another host or a copy uses the disk now
   */
  void requireUsedOnlyBy(UUID vm, UUID vdi) throws XenApiException;

  /**
   * Opens a disk that no guest has for reading.
   *
   * @throws XenApiException UUID_INVALID, SR_NOT_ATTACHED, VDI_IN_USE
   */
  BlockBackend open(UUID vdi) throws XenApiException;

  /** Whether a disk can be snapshot while a guest writes it. */
  boolean isSnapshotWhileWritten(UUID vdi) throws XenApiException;

  /** Bytes that a disk's own image takes, without those on which it rests. */
  long ownBytes(UUID vdi) throws XenApiException;

  /** Which of the disks rest on which other of them, the nearest; those that rest on none not. */
  Map<UUID, UUID> layers(Collection<UUID> vdis) throws XenApiException;

  /** How many images a disk has above one on which it rests. */
  int layersAbove(UUID vdi, UUID lower) throws XenApiException;

  /** What a disk that no guest writes has above one on which it rests, zeroes included. */
  List<Range> changesSince(UUID vdi, UUID lower) throws XenApiException;

  /** Puts a disk on top of another one, both of them created and still empty. */
  void layer(UUID vdi, UUID lower) throws XenApiException;

  /** Notes with the SR's own records of what a disk is a snapshot, and when it was taken. */
  void noteSnapshot(UUID vdi, UUID of, Instant time) throws XenApiException;

  /**
   * What is noted of the changed blocks of those of the disks that are tracked, in each since the
   * nearest of the others of its SR.
   */
  Map<UUID, Tracked> tracked(Collection<UUID> vdis) throws XenApiException;

  /**
   * Tracks the changed blocks of a disk that is being made.
   *
   * @param tracked as it was where the disk comes from; what that does not hold since the other
   *     disk, the disk's own image here must
   * @return false where the SR cannot: then they are not tracked, and the disk's record says so
   */
  boolean track(UUID vdi, Tracked tracked) throws XenApiException;

  /** Notes that of a disk's content, which is not there, the changed blocks are known. */
  void noteEmptied(UUID vdi) throws XenApiException;

  /**
   * What is noted of a disk's changed blocks.
   *
   * @param since another disk; empty where nothing is known of what was before
   * @param noted since then; of a disk that is no snapshot without what its own image holds
   */
  record Tracked(Optional<UUID> since, ChangedBlocks noted) {}

  /**
   * The image of a disk.
   *
   * @throws XenApiException UUID_INVALID, SR_NOT_ATTACHED
   */
  Path image(UUID vdi) throws XenApiException;

  /**
   * Offers a disk under the given name and account.
   *
   * @return the URL with the account: a secret
   * @throws XenApiException VDI_IN_USE while a domain has it open
   */
  String export(UUID vdi, Transport transport, ExportName export) throws XenApiException;

  /**
   * An exported disk as its export shows it, beside whoever writes it: only to be read.
   *
   * @throws XenApiException UUID_INVALID, VDI_NOT_AVAILABLE when this server does not export it
   */
  BlockBackend exported(UUID vdi) throws XenApiException;

  /** The fence: no session can change the disk any more when this returns. */
  void closeExport(UUID vdi) throws XenApiException;

  /**
   * @param name for the target's name, and for ours where clients see another
   * @param account CHAP user
   * @param secret CHAP secret
   * @param initiator who alone may log in: an iSCSI name, or for {@link Transport#NBDS} the SHA-256
   *     of a certificate, which needs no account; empty for anybody
   */
  record ExportName(String name, String account, String secret, String initiator) {
    @Override
    public String toString() {
      return name;
    }
  }
}
