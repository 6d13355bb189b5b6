package io.xenferry.migration.peer;

import io.xenferry.copy.Digest;
import io.xenferry.migration.state.Plan;
import java.util.List;
import java.util.UUID;

/**
 * What one server says to another about one migration; each is idempotent, and may arrive late,
 * twice or never.
 */
public sealed interface PeerMessage {

  /** Whether there is no key yet: the token alone says who asks. */
  default boolean byToken() {
    return this instanceof Open || this instanceof Check || this instanceof Turn;
  }

  /** The last part of the path; empty for {@link Open}. */
  default String verb() {
    return switch (this) {
      case Open open -> "";
      case Check check -> "check";
      case Turn turn -> "turn";
      case Heartbeat heartbeat -> "heartbeat";
      case StartGuest start -> "guest";
      case CloseExports close -> "close-exports";
      case Room room -> "room";
      case Reopen reopen -> "reopen";
      case Digests digests -> "digests";
      case Prepare prepare -> "prepare";
      case Commit commit -> "commit";
      case Abort abort -> "abort";
      case Status status -> "status";
      case Acknowledge acknowledge -> "acknowledge";
      case SourceStatus status -> "status";
    };
  }

  /**
   * Asks the destination to create and export everything.
   *
   * @param versions of this protocol that the source speaks
   * @param key 32 bytes in hex, made by the source for this migration; every later message is
   *     authenticated by it, so the client that carried the token cannot forge one
   * @param incarnation of the source's ledger
   * @param url where the source's server is reached
   * @param fingerprint of the source's certificate
   * @param metadata the VM's document, opaque here
   */
  record Open(
      List<Integer> versions,
      String key,
      UUID incarnation,
      String url,
      String fingerprint,
      Plan plan,
      String metadata)
      implements PeerMessage {

    /** Without the key. */
    @Override
    public String toString() {
      return "Open[plan=" + plan.vm() + ", url=" + url + "]";
    }
  }

  /**
   * Asks before anything is begun whether the destination could take the VM. Changes nothing and
   * uses nothing up: the token opens afterwards as before.
   *
   * @param versions of this protocol that the source speaks
   * @param metadata the VM's document, as {@link Open} will carry it
   */
  record Check(List<Integer> versions, Plan plan, String metadata) implements PeerMessage {

    /** Without the document. */
    @Override
    public String toString() {
      return "Check[plan=" + plan.vm() + "]";
    }
  }

  /**
   * Asks before {@link Open} whether it is this move's turn: whether the destination has a place
   * for one more. If so, that is kept for half a minute; nothing else changes.
   *
   * @param srs that the disks go to, by their references
   */
  record Turn(UUID vm, List<String> srs) implements PeerMessage {
    private static final int LONGEST = 256;

    public Turn {
      srs = List.copyOf(srs);
      if (srs.size() > Plan.MAX_DISKS || srs.stream().anyMatch(sr -> sr.length() > LONGEST)) {
        throw new IllegalArgumentException("more SRs than a VM has disks, or no references");
      }
    }
  }

  /** The source is alive and goes on. */
  record Heartbeat() implements PeerMessage {}

  /** Start the process that will receive the memory. */
  record StartGuest() implements PeerMessage {}

  /** Every byte is there: fence the exports and flush. */
  record CloseExports(List<UUID> disks) implements PeerMessage {}

  /**
   * A write was refused for reasons that the target did not make clear: is there still room for
   * what is to come?
   */
  record Room() implements PeerMessage {}

  /**
   * The source's server is another than before, and goes on: nothing that the one before it has
   * sent may take effect any more. Fences the exports and opens them anew.
   *
   * @param server names the source's server; done once for each
   */
  record Reopen(UUID server) implements PeerMessage {}

  /**
   * What does a disk hold? To be hashed there, and compared here.
   *
   * @param vdi uuid at the source
   * @param offset bytes, a multiple of the block size
   * @param length bytes, of {@value #MOST_BLOCKS} blocks at the most
   * @param blockSize bytes, a power of two from 512 to 16 MiB
   * @param digest of each block
   */
  record Digests(UUID vdi, long offset, long length, int blockSize, Digest digest)
      implements PeerMessage {
    /** As many as one asks about at once. */
    public static final int MOST_BLOCKS = 1 << 16;

    private static final int SMALLEST = 512;
    private static final int LARGEST = 16 << 20;

    public Digests {
      if (Integer.bitCount(blockSize) != 1
          || blockSize < SMALLEST
          || blockSize > LARGEST
          || offset < 0
          || offset % blockSize != 0
          || length <= 0
          || length > (long) MOST_BLOCKS * blockSize
          || offset > Long.MAX_VALUE - length) {
        throw new IllegalArgumentException(offset + "+" + length + " by " + blockSize);
      }
    }
  }

  /** Finish everything that can fail, and say READY. */
  record Prepare() implements PeerMessage {}

  /** The source's record is COMMITTING. */
  record Commit(UUID incarnation) implements PeerMessage {}

  /** The source has taken the VM back. */
  record Abort(UUID incarnation) implements PeerMessage {}

  /** How does it stand at the destination? */
  record Status() implements PeerMessage {}

  /** The source's own record of the outcome is durable. */
  record Acknowledge() implements PeerMessage {}

  /** Asked by the destination: how does it stand at the source? */
  record SourceStatus() implements PeerMessage {}
}
