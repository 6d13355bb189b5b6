package io.xenferry.simulation;

import java.util.Arrays;
import java.util.BitSet;

/**
 * A guest's memory: a few pages, each with the record that was last put into it, and which of them
 * a stream that goes out of it has still to send.
 */
final class SimMemory {
  private static final int PAGES = 4;

  /** Those that records are noted in; the others are written by a boot only. */
  private static final int NOTES = 3;

  private final long[] pages = new long[PAGES];
  private final BitSet unsent = new BitSet(PAGES);

  /** The guest notes a record. */
  void write(long record) {
    int page = (int) (record % NOTES);
    pages[page] = record;
    unsent.set(page);
  }

  /**
   * The guest begins anew: nothing that was in its memory is there any more.
   *
   * @param noted whether the hypervisor sees that, for a stream that is under way
   */
  void boot(long record, boolean noted) {
    Arrays.fill(pages, record);
    if (noted) {
      unsent.set(0, PAGES);
    }
  }

  /** A stream begins, with all pages; what is written afterwards is sent once more. */
  void send(SimMemory receiver) {
    unsent.set(0, PAGES);
    sendRest(receiver);
  }

  /** The stream goes on with what it has still to send. */
  void sendRest(SimMemory receiver) {
    for (int page = unsent.nextSetBit(0); page >= 0; page = unsent.nextSetBit(page + 1)) {
      receiver.pages[page] = pages[page];
    }
    unsent.clear();
  }

  boolean same(SimMemory other) {
    return Arrays.equals(pages, other.pages);
  }

  /** The last record that it knows of. */
  long newest() {
    return Arrays.stream(pages).max().orElseThrow();
  }
}
