package io.xenferry.guest.linux;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/**
 * Writes an archive in the format that Linux unpacks as its first file system (cpio "newc",
 * Documentation/driver-api/early-userspace/buffer-format.rst). Directories before what is in them.
 */
final class CpioArchive implements AutoCloseable {
  private static final int DIRECTORY = 0040755;
  private static final int PROGRAM = 0100755;
  private static final int ALIGNMENT = 4;

  private final OutputStream out;
  private long written;
  private int inode;

  CpioArchive(OutputStream out) {
    this.out = out;
  }

  void directory(String path) throws IOException {
    entry(path, DIRECTORY, new byte[0]);
  }

  /** A file that may be read and executed by all. */
  void file(String path, byte[] content) throws IOException {
    entry(path, PROGRAM, content);
  }

  private void entry(String path, int mode, byte[] content) throws IOException {
    byte[] name = path.getBytes(StandardCharsets.UTF_8);
    inode++;
    StringBuilder header = new StringBuilder("070701");
    int[] fields = {
      inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0,
    };
    for (int field : fields) {
      header.append(String.format(Locale.ROOT, "%08X", field));
    }
    write(header.toString().getBytes(StandardCharsets.US_ASCII));
    write(name);
    write(new byte[1]);
    align();
    write(content);
    align();
  }

  private void align() throws IOException {
    write(new byte[(int) ((ALIGNMENT - written % ALIGNMENT) % ALIGNMENT)]);
  }

  private void write(byte[] bytes) throws IOException {
    out.write(bytes);
    written += bytes.length;
  }

  @Override
  public void close() throws IOException {
    entry("TRAILER!!!", 0, new byte[0]);
    out.close();
  }
}
