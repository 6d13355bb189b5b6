package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;

/**
 * A disk whose writes nobody notes, pass by pass: each pass freezes it in a snapshot and sends in
 * what that differs from the one of the pass before, which then is given back. The last pass, with
 * the guest standing still, reads the disk itself.
 *
 * <pre>
 *   pass 1     snapshot 1, all that is allocated
 *   pass n     snapshot n, what it has above snapshot n-1; then n-1 is given back
 *   last pass  the disk, what it has above the last snapshot
 * </pre>
 *
 * <p>A pass that is given back owes its ranges to the next one, which has them in its own, newer
 * snapshot. The last pass takes no step forward: should the guest go on, the next pass has all that
 * this one had, and what the guest has written since.
 */
public final class SnapshotSource implements SourceDisk {
  private final Snapshots snapshots;

  // Guarded by this.
  private Optional<String> base = Optional.empty();
  private List<Range> owed = List.of();

  /**
   * @param snapshots closed with it
   */
  public SnapshotSource(Snapshots snapshots) {
    this.snapshots = snapshots;
  }

  @Override
  public String name() {
    return snapshots.name();
  }

  @Override
  public long size() {
    return snapshots.size();
  }

  @Override
  public boolean isWhole() {
    return snapshots.isWhole();
  }

  /** A snapshot costs some hundred milliseconds, and an image more that the guest reads through. */
  @Override
  public boolean passesAreDear() {
    return true;
  }

  private synchronized Optional<String> base() {
    return base;
  }

  /** With what passes that were given back have had. */
  private synchronized List<Range> withOwed(List<Range> ranges) {
    return owed.isEmpty() ? ranges : union(owed, ranges);
  }

  static List<Range> union(List<Range> one, List<Range> other) {
    List<Range> union = new ArrayList<>();
    Stream.concat(one.stream(), other.stream())
        .sorted(Comparator.comparingLong(Range::offset))
        .forEach(range -> {
          if (union.isEmpty() || range.offset() > union.getLast().end()) {
            union.add(range);
          } else if (range.end() > union.getLast().end()) {
            Range last = union.removeLast();
            union.add(new Range(last.offset(), range.end() - last.offset()));
          }
        });
    return union;
  }

  @Override
  public CompletableFuture<Pass> beginPass() {
    return snapshots.take().thenCompose(this::begin);
  }

  private CompletableFuture<Pass> begin(String snapshot) {
    return snapshots
        .open(snapshot, base())
        .<Pass>thenApply(content -> new FrozenPass(snapshot, content))
        .exceptionallyCompose(failure ->
            snapshots
                .remove(snapshot)
                .thenCompose(removed -> CompletableFuture.failedFuture(failure)));
  }

  /** Before there is any snapshot it takes one: what came later could not be told from it. */
  @Override
  public CompletableFuture<Pass> beginLastPass() {
    Optional<String> since = base();
    return since.isEmpty()
        ? beginPass()
        : snapshots.openStill(since.get()).thenApply(StillPass::new);
  }

  @Override
  public CompletableFuture<Long> dirtyBytes() {
    return snapshots.written();
  }

  @Override
  public void close() {
    snapshots.close();
  }

  private final class FrozenPass implements Pass {
    private final String snapshot;
    private final Snapshots.Content content;
    private final List<Range> ranges;

    FrozenPass(String snapshot, Snapshots.Content content) {
      this.snapshot = snapshot;
      this.content = content;
      this.ranges = withOwed(content.ranges());
    }

    @Override
    public BlockBackend content() {
      return content.backend();
    }

    @Override
    public List<Range> ranges() {
      return ranges;
    }

    @Override
    public CompletableFuture<Void> end(boolean done) {
      Optional<String> before;
      synchronized (SnapshotSource.this) {
        before = base;
        base = Optional.of(snapshot);
        owed = done ? List.of() : ranges;
      }
      CompletableFuture<Void> closed = snapshots.done(content);
      return before.map(old -> closed.thenCompose(c -> snapshots.remove(old))).orElse(closed);
    }
  }

  private final class StillPass implements Pass {
    private final Snapshots.Content content;
    private final List<Range> ranges;

    StillPass(Snapshots.Content content) {
      this.content = content;
      this.ranges = withOwed(content.ranges());
    }

    @Override
    public BlockBackend content() {
      return content.backend();
    }

    @Override
    public List<Range> ranges() {
      return ranges;
    }

    @Override
    public CompletableFuture<Void> end(boolean done) {
      return snapshots.done(content);
    }
  }
}
