package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.Extent;
import io.xenferry.block.Range;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/** Where a disk may hold other than zeroes, asked for from its start to its end. */
final class DataCursor {
  private final BlockBackend disk;
  private final long patienceMillis;
  private final ArrayDeque<Extent> ahead = new ArrayDeque<>();
  private long covered;

  DataCursor(BlockBackend disk, long patienceMillis) {
    this.disk = disk;
    this.patienceMillis = patienceMillis;
  }

  /**
   * The parts of a range that are not known to read as zeroes; blocks.
   *
   * @param from not before that of the previous call
   */
  List<Range> dataIn(long from, long end) throws BlockException, InterruptedException {
    while (!ahead.isEmpty() && ahead.peek().end() <= from) {
      ahead.remove();
    }
    covered = Math.max(covered, from);
    while (covered < end) {
      for (Extent extent :
          BlockRequests.await(disk.extents(covered, disk.size() - covered), patienceMillis)) {
        ahead.add(extent);
        covered = extent.end();
      }
    }
    List<Range> data = new ArrayList<>();
    for (Extent extent : ahead) {
      long first = Math.max(from, extent.offset());
      long last = Math.min(end, extent.end());
      if (!extent.zero() && first < last) {
        data.add(new Range(first, last - first));
      }
    }
    return data;
  }
}
