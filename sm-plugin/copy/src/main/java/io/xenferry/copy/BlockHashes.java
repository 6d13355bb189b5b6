package io.xenferry.copy;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What consecutive blocks of a disk hold, told by a {@link Digest} of each, or that they hold
 * nothing but zeroes. Immutable.
 */
public final class BlockHashes {
  private static final byte DATA = 1;
  private static final byte ZEROES = 0;

  private final int count;
  private final Map<Integer, byte[]> data;

  private BlockHashes(int count, Map<Integer, byte[]> data) {
    this.count = count;
    this.data = data;
  }

  /** Of so many blocks; what is not told of is zeroes. */
  static BlockHashes of(int count, Map<Integer, byte[]> data) {
    return new BlockHashes(count, Map.copyOf(data));
  }

  /** How many blocks there are. */
  public int count() {
    return count;
  }

  /** The hash of a block, from 0; empty for zeroes. */
  public Optional<byte[]> of(int block) {
    if (block < 0 || block >= count) {
      throw new IndexOutOfBoundsException(block + " of " + count);
    }
    return Optional.ofNullable(data.get(block)).map(byte[]::clone);
  }

  /** Whether a block holds what was hashed. */
  public boolean holds(int block, Optional<byte[]> hash) {
    byte[] here = data.get(block);
    return here == null ? hash.isEmpty() : hash.isPresent() && Arrays.equals(here, hash.get());
  }

  // ---- over the wire: 1 and a hash for a block, or 0 and how many blocks of zeroes there are

  /**
   * A byte and a digest for a block of data, and five for any number of blocks of zeroes in a row.
   */
  public byte[] write() {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    for (int block = 0; block < count; ) {
      byte[] hash = data.get(block);
      if (hash != null) {
        bytes.write(DATA);
        bytes.writeBytes(hash);
        block++;
      } else {
        int end = block + 1;
        while (end < count && !data.containsKey(end)) {
          end++;
        }
        bytes.write(ZEROES);
        bytes.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(end - block).array());
        block = end;
      }
    }
    return bytes.toByteArray();
  }

  /**
   * Reads what {@link #write} has written.
   *
   * @param most blocks that were asked about
   * @param digest that was asked for
   * @throws IllegalArgumentException for anything else, none, and more than were asked about
   */
  public static BlockHashes read(byte[] bytes, int most, Digest digest) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    Map<Integer, byte[]> data = new HashMap<>();
    int count = 0;
    while (in.hasRemaining()) {
      byte kind = in.get();
      if (kind == DATA && in.remaining() >= digest.bytes()) {
        byte[] hash = new byte[digest.bytes()];
        in.get(hash);
        data.put(count, hash);
        count++;
      } else if (kind == ZEROES && in.remaining() >= Integer.BYTES) {
        int run = in.getInt();
        if (run <= 0 || run > most - count) {
          throw new IllegalArgumentException(run + " blocks of zeroes");
        }
        count += run;
      } else {
        throw new IllegalArgumentException("no hashes of blocks");
      }
    }
    if (count == 0 || count > most) {
      throw new IllegalArgumentException(count + " blocks of " + most);
    }
    return new BlockHashes(count, data);
  }
}
