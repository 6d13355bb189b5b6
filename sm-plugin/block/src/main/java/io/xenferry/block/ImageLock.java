package io.xenferry.block;

import io.xenferry.block.BlockException.Kind;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps two writers off one image, QEMU among them.
 *
 * <p>Speaks QEMU's image locking (block/file-posix.c): a shared lock on byte 100+n says "I use
 * permission n", one on byte 200+n says "I do not share it"; n is 0 for consistent reads, 1 for
 * writes, 3 for resizing. A QEMU that writes the image refuses us and is refused by us; one that
 * waits for an incoming migration holds no locks yet. Other programs are not kept away.
 */
final class ImageLock {
  private static final Logger LOG = LoggerFactory.getLogger(ImageLock.class);

  private static final long USED = 100;
  private static final long UNSHARED = 200;
  private static final int CONSISTENT_READ = 0;
  private static final int WRITE = 1;
  private static final int RESIZE = 3;

  private ImageLock() {}

  /** Locks for a sole writer, for the life of the open files. */
  static void lockForWriting(String name, Optional<LinuxFile> linux, FileChannel channel)
      throws BlockException {
    if (linux.isEmpty()) {
      lockWhole(name, channel);
      return;
    }
    LinuxFile file = linux.get();
    boolean free =
        file.lockShared(USED + CONSISTENT_READ)
            && file.lockShared(USED + WRITE)
            && file.lockShared(UNSHARED + WRITE)
            && file.lockShared(UNSHARED + RESIZE)
            && !file.isLockedByOther(UNSHARED + CONSISTENT_READ)
            && !file.isLockedByOther(UNSHARED + WRITE)
            && !file.isLockedByOther(USED + WRITE)
            && !file.isLockedByOther(USED + RESIZE);
    if (!free) {
      throw inUse(name);
    }
  }

  /** Tells others that somebody reads, so that one who shares no reading keeps away. */
  static void lockForReading(String name, Optional<LinuxFile> linux) throws BlockException {
    if (linux.isPresent()
        && (!linux.get().lockShared(USED + CONSISTENT_READ)
            || linux.get().isLockedByOther(UNSHARED + CONSISTENT_READ))) {
      throw inUse(name);
    }
  }

  private static void lockWhole(String name, FileChannel channel) throws BlockException {
    try {
      if (channel.tryLock() == null) {
        throw inUse(name);
      }
    } catch (OverlappingFileLockException e) {
      throw inUse(name);
    } catch (BlockException e) {
      throw e;
    } catch (IOException e) {
      LOG.debug("{}: no file locks here", name, e);
    }
  }

  private static BlockException inUse(String name) {
    return new BlockException(Kind.ACCESS, name + ": another process or disk has the image open");
  }
}
