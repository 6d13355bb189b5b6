package io.xenferry.qemu;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * Who has images open for writing at one moment, seen from outside. QEMU locks single bytes of an
 * image (block/file-posix.c): 101 while it writes, 201 while it lets nobody else write. When a
 * guest that came in cannot have its locks, QEMU prints a line and lets it run all the same (seen
 * with 7.2), so that somebody else must look beforehand.
 *
 * <p>Locks stand in {@code /proc/locks} and, those of one process, in {@code /proc/PID/fdinfo}
 * (proc(5)); open file description locks name no process in the former. A guest waits paused while
 * this is read: whatever cannot be a file is left out.
 */
final class ImageLocks {
  private static final long WRITES = 101;
  private static final long NOBODY_ELSE_WRITES = 201;

  private final List<String[]> all;
  private final List<String[]> guests;

  private ImageLocks(List<String[]> all, List<String[]> guests) {
    this.all = all;
    this.guests = guests;
  }

  /**
   * Reads the locks of everybody and those of the guest's process.
   *
   * @throws HypervisorException GONE without that process; REFUSED when locks cannot be read
   */
  static ImageLocks now(GuestProcess process) throws HypervisorException {
    // Those of all first: one that the guest takes meanwhile is not another's.
    List<String[]> all = new ArrayList<>();
    try {
      Files.readAllLines(Path.of("/proc/locks")).forEach(line -> addTo(all, line));
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot see who locks images", e);
    }
    return new ImageLocks(all, ofGuest(process));
  }

  private static List<String[]> ofGuest(GuestProcess process) throws HypervisorException {
    Path home = Path.of("/proc/" + process.pid());
    List<String[]> locks = new ArrayList<>();
    try (Stream<Path> descriptors = Files.list(home.resolve("fd"))) {
      for (Path descriptor : descriptors.toList()) {
        try {
          // What is no file is "socket:[17]" or "anon_inode:[eventfd]".
          if (Files.readSymbolicLink(descriptor).isAbsolute()) {
            Files.readAllLines(home.resolve("fdinfo").resolve(descriptor.getFileName())).stream()
                .filter(line -> line.startsWith("lock:"))
                .forEach(line -> addTo(locks, line.substring("lock:".length())));
          }
        } catch (IOException e) {
          // Closed meanwhile.
          continue;
        }
      }
      return locks;
    } catch (IOException e) {
      throw new HypervisorException(Kind.GONE, "the guest's process is gone", e);
    }
  }

  /** {@code 1: OFDLCK ADVISORY READ -1 fe:00:2146511 100 101}; one that waits has {@code ->}. */
  private static void addTo(List<String[]> locks, String line) {
    String[] words = line.strip().split("\\s+");
    if (words.length == 8) {
      locks.add(words);
    }
  }

  /**
   * Fails when a process that is not the guest's writes to the disk's image, or lets nobody write.
   *
   * @return whether the guest's process has the image open for writing
   * @throws HypervisorException REFUSED, also for an image that is not accessible
   */
  boolean check(GuestSpec.Disk disk) throws HypervisorException {
    String inode = inode(disk);
    for (long at : new long[] {WRITES, NOBODY_ELSE_WRITES}) {
      if (count(all, inode, at) > count(guests, inode, at)) {
        throw new HypervisorException(
            Kind.REFUSED, disk.device() + ": another process writes to " + disk.file());
      }
    }
    return count(guests, inode, WRITES) > 0;
  }

  private static String inode(GuestSpec.Disk disk) throws HypervisorException {
    try {
      long device = ((Number) Files.getAttribute(disk.file(), "unix:dev")).longValue();
      // makedev(3) of glibc.
      long major = (device >>> 8 & 0xfff) | (device >>> 32 & ~0xfffL);
      long minor = (device & 0xff) | (device >>> 12 & ~0xffL);
      return String.format(
          Locale.ROOT, "%02x:%02x:%s", major, minor, Files.getAttribute(disk.file(), "unix:ino"));
    } catch (IOException e) {
      throw new HypervisorException(
          Kind.REFUSED, disk.device() + ": " + disk.file() + " is not accessible", e);
    }
  }

  private static long count(List<String[]> locks, String inode, long at) {
    return locks.stream()
        .filter(words ->
            words[5].equals(inode)
                && Long.parseLong(words[6]) <= at
                && (words[7].equals("EOF") || Long.parseLong(words[7]) >= at))
        .count();
  }
}
