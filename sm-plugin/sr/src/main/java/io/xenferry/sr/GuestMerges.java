package io.xenferry.sr;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Merges of images that guests have open. Whoever knows the guests does them; here stands what is
 * under way, and that it gives way to whoever wants one of the volumes. Guarded by the repository's
 * lock.
 */
final class GuestMerges {
  private static final Logger log = LoggerFactory.getLogger(GuestMerges.class);
  private static final long PATIENCE_SECONDS = 60;

  private final String sr;
  private final VolumeChains chains;
  private final ReentrantLock lock;
  private final Condition ended;
  private final Runnable onEnd;
  private final List<UnderWay> current = new ArrayList<>();

  /**
   * @param onEnd called with the lock held
   */
  GuestMerges(String sr, VolumeChains chains, ReentrantLock lock, Runnable onEnd) {
    this.sr = sr;
    this.chains = chains;
    this.lock = lock;
    this.ended = lock.newCondition();
    this.onEnd = onEnd;
    chains.unsettledJoins().forEach(join -> current.add(new UnderWay(join)));
  }

  /** What {@link #begin} began, and what a process before this one has left. */
  List<StorageRepository.GuestMerge> current() {
    return List.copyOf(current);
  }

  /** Whether the volume is part of one. */
  boolean has(String vdi) {
    return current.stream().anyMatch(merge -> merge.has(vdi));
  }

  /** Begins one below a volume that a guest writes, if there is something to merge. */
  Optional<StorageRepository.GuestMerge> begin(String vdi, Predicate<String> used, boolean pinned)
      throws IOException {
    if (has(vdi)) {
      return Optional.empty();
    }
    Optional<VolumeChains.Join> join =
        chains.beginJoin(vdi, other -> used.test(other) || has(other), pinned);
    if (join.isEmpty()) {
      return Optional.empty();
    }
    UnderWay merge = new UnderWay(join.get());
    current.add(merge);
    return Optional.of(merge);
  }

  /** Returns when the volume is part of none; gives the lock up meanwhile. */
  void giveWay(String vdi) throws SmapiException {
    try {
      long nanos = TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
      while (has(vdi)) {
        current.stream().filter(merge -> merge.has(vdi)).forEach(merge -> merge.cancelled = true);
        if (nanos <= 0) {
          throw SmapiException.failure(
              SmError.VDI_IN_USE, "images of the VDI are being merged under a guest");
        }
        nanos = ended.awaitNanos(nanos);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw SmapiException.cancelled(vdi).withCause(e);
    }
  }

  private final class UnderWay implements StorageRepository.GuestMerge {
    private final VolumeChains.Join join;
    private volatile boolean cancelled;

    UnderWay(VolumeChains.Join join) {
      this.join = join;
    }

    boolean has(String vdi) {
      return join.volume().equals(vdi) || join.volumes().contains(vdi);
    }

    @Override
    public String vdi() {
      return join.volume();
    }

    @Override
    public Path upper() {
      return join.upper();
    }

    @Override
    public Path lower() {
      return join.lower();
    }

    @Override
    public boolean isOwn() {
      return join.isOwn();
    }

    @Override
    public boolean isCancelled() {
      return cancelled;
    }

    @Override
    public boolean isDecided() {
      lock.lock();
      try {
        return join.isDecided();
      } finally {
        lock.unlock();
      }
    }

    @Override
    public Decision decision() {
      return join.decision();
    }

    @Override
    public void decide() throws SmapiException {
      lock.lock();
      try {
        join.decide();
      } catch (IOException e) {
        throw failed(e);
      } finally {
        lock.unlock();
      }
    }

    @Override
    public void finish() throws SmapiException {
      end(join::finish);
    }

    @Override
    public void abandon() throws SmapiException {
      end(join::undo);
    }

    /**
     * What fails here is ended when the SR is next attached; the volumes stay locked until then.
     */
    private void end(Ending how) throws SmapiException {
      lock.lock();
      try {
        how.run();
        current.remove(this);
        onEnd.run();
      } catch (IOException e) {
        log.warn("SR {}: the end of a merge of {} is not noted", sr, join.volumes(), e);
        throw failed(e);
      } finally {
        ended.signalAll();
        lock.unlock();
      }
    }

    private SmapiException failed(IOException e) {
      return SmapiException.failure(SmError.METADATA, sr + ": " + e.getMessage()).withCause(e);
    }
  }

  private interface Ending {
    void run() throws IOException;
  }
}
