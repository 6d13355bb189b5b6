package io.xenferry.server.storage;

import io.xenferry.server.task.Task;
import io.xenferry.spi.Guest;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.ImageMerging;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.StorageRepository.GuestMerge;
import java.time.Duration;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One merge of two images under a guest.
 *
 * <ol>
 *   <li>The guest's hypervisor writes the upper image into the lower one. A crash does no harm: the
 *       upper one hides what is half written.
 *   <li>It holds: everything is written, and no write of the guest's goes to the upper image. Then
 *       the lower one is flushed, so that from here on either image is right.
 *   <li>The SR's books say that the upper one goes.
 *   <li>The hypervisor lets go of it, held writes go on, and its file is removed.
 * </ol>
 *
 * Whoever comes after a crash asks the guest, as long as it is there, and believes the books when
 * it is gone: nothing has been written to the lower image alone before they said so. A guest whose
 * writes wait is let go on by its watchdog, which believes the books as well.
 */
final class LiveMerge {
  private static final Logger log = LoggerFactory.getLogger(LiveMerge.class);

  private static final Duration LOOK = Duration.ofMillis(100);
  private static final Duration LOOK_CLOSELY = Duration.ofMillis(5);

  /**
   * What is left is to shrink within this time, else the limit is lifted, and then it is given up.
   */
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  private final GuestMerge merge;
  private final String device;
  private final Guest guest;

  /**
   * @param device of the guest, that has the images
   */
  LiveMerge(GuestMerge merge, String device, Guest guest) {
    this.merge = merge;
    this.device = device;
    this.guest = guest;
  }

  private ImageMerging merging() throws HypervisorException {
    return guest
        .merging()
        .orElseThrow(() -> new HypervisorException(Kind.REFUSED, "its disks have one image each"));
  }

  /**
   * Does it.
   *
   * @param bytesPerSecond limit; 0 for none
   * @param stop whether to give it up
   * @return false when it was given up, or the guest has ended, with both images as before
   * @throws HypervisorException why it failed; both images are as before
   */
  boolean run(long bytesPerSecond, Task task, BooleanSupplier stop)
      throws HypervisorException, SmapiException, InterruptedException {
    try {
      merging().begin(device, merge.upper(), merge.lower(), bytesPerSecond);
      if (copied(task, () -> stop.getAsBoolean() || merge.isCancelled() || task.cancelled())) {
        if (!merge.isOwn()) {
          // Of the image that the guest writes the hypervisor does so by itself before it holds.
          merging().flush(device, merge.lower());
        }
        merge.decide();
        merging().finish(device);
      }
      return settle();
    } catch (HypervisorException | SmapiException e) {
      if (settle()) {
        log.info("{} is merged although: {}", merge.upper(), e.toString());
        return true;
      }
      if (guest.state() == Guest.State.GONE) {
        return false;
      }
      throw e;
    }
  }

  /** Waits until it holds; false when it is to be given up. */
  private boolean copied(Task task, BooleanSupplier stop)
      throws HypervisorException, InterruptedException {
    Pace pace = new Pace();
    boolean asked = false;
    while (!stop.getAsBoolean()) {
      ImageMerging.Progress now = merging().progress(device);
      switch (now.phase()) {
        case COPYING -> {
          task.progress(now.total() == 0 ? 0 : 0.98 * now.done() / now.total());
          pace.look(now);
        }
        case CONVERGED -> {
          if (!asked) {
            merging().hold(device, decision());
            asked = true;
          }
        }
        case HELD -> {
          return true;
        }
        case NONE, FAILED ->
            throw new HypervisorException(
                Kind.REFUSED, "the merge ended: " + (now.error().isEmpty() ? "?" : now.error()));
      }
      Thread.sleep(asked ? LOOK_CLOSELY : LOOK);
    }
    return false;
  }

  /** Only of the image that the guest writes it waits for us. */
  private Optional<ImageMerging.Decision> decision() {
    GuestMerge.Decision noted = merge.decision();
    return merge.isOwn()
        ? Optional.of(new ImageMerging.Decision(noted.file(), noted.key(), noted.value()))
        : Optional.empty();
  }

  /** A guest may write faster than the limit lets the merge follow, or than its disk does. */
  private final class Pace {
    private long least = Long.MAX_VALUE;
    private long shrunk = System.nanoTime();
    private boolean lifted;

    void look(ImageMerging.Progress now) throws HypervisorException, InterruptedException {
      long left = now.total() - now.done();
      if (left < least) {
        least = left;
        shrunk = System.nanoTime();
      } else if (System.nanoTime() - shrunk > PATIENCE.toNanos()) {
        if (lifted) {
          throw new HypervisorException(Kind.REFUSED, "the guest writes faster than its disk");
        }
        merging().limit(device, 0);
        lifted = true;
        shrunk = System.nanoTime();
      }
    }
  }

  /**
   * Ends what is left of it.
   *
   * @return whether the images are one
   * @throws HypervisorException when the guest does not say what it has: then both stay, and nobody
   *     else can have them
   */
  boolean settle() throws HypervisorException, SmapiException, InterruptedException {
    try {
      if (guest.state() == Guest.State.GONE) {
        return settleWithoutGuest(merge);
      }
      if (!merge.isDecided()) {
        merging().cancel(device);
        merge.abandon();
        return false;
      }
      if (merging().progress(device).phase() == ImageMerging.Phase.HELD) {
        merging().finish(device);
      }
      if (merging().has(device, merge.upper())) {
        log.error("the guest of VM {} keeps {} though it was told", guest.vm(), merge.upper());
        merging().cancel(device);
        merge.abandon();
        return false;
      }
      // A server that died between the end of the hypervisor's job and its noting it leaves the
      // job.
      merging().cancel(device);
      merge.finish();
      return true;
    } catch (HypervisorException e) {
      if (e.kind() == Kind.GONE) {
        return settleWithoutGuest(merge);
      }
      throw e;
    }
  }

  /** The guest is gone for certain: the books are right. */
  static boolean settleWithoutGuest(GuestMerge merge) throws SmapiException {
    if (merge.isDecided()) {
      merge.finish();
      return true;
    }
    merge.abandon();
    return false;
  }
}
