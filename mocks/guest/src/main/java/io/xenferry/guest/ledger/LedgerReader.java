package io.xenferry.guest.ledger;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** Reads a ledger from its beginning, entry by entry. */
public final class LedgerReader {
  private static final int BATCH = 4096;

  private LedgerReader() {}

  /** Takes entries in the file's order. */
  @FunctionalInterface
  public interface Visitor {
    void visit(LedgerEntry entry) throws IOException;
  }

  /**
   * The longest time without an acknowledged write that touches an interval.
   *
   * @param from nanoseconds of {@link LedgerEntry#monotonic}
   * @param to likewise
   */
  public static Duration longestGap(Path ledger, long from, long to) throws IOException {
    List<Long> times = new ArrayList<>();
    read(
        ledger,
        entry -> {
          if (entry.type() == LedgerEntry.Type.WRITE) {
            times.add(entry.monotonic());
          }
        });
    times.sort(null);
    long longest = 0;
    long before = from;
    for (long time : times) {
      if (time <= from) {
        before = time;
      } else if (before < to) {
        longest = Math.max(longest, time - before);
        before = time;
      }
    }
    return Duration.ofNanos(Math.max(longest, to - before));
  }

  /**
   * Visits every whole entry; one cut off at the end was never acknowledged and does not count.
   *
   * @throws IOException when an entry in the middle is damaged
   */
  public static void read(Path ledger, Visitor visitor) throws IOException {
    try (FileChannel file = FileChannel.open(ledger, StandardOpenOption.READ)) {
      ByteBuffer buffer = LedgerEntry.buffer(BATCH);
      long at = 0;
      while (true) {
        buffer.clear();
        while (buffer.hasRemaining() && file.read(buffer, at + buffer.position()) >= 0) {
          // Until full, or the end.
        }
        int whole = buffer.position() / LedgerEntry.SIZE;
        for (int i = 0; i < whole; i++) {
          long here = at + (long) i * LedgerEntry.SIZE;
          visitor.visit(
              LedgerEntry.at(buffer, i * LedgerEntry.SIZE)
                  .orElseThrow(() -> new IOException(ledger + ": damaged at byte " + here)));
        }
        at += (long) whole * LedgerEntry.SIZE;
        if (whole < BATCH) {
          return;
        }
      }
    }
  }
}
