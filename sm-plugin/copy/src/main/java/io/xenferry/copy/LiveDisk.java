package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Extent;
import io.xenferry.block.Range;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * A block backend as the source: one that nobody writes, or whose every writer passes the
 * write-ordering point. The first pass has what is allocated; later ones have nothing, since the
 * point itself knows what became dirty.
 */
public final class LiveDisk implements SourceDisk {
  private final String name;
  private final BlockBackend backend;
  private boolean handedOut;

  /**
   * @param backend stays the caller's to close
   */
  public LiveDisk(String name, BlockBackend backend) {
    this(name, backend, false);
  }

  /**
   * @param resumed whether the dirty log of an earlier life has all that is left to send
   */
  public LiveDisk(String name, BlockBackend backend, boolean resumed) {
    this.name = name;
    this.backend = backend;
    this.handedOut = resumed;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long size() {
    return backend.size();
  }

  @Override
  public CompletableFuture<Pass> beginPass() {
    if (handedOut) {
      return CompletableFuture.completedFuture(new Running(List.of(), false));
    }
    return allocated(0, new ArrayList<>())
        .thenApply(ranges -> {
          handedOut = true;
          return new Running(ranges, true);
        });
  }

  private CompletableFuture<List<Range>> allocated(long from, List<Range> found) {
    if (from >= backend.size()) {
      return CompletableFuture.completedFuture(found);
    }
    return backend
        .extents(from, backend.size() - from)
        .thenCompose(extents -> {
          long at = from;
          for (Extent extent : extents) {
            long begin = Math.max(extent.offset(), from);
            long end = Math.min(extent.end(), backend.size());
            if (!extent.zero() && end > begin) {
              append(found, begin, end);
            }
            at = Math.max(at, end);
          }
          if (at == from) { // told nothing: take it for data
            append(found, from, backend.size());
            at = backend.size();
          }
          return allocated(at, found);
        });
  }

  private static void append(List<Range> found, long begin, long end) {
    if (!found.isEmpty() && found.getLast().end() == begin) {
      Range last = found.removeLast();
      found.add(new Range(last.offset(), end - last.offset()));
    } else {
      found.add(new Range(begin, end - begin));
    }
  }

  @Override
  public CompletableFuture<Long> dirtyBytes() {
    return CompletableFuture.completedFuture(0L);
  }

  @Override
  public void close() {}

  private final class Running implements Pass {
    private final List<Range> ranges;
    private final boolean first;

    Running(List<Range> ranges, boolean first) {
      this.ranges = ranges;
      this.first = first;
    }

    @Override
    public BlockBackend content() {
      return backend;
    }

    @Override
    public List<Range> ranges() {
      return ranges;
    }

    @Override
    public CompletableFuture<Void> end(boolean done) {
      if (first && !done) {
        handedOut = false;
      }
      return CompletableFuture.completedFuture(null);
    }
  }
}
