package io.xenferry.server.migration;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Extent;
import io.xenferry.block.Range;
import io.xenferry.copy.SourceDisk;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/** The disk of a VM that does not run: one pass with everything allocated, then nothing. */
final class FrozenDisk implements SourceDisk {
  private final String name;
  private final BlockBackend content;
  private final Optional<List<Range>> changes;
  private boolean handedOut;

  private FrozenDisk(String name, BlockBackend content, Optional<List<Range>> changes) {
    this.changes = changes;
    this.name = name;
    this.content = content;
  }

  /**
   * @param name by which the copy job calls it
   * @param content is closed with it
   * @param changes what is to be sent of it; empty for all that is allocated
   */
  static FrozenDisk of(String name, BlockBackend content, Optional<List<Range>> changes) {
    return new FrozenDisk(name, content, changes);
  }

  /** Nothing of it is to be sent but what the log of an earlier copy has. */
  FrozenDisk allHandedOut() {
    handedOut = true;
    return this;
  }

  /** All that is allocated of a disk. */
  static FrozenDisk of(String name, BlockBackend content) {
    return of(name, content, Optional.empty());
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long size() {
    return content.size();
  }

  @Override
  public boolean isWhole() {
    return changes.isEmpty();
  }

  @Override
  public CompletableFuture<Pass> beginPass() {
    if (handedOut) {
      return CompletableFuture.completedFuture(new Whole(List.of()));
    }
    handedOut = true;
    if (changes.isPresent()) {
      return CompletableFuture.completedFuture(new Whole(changes.get()));
    }
    List<Range> ranges = new ArrayList<>();
    return allocated(0, ranges).thenApply(done -> new Whole(ranges));
  }

  private CompletableFuture<Void> allocated(long offset, List<Range> ranges) {
    if (offset >= content.size()) {
      return CompletableFuture.completedFuture(null);
    }
    return content
        .extents(offset, content.size() - offset)
        .thenCompose(extents -> {
          for (Extent extent : extents) {
            if (!extent.zero()) {
              ranges.add(new Range(extent.offset(), extent.length()));
            }
          }
          return allocated(extents.getLast().end(), ranges);
        });
  }

  @Override
  public CompletableFuture<Long> dirtyBytes() {
    return CompletableFuture.completedFuture(0L);
  }

  @Override
  public void close() {
    content.close();
  }

  private final class Whole implements Pass {
    private final List<Range> ranges;

    Whole(List<Range> ranges) {
      this.ranges = ranges;
    }

    @Override
    public BlockBackend content() {
      return content;
    }

    @Override
    public List<Range> ranges() {
      return ranges;
    }

    @Override
    public CompletableFuture<Void> end(boolean done) {
      if (!done) {
        handedOut = false;
      }
      return CompletableFuture.completedFuture(null);
    }
  }
}
