package io.xenferry.sr;

import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Merges images that are nobody's own into those above them, one after the other, in the
 * background. A merge gives way to whoever wants to use one of its volumes, and is done again when
 * volumes are given back. Guarded by the repository's lock.
 */
final class ChainMerging {
  private static final Logger log = LoggerFactory.getLogger(ChainMerging.class);
  private static final long PATIENCE_SECONDS = 60;

  private final String sr;
  private final VolumeChains chains;
  private final Predicate<String> used;
  private final Predicate<String> pinned;
  private final ReentrantLock lock;
  private final Condition ended;
  private final Runnable onMerged;
  private Optional<VolumeChains.Merge> current = Optional.empty();
  private boolean working;
  private boolean stopped;

  /**
   * @param used whether a volume must not be touched now
   * @param pinned whether a volume's own image must stay what it is
   * @param onMerged called after each merge, without the lock; the next one waits for it
   */
  ChainMerging(
      String sr,
      VolumeChains chains,
      Predicate<String> used,
      Predicate<String> pinned,
      ReentrantLock lock,
      Runnable onMerged) {
    this.sr = sr;
    this.chains = chains;
    this.used = used;
    this.pinned = pinned;
    this.lock = lock;
    this.ended = lock.newCondition();
    this.onMerged = onMerged;
  }

  /** Looks soon whether there is something to merge. */
  void wake() {
    if (!working && !stopped) {
      working = true;
      Thread.ofVirtual().name("merge " + sr).start(this::work);
    }
  }

  /** Returns when nothing that the volume rests on is being merged; gives the lock up meanwhile. */
  void giveWay(String vdi) throws SmapiException {
    try {
      long nanos = TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
      while (current.isPresent() && current.get().volumes().contains(vdi)) {
        current.get().cancel();
        if (nanos <= 0) {
          throw SmapiException.failure(SmError.VDI_IN_USE, "images of the VDI are being merged");
        }
        nanos = ended.awaitNanos(nanos);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw SmapiException.cancelled(vdi).withCause(e);
    }
  }

  /** Ends all work; none begins any more. */
  void stop() {
    stopped = true;
    while (working) {
      current.ifPresent(VolumeChains.Merge::cancel);
      ended.awaitUninterruptibly();
    }
  }

  private void work() {
    while (true) {
      Optional<VolumeChains.Merge> next = begin();
      if (next.isEmpty()) {
        return;
      }
      boolean done = false;
      try {
        next.get().run();
        done = true;
      } catch (IOException e) {
        log.info("SR {}: a merge of {} waits: {}", sr, next.get().volumes(), e.getMessage());
      }
      if (!end(next.get(), done)) {
        return;
      }
      tell();
    }
  }

  private void tell() {
    try {
      onMerged.run();
    } catch (RuntimeException e) {
      // Whoever stops this waits for the end of the work.
      log.warn("SR {}: nobody was told of a merge", sr, e);
    }
  }

  private Optional<VolumeChains.Merge> begin() {
    lock.lock();
    try {
      if (!stopped) {
        current = chains.beginMerge(used, pinned);
      }
      return current;
    } catch (IOException e) {
      log.warn("SR {}: its images are left as they are", sr, e);
      return Optional.empty();
    } finally {
      if (current.isEmpty()) {
        working = false;
        ended.signalAll();
      }
      lock.unlock();
    }
  }

  private boolean end(VolumeChains.Merge merge, boolean done) {
    lock.lock();
    try {
      current = Optional.empty();
      if (done) {
        merge.finish();
      }
      working = done;
      return done;
    } catch (IOException e) {
      log.warn("SR {}: a merge is ended when the SR is next attached", sr, e);
      working = false;
      return false;
    } finally {
      ended.signalAll();
      lock.unlock();
    }
  }
}
