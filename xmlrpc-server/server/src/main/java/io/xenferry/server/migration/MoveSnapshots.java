package io.xenferry.server.migration;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.Snapshots;
import io.xenferry.copy.SourceDisk;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.XenApiException;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.spi.Guest;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The snapshots by which a disk of a running VM is moved: taken through its SR, tagged with the
 * migration from the first moment on, removed as soon as the next one stands. Whatever becomes of
 * the migration, {@link #removeAll} finds those that are left by their tags, also after the server
 * was killed.
 *
 * <p>Everything happens on one thread, one after the other.
 */
final class MoveSnapshots implements Snapshots {
  private static final Logger log = LoggerFactory.getLogger(MoveSnapshots.class);

  /**
   * Before the migration's id in the tag: at the source, where the plain id means a destination.
   */
  private static final String TAG = "snapshot-";

  /**
   * In one move. Each leaves an image in the chain that is merged when no guest has the disk any
   * more; 30 passes and some minutes in which the memory goes.
   */
  private static final int MOST = 64;

  /** What may be under way ends by its own deadlines within that. */
  private static final Duration END_DEADLINE = Duration.ofSeconds(60);

  private final MigrationDisks disks;
  private final Taker taker;
  private final Guest guest;
  private final Plan.Disk disk;
  private final Optional<UUID> lower;
  private final String name;
  private final String tag;
  private final ExecutorService thread;

  /** Contents that are being closed. */
  private final Set<CompletableFuture<Void>> closing = ConcurrentHashMap.newKeySet();

  // Of the thread.
  private int number;

  /** What the disk's newest image took when nothing was written to it yet. */
  private long emptyBytes;

  /** Takes a snapshot of a disk that a guest writes. */
  @FunctionalInterface
  interface Taker {
    UUID take(String tag, UUID disk) throws XenApiException;
  }

  /**
   * @param lower what the disk rests on, which the destination gets as well
   */
  MoveSnapshots(
      MigrationDisks disks,
      Taker taker,
      Guest guest,
      MigrationId migration,
      Plan.Disk disk,
      Optional<UUID> lower) {
    this.disks = disks;
    this.taker = taker;
    this.guest = guest;
    this.disk = disk;
    this.lower = lower;
    this.tag = tag(migration);
    this.name = guest.vm() + "/" + disk.device();
    this.thread =
        Executors.newSingleThreadExecutor(Thread.ofVirtual().name("snapshots " + name).factory());
  }

  private static String tag(MigrationId migration) {
    return TAG + migration;
  }

  /**
   * The migration whose snapshot a tag says that a disk is; empty for other tags.
   *
   * @throws IllegalArgumentException when it names none
   */
  static Optional<MigrationId> migrationOf(String tag) {
    return tag.startsWith(TAG)
        ? Optional.of(MigrationId.parse(tag.substring(TAG.length())))
        : Optional.empty();
  }

  /** Removes every snapshot that a migration has left. Blocking; may be repeated. */
  static void removeAll(MigrationDisks disks, MigrationId migration) throws XenApiException {
    String tag = tag(migration);
    for (Map.Entry<UUID, String> left : disks.tagged().entrySet()) {
      if (left.getValue().equals(tag)) {
        disks.destroyTagged(left.getKey(), tag);
      }
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long size() {
    return disk.size();
  }

  @Override
  public boolean isWhole() {
    return lower.isEmpty();
  }

  private <T> CompletableFuture<T> run(Callable<T> task) {
    CompletableFuture<T> done = new CompletableFuture<>();
    try {
      thread.execute(() -> {
        try {
          done.complete(task.call());
        } catch (Exception | Error e) {
          done.completeExceptionally(e);
        }
      });
    } catch (RejectedExecutionException e) {
      done.completeExceptionally(new IllegalStateException(name + " is no longer offered", e));
    }
    return done;
  }

  @Override
  public CompletableFuture<String> take() {
    return run(() -> {
      if (number == MOST) {
        throw new IllegalStateException(
            name + " has had " + MOST + " snapshots: the VM writes more than can be copied");
      }
      number++;
      UUID taken = taker.take(tag, disk.vdi());
      emptyBytes = disks.ownBytes(disk.vdi());
      return taken.toString();
    });
  }

  @Override
  public CompletableFuture<Content> open(String snapshot, Optional<String> since) {
    return run(() -> {
      UUID vdi = UUID.fromString(snapshot);
      BlockBackend backend = disks.open(vdi);
      boolean open = false;
      try {
        Optional<UUID> below = since.map(UUID::fromString).or(() -> lower);
        Optional<List<Range>> changes =
            below.isPresent()
                ? Optional.of(disks.changesSince(vdi, below.get()))
                : Optional.empty();
        SourceDisk.Pass all = FrozenDisk.of(name, backend, changes).beginPass().get();
        open = true;
        return new Content(backend, all.ranges());
      } finally {
        if (!open) {
          backend.close();
        }
      }
    });
  }

  @Override
  public CompletableFuture<Content> openStill(String since) {
    return run(
        () -> guest.still(disk.device(), disks.layersAbove(disk.vdi(), UUID.fromString(since))));
  }

  @Override
  public CompletableFuture<Void> done(Content content) {
    CompletableFuture<Void> closed =
        CompletableFuture.runAsync(
            content.backend()::close, task -> Thread.ofVirtual().start(task));
    closing.add(closed);
    closed.whenComplete((done, failure) -> closing.remove(closed));
    return closed;
  }

  /** The image's tables count as well. */
  @Override
  public CompletableFuture<Long> written() {
    return run(() -> Math.max(0, disks.ownBytes(disk.vdi()) - emptyBytes));
  }

  @Override
  public CompletableFuture<Void> remove(String snapshot) {
    return this.<Void>run(
            () -> {
              disks.destroyTagged(UUID.fromString(snapshot), tag);
              return null;
            })
        .exceptionally(failure -> {
          log.info(
              "{}: snapshot {} stays until the copy ends: {}",
              name,
              snapshot,
              String.valueOf(failure));
          return null;
        });
  }

  @Override
  public void close() {
    thread.shutdown();
  }

  /**
   * Waits, after {@link #close}, until nothing is under way any more, and what is done with is
   * closed.
   *
   * @throws IOException when that takes too long
   */
  void awaitEnd() throws IOException, InterruptedException {
    if (!thread.awaitTermination(END_DEADLINE.toSeconds(), TimeUnit.SECONDS)) {
      throw new IOException(name + ": a snapshot is still under way");
    }
    try {
      CompletableFuture.allOf(closing.toArray(CompletableFuture[]::new))
          .get(END_DEADLINE.toSeconds(), TimeUnit.SECONDS);
    } catch (ExecutionException | TimeoutException e) {
      throw new IOException(name + ": a snapshot stays open", e);
    }
  }
}
