package io.xenferry.sr.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;

/**
 * What an image says of itself (docs/interop/qcow2.txt of QEMU). Read here and not by a tool, since
 * it is asked often; an image that may lead elsewhere is refused.
 *
 * @param size bytes that a guest sees
 * @param backing the file name of the image below, as it stands in the header
 */
record QcowHeader(long size, Optional<String> backing) {
  private static final int MAGIC = 0x514649fb;
  private static final int LENGTH = 112;
  private static final int LONGEST_NAME = 1023;

  /** Incompatible features: marked corrupt, or the data in another file. */
  private static final long REFUSED = 0b110;

  private static final int BACKING_OFFSET = 8;
  private static final int BACKING_SIZE = 16;
  private static final int SIZE = 24;
  private static final int INCOMPATIBLE = 72;

  static QcowHeader read(Path image) throws IOException {
    try (FileChannel file = FileChannel.open(image, StandardOpenOption.READ)) {
      ByteBuffer header = bytes(file, 0, LENGTH, image);
      if (header.getInt(0) != MAGIC || header.getInt(4) < 2 || header.getInt(4) > 3) {
        throw new IOException(image + " is no qcow2 image");
      }
      if (header.getInt(4) == 3 && (header.getLong(INCOMPATIBLE) & REFUSED) != 0) {
        throw new IOException(image + " is corrupt, or keeps its data in another file");
      }
      long size = header.getLong(SIZE);
      long at = header.getLong(BACKING_OFFSET);
      int length = header.getInt(BACKING_SIZE);
      if (size < 0 || at < 0 || length < 0 || length > LONGEST_NAME) {
        throw new IOException(image + " has an impossible header");
      }
      Optional<String> backing = Optional.empty();
      if (at != 0 && length != 0) {
        byte[] name = bytes(file, at, length, image).array();
        backing = Optional.of(new String(name, StandardCharsets.UTF_8));
      }
      return new QcowHeader(size, backing);
    }
  }

  private static ByteBuffer bytes(FileChannel file, long at, int length, Path image)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(length);
    while (buffer.hasRemaining()) {
      if (file.read(buffer, at + buffer.position()) < 0) {
        throw new IOException(image + " is cut short");
      }
    }
    return buffer;
  }
}
