package io.xenferry.guest;

import java.time.Duration;
import java.util.List;

/**
 * What the verifier found.
 *
 * @param acknowledged writes in the ledger
 * @param blocksChecked blocks of 4096 bytes that had to hold something, and were looked at
 * @param unacknowledged blocks that hold a whole later write which the ledger does not have: it was
 *     in flight when its guest was stopped the hard way
 * @param lostBlocks blocks that hold an older write, the fill, or zeroes instead of the last
 *     acknowledged write, or zeroes instead of the fill
 * @param corruptBlocks blocks that hold nothing that this guest can have written there
 * @param overlaps pairs of processes that ran the guest at the same time
 * @param handovers how often another process went on with the guest
 * @param longestDowntime between the standstill of one process and the start of the next
 * @param longestGap between two acknowledged writes, whatever the reason
 * @param examples some of what is wrong, in words
 */
public record Verdict(
    long acknowledged,
    long blocksChecked,
    long unacknowledged,
    long lostBlocks,
    long corruptBlocks,
    int overlaps,
    int handovers,
    Duration longestDowntime,
    Duration longestGap,
    List<String> examples) {

  public boolean good() {
    return lostBlocks == 0 && corruptBlocks == 0 && overlaps == 0;
  }
}
