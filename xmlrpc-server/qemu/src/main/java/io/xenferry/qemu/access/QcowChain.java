package io.xenferry.qemu.access;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * The images below a qcow2 image, as their headers name them (docs/interop/qcow2.txt of QEMU). A
 * guest's process writes such headers: so only files of the directory in which the image is are
 * named, and only one whose header's own owner says so is read as qcow2; what a raw image holds is
 * the guest's affair.
 */
final class QcowChain {
  private static final int MAGIC = 0x514649fb;
  private static final int BACKING_OFFSET = 8;
  private static final int BACKING_LENGTH = 16;
  private static final int VERSION = 4;
  private static final int HEADER_LENGTH = 100;
  private static final int VERSION_2_LENGTH = 72;
  private static final int NAME_LIMIT = 1023;
  private static final int BACKING_FORMAT = 0xe2792aca;

  /** Header, extensions and the name lie in the first cluster; this is more than they take. */
  private static final int LOOK = 64 << 10;

  /** More than any SR makes. */
  private static final int DEPTH = 512;

  private QcowChain() {}

  /**
   * @param imageFormat what the image is read as
   * @return what is read below it, the nearest first
   */
  static List<Path> below(Path image, String imageFormat) throws IOException {
    List<Path> found = new ArrayList<>();
    Path at = image;
    String format = imageFormat;
    while (format.equals("qcow2")) {
      Below next = next(at);
      if (next.name().isEmpty()) {
        break;
      }
      Path file = at.resolveSibling(next.name()).normalize();
      Path parent = image.toAbsolutePath().normalize().getParent();
      if (parent == null
          || !parent.equals(file.toAbsolutePath().getParent())
          || !Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
        throw new IOException(at + " has a base that is not beside it: " + file);
      }
      if (found.size() == DEPTH || found.contains(file) || file.equals(image)) {
        throw new IOException("there are too many images below " + image);
      }
      found.add(file);
      at = file;
      format = next.format();
    }
    return found;
  }

  private record Below(String name, String format) {}

  private static Below next(Path image) throws IOException {
    ByteBuffer head = ByteBuffer.allocate(LOOK);
    try (FileChannel file = FileChannel.open(image, StandardOpenOption.READ)) {
      while (head.hasRemaining() && file.read(head, head.position()) >= 0) {
        continue;
      }
    }
    head.flip();
    if (head.limit() < VERSION_2_LENGTH || head.getInt(0) != MAGIC) {
      throw new IOException(image + " is no qcow2 image");
    }
    long offset = head.getLong(BACKING_OFFSET);
    int length = head.getInt(BACKING_LENGTH);
    if (offset == 0 || length == 0) {
      return new Below("", "");
    }
    if (offset < 0 || length < 0 || length > NAME_LIMIT || offset + length > head.limit()) {
      throw new IOException(image + " is damaged: the name of its base");
    }
    String name = text(head, (int) offset, length);
    return new Below(name, format(head, (int) offset));
  }

  /** The header extensions stand between the header and the name. */
  private static String format(ByteBuffer head, int end) {
    int at = head.getInt(VERSION) == 2 ? VERSION_2_LENGTH : head.getInt(HEADER_LENGTH);
    while (at >= VERSION_2_LENGTH && at + 8 <= end) {
      int type = head.getInt(at);
      int length = head.getInt(at + 4);
      if (type == 0 || length < 0 || length > end - at - 8) {
        break;
      }
      if (type == BACKING_FORMAT) {
        return text(head, at + 8, length);
      }
      at += 8 + (length + 7) / 8 * 8;
    }
    // Without a word about it nothing is followed.
    return "";
  }

  private static String text(ByteBuffer head, int at, int length) {
    byte[] bytes = new byte[length];
    head.get(at, bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
