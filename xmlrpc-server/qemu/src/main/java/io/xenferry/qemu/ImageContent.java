package io.xenferry.qemu;

import io.xenferry.block.Extent;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.Snapshots;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdUri;
import io.xenferry.nbd.StatusExtent;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A disk as the guest's own NBD server exports it, and where it holds something.
 *
 * @param content of all images of the disk; to be closed before the export is removed
 * @param ranges in ascending order
 */
record ImageContent(NbdClient content, List<Range> ranges) {
  private static final Logger log = LoggerFactory.getLogger(ImageContent.class);
  private static final String ALLOCATION_DEPTH = "qemu:allocation-depth";

  /**
   * Exports a disk; with no export left when it fails.
   *
   * @param id of the export, to be removed by the caller
   * @param size bytes of the disk
   * @param layers how many of the topmost images the ranges are about, zeroes included; 0 for all
   *     that does not read as zeroes
   */
  static ImageContent open(NbdExports exports, String id, String node, long size, int layers)
      throws Exception {
    exports.add(id, node, "", layers > 0);
    NbdClient.Options options = NbdClient.Options.DEFAULT;
    NbdClient content =
        connectOrRemove(exports, id, layers > 0 ? options.withContexts(ALLOCATION_DEPTH) : options);
    try {
      return new ImageContent(
          content, layers > 0 ? held(content, size, layers) : allocated(content, size));
    } catch (Exception e) {
      content.close();
      exports.remove(id);
      throw e;
    }
  }

  /** A disk that nobody writes; its export goes with the client. */
  static Snapshots.Content still(Monitor monitor, NbdExports exports, String node, int layers)
      throws HypervisorException, InterruptedException {
    String id = NbdExports.PREFIX + UUID.randomUUID() + "-" + node;
    try {
      ImageContent all = open(exports, id, node, BitmapSource.size(monitor, node), layers);
      return new Snapshots.Content(new Exported(all.content(), exports, id), all.ranges());
    } catch (HypervisorException | InterruptedException | RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new HypervisorException(Kind.REFUSED, node + " of the guest cannot be read", e);
    }
  }

  private static final class Exported extends ForwardingBackend {
    private final NbdExports exports;
    private final String id;

    Exported(NbdClient content, NbdExports exports, String id) {
      super(content);
      this.exports = exports;
      this.id = id;
    }

    @Override
    public void close() {
      super.close();
      try {
        exports.remove(id);
      } catch (HypervisorException e) {
        // With the process gone nothing is left; else the next copy clears it away.
        log.debug("export {} stays", id, e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private static List<Range> held(NbdClient content, long size, int layers) throws Exception {
    List<Range> ranges = new ArrayList<>();
    for (long at = 0; at < size; ) {
      for (StatusExtent extent : get(content.status(ALLOCATION_DEPTH, at, size - at))) {
        // The filter on top counts as well, but holds nothing; 0 is nowhere.
        if (extent.flags() > 0 && extent.flags() <= layers + 1) {
          add(ranges, extent.offset(), extent.length());
        }
        at = extent.end();
      }
    }
    return List.copyOf(ranges);
  }

  private static List<Range> allocated(NbdClient content, long size) throws Exception {
    List<Range> ranges = new ArrayList<>();
    for (long at = 0; at < size; ) {
      for (Extent extent : get(content.extents(at, size - at))) {
        if (!extent.zero()) {
          add(ranges, extent.offset(), extent.length());
        }
        at = extent.end();
      }
    }
    return List.copyOf(ranges);
  }

  private static void add(List<Range> ranges, long offset, long length) {
    if (!ranges.isEmpty() && ranges.getLast().end() == offset) {
      Range last = ranges.removeLast();
      ranges.add(new Range(last.offset(), last.length() + length));
    } else {
      ranges.add(new Range(offset, length));
    }
  }

  /** Connects to an export that is there; removes it when that fails. */
  static NbdClient connectOrRemove(NbdExports exports, String id, NbdClient.Options how)
      throws Exception {
    try {
      return NbdClient.connect(NbdUri.unix(exports.socket(), id), how);
    } catch (Exception e) {
      exports.remove(id);
      throw e;
    }
  }

  /** Waits for an answer of the guest's NBD server. */
  static <T> T get(CompletableFuture<T> future) throws Exception {
    try {
      return future.get(Monitor.DEADLINE.toNanos(), TimeUnit.NANOSECONDS);
    } catch (ExecutionException e) {
      throw e.getCause() instanceof Exception cause ? cause : e;
    } catch (TimeoutException e) {
      throw new HypervisorException(Kind.TIMEOUT, "the guest's NBD server does not answer", e);
    }
  }
}
