package io.xenferry.nbd;

/**
 * One extent of a metadata context.
 *
 * @param offset first byte
 * @param length bytes, 1 or more
 * @param flags as the context defines them; of {@code qemu:dirty-bitmap:NAME}, 1 is dirty
 */
public record StatusExtent(long offset, long length, int flags) {
  public static final int DIRTY = 1;

  public StatusExtent {
    if (offset < 0 || length <= 0) {
      throw new IllegalArgumentException("extent " + offset + "+" + length);
    }
  }

  public long end() {
    return offset + length;
  }
}
