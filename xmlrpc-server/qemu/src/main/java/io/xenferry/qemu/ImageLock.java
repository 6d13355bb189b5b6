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
 * Sees from outside who has an image open for writing. QEMU locks single bytes of an image
 * (block/file-posix.c): 101 while it writes, 201 while it lets nobody else write. When a guest that
 * came in cannot have its locks, QEMU prints a line and lets it run all the same (seen with 7.2),
 * so that somebody else must look beforehand.
 *
 * <p>Locks stand in {@code /proc/locks} and, those of one process, in {@code /proc/PID/fdinfo}
 * (proc(5)); open file description locks name no process in the former.
 */
final class ImageLock {
  private static final long WRITES = 101;
  private static final long NOBODY_ELSE_WRITES = 201;

  private final GuestSpec.Disk disk;
  private final GuestProcess process;
  private final String inode;

  private ImageLock(GuestSpec.Disk disk, GuestProcess process) throws IOException {
    this.disk = disk;
    this.process = process;
    long device = ((Number) Files.getAttribute(disk.file(), "unix:dev")).longValue();
    // makedev(3) of glibc.
    long major = (device >>> 8 & 0xfff) | (device >>> 32 & ~0xfffL);
    long minor = (device & 0xff) | (device >>> 12 & ~0xffL);
    this.inode =
        String.format(
            Locale.ROOT, "%02x:%02x:%s", major, minor, Files.getAttribute(disk.file(), "unix:ino"));
  }

  static ImageLock of(GuestSpec.Disk disk, GuestProcess process) throws HypervisorException {
    try {
      return new ImageLock(disk, process);
    } catch (IOException e) {
      throw new HypervisorException(
          Kind.REFUSED, disk.device() + ": " + disk.file() + " is not accessible", e);
    }
  }

  /** Fails when a process that is not the guest's writes to the image, or lets nobody write. */
  void checkNobodyElse() throws HypervisorException {
    check();
  }

  /** The same, and whether the guest's process has the image open for writing. */
  boolean check() throws HypervisorException {
    // Those of all first: one that the guest takes meanwhile is not another's.
    List<String> all = ofAll();
    List<String> guests = ofGuest();
    for (long at : new long[] {WRITES, NOBODY_ELSE_WRITES}) {
      if (count(all, at) > count(guests, at)) {
        throw new HypervisorException(
            Kind.REFUSED, disk.device() + ": another process writes to " + disk.file());
      }
    }
    return count(guests, WRITES) > 0;
  }

  private List<String> ofAll() throws HypervisorException {
    try {
      return Files.readAllLines(Path.of("/proc/locks"));
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot see who locks " + disk.file(), e);
    }
  }

  private List<String> ofGuest() throws HypervisorException {
    Path descriptors = Path.of("/proc/" + process.pid() + "/fdinfo");
    List<String> locks = new ArrayList<>();
    try (Stream<Path> entries = Files.list(descriptors)) {
      for (Path entry : entries.toList()) {
        try {
          Files.readAllLines(entry).stream()
              .filter(line -> line.startsWith("lock:"))
              .map(line -> line.substring("lock:".length()).strip())
              .forEach(locks::add);
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
  private long count(List<String> lines, long at) {
    return lines.stream()
        .map(line -> line.trim().split("\\s+"))
        .filter(word ->
            word.length == 8
                && word[5].equals(inode)
                && Long.parseLong(word[6]) <= at
                && (word[7].equals("EOF") || Long.parseLong(word[7]) >= at))
        .count();
  }
}
