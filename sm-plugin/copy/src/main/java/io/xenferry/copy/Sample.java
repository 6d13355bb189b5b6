package io.xenferry.copy;

/**
 * Which blocks of a disk are verified: all, none, or each with some chance, which ones nobody knows
 * beforehand.
 */
record Sample(long seed, double share) {
  /** One block of so many, of a disk that has enough of them. */
  static final int ONE_OF = 64;

  /** Blocks at the least, as far as there are so many. */
  static final int LEAST = 1024;

  static final Sample NOTHING = new Sample(0, 0);
  static final Sample EVERYTHING = new Sample(0, 1);

  /**
   * @param blocks that are sent in the first pass
   */
  static Sample some(long seed, long blocks) {
    return new Sample(seed, Math.max(1.0 / ONE_OF, (double) LEAST / Math.max(1, blocks)));
  }

  boolean has(int block) {
    if (share >= 1 || share <= 0) {
      return share >= 1;
    }
    // The finaliser of MurmurHash3: neighbours have nothing to do with each other.
    long mixed = seed + block * 0x9E3779B97F4A7C15L;
    mixed = (mixed ^ (mixed >>> 33)) * 0xFF51AFD7ED558CCDL;
    mixed = (mixed ^ (mixed >>> 33)) * 0xC4CEB9FE1A85EC53L;
    mixed ^= mixed >>> 33;
    return (mixed >>> 11) * 0x1.0p-53 < share;
  }
}
