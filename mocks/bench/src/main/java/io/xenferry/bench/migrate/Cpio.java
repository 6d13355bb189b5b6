package io.xenferry.bench.migrate;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/**
 * An archive as the kernel unpacks it into its first file system: format "newc" of cpio(5), {@code
 * Documentation/driver-api/early-userspace/buffer-format.rst} of the kernel.
 */
final class Cpio {
  private static final int FILE = 0100755;
  private static final int DIRECTORY = 0040755;

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private int inode;

  void directory(String name) {
    entry(name, DIRECTORY, new byte[0]);
  }

  /** An executable file. */
  void file(String name, byte[] content) {
    entry(name, FILE, content);
  }

  byte[] finish() {
    entry("TRAILER!!!", 0, new byte[0]);
    return bytes.toByteArray();
  }

  private void entry(String name, int mode, byte[] content) {
    byte[] nameBytes = (name + '\0').getBytes(StandardCharsets.UTF_8);
    String header =
        String.format(
            Locale.ROOT,
            "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
            ++inode,
            mode,
            0,
            0,
            1,
            0,
            content.length,
            0,
            0,
            0,
            0,
            nameBytes.length,
            0);
    bytes.writeBytes(header.getBytes(StandardCharsets.US_ASCII));
    bytes.writeBytes(nameBytes);
    align();
    bytes.writeBytes(content);
    align();
  }

  private void align() {
    while (bytes.size() % 4 != 0) {
      bytes.write(0);
    }
  }
}
