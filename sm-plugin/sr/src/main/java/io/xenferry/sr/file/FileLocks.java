package io.xenferry.sr.file;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Sees from outside whether a process of QEMU's family has an image open for writing: it then locks
 * byte 101 of it (block/file-posix.c of QEMU), which stands in {@code /proc/locks} (proc(5)).
 */
final class FileLocks {
  private static final long WRITES = 101;

  private FileLocks() {}

  static boolean isWritten(Path image) throws IOException {
    if (!Files.exists(image)) {
      return false;
    }
    long device = ((Number) Files.getAttribute(image, "unix:dev")).longValue();
    // makedev(3) of glibc.
    long major = (device >>> 8 & 0xfff) | (device >>> 32 & ~0xfffL);
    long minor = (device & 0xff) | (device >>> 12 & ~0xffL);
    String inode =
        String.format(
            Locale.ROOT, "%02x:%02x:%s", major, minor, Files.getAttribute(image, "unix:ino"));
    return Files.readAllLines(Path.of("/proc/locks")).stream()
        .map(line -> line.trim().split("\\s+"))
        .anyMatch(word ->
            word.length == 8
                && word[5].equals(inode)
                && Long.parseLong(word[6]) <= WRITES
                && (word[7].equals("EOF") || Long.parseLong(word[7]) >= WRITES));
  }
}
