package io.xenferry.migration.peer;

import io.xenferry.copy.BlockHashes;
import io.xenferry.copy.Digest;
import io.xenferry.migration.state.Plan;
import java.util.Base64;
import java.util.List;
import java.util.UUID;

/**
 * What disks at the destination hold.
 *
 * @param based of an {@link PeerMessage.Open} that asked for it: the disks, by their uuids at the
 *     source, that began as copies of ones that were there, so that they may hold much already
 * @param hashes of {@link PeerMessage.Digests}: {@link BlockHashes#write} in base64; else empty
 */
public record Holdings(List<UUID> based, String hashes) {
  public static final Holdings NONE = new Holdings(List.of(), "");

  public Holdings {
    based = List.copyOf(based);
    if (based.size() > Plan.MAX_DISKS) {
      throw new IllegalArgumentException(based.size() + " disks");
    }
  }

  public static Holdings based(List<UUID> disks) {
    return new Holdings(disks, "");
  }

  public static Holdings of(BlockHashes told) {
    return new Holdings(List.of(), Base64.getEncoder().encodeToString(told.write()));
  }

  /**
   * The hashes.
   *
   * @param most blocks that were asked about
   * @param digest that was asked for
   * @throws IllegalArgumentException when there are none, or they make no sense
   */
  public BlockHashes told(int most, Digest digest) {
    return BlockHashes.read(Base64.getDecoder().decode(hashes), most, digest);
  }
}
