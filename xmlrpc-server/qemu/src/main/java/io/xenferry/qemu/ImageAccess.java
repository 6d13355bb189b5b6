package io.xenferry.qemu;

import io.xenferry.qemu.access.GuestFiles;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which images a guest's process may open: those that its disks and drives have, and only the
 * topmost of a disk for writing, but for a merge that is under way. What is given must be known to
 * the server; what the guest's process says is only believed of what it may have already. Callers
 * hold the lock of the guest's hardware where images are taken back.
 */
final class ImageAccess {
  private static final Logger log = LoggerFactory.getLogger(ImageAccess.class);

  private final Monitor monitor;
  private final GuestFiles files;
  private final DiskImages images;

  ImageAccess(Monitor monitor, GuestFiles files, DiskImages images) {
    this.monitor = monitor;
    this.files = files;
    this.images = images;
  }

  /** A disk's image, and what that rests on. */
  void allow(GuestSpec.Disk disk) throws HypervisorException {
    files.allowImage(disk.file(), disk.format(), !disk.readOnly());
  }

  void allow(GuestSpec.Medium medium) throws HypervisorException {
    files.allowImage(medium.file(), medium.format(), false);
  }

  /** An empty image on top of what a disk has now. */
  void allowNext(Path image) throws HypervisorException {
    // What it rests on the guest has.
    files.allowImage(image, "raw", true);
  }

  /** What a merge writes, until {@link #settle}. */
  void lend(String device, Path upper, Path lower)
      throws HypervisorException, InterruptedException {
    if (files.user().isPresent()) {
      files.allowMerge(images.of(device), upper, lower);
    }
  }

  /** What a disk writes now; empty when that is not known, or of no interest. */
  Optional<Path> written(GuestSpec spec, String device) throws InterruptedException {
    try {
      return files.user().isPresent() ? Optional.of(images.of(device)) : Optional.empty();
    } catch (HypervisorException e) {
      log.debug("{}: the image of {}", spec.name(), device, e);
      return spec.disks().stream()
          .filter(disk -> disk.device().equals(device))
          .map(GuestSpec.Disk::file)
          .findFirst();
    }
  }

  /**
   * What the guest has let go it may not have any more; its end takes back what is left.
   *
   * @param spec without it
   */
  void takeBack(GuestSpec spec, Path image) throws InterruptedException {
    Map<Path, String> used = new HashMap<>();
    for (GuestSpec.Disk disk : spec.disks()) {
      written(spec, disk.device()).ifPresent(file -> used.put(file, formatOf(file)));
    }
    for (GuestSpec.CdDrive drive : spec.drives()) {
      drive.medium().ifPresent(medium -> used.put(medium.file(), medium.format()));
    }
    try {
      files.takeBack(image, formatOf(image), used);
    } catch (HypervisorException e) {
      log.warn("{} still may have {}", spec.name(), image, e);
    }
  }

  /** SR drivers name their files by their format. */
  private static String formatOf(Path image) {
    return image.toString().endsWith(".qcow2") ? "qcow2" : "raw";
  }

  /**
   * After images have come or gone: what lies below others is only read. Its end takes back all.
   */
  void settle(GuestSpec spec) throws InterruptedException {
    try {
      if (files.user().isPresent() && !ImageMerges.isAnyUnderWay(monitor)) {
        Map<Path, String> written = new HashMap<>();
        for (GuestSpec.Disk disk : spec.disks()) {
          if (!disk.readOnly()) {
            Path image = images.of(disk.device());
            written.put(image, formatOf(image));
          }
        }
        files.settleImages(written);
      }
    } catch (HypervisorException e) {
      if (e.kind() != HypervisorException.Kind.GONE) {
        log.warn("{} still may write what lies below its images", spec.name(), e);
      }
    }
  }
}
