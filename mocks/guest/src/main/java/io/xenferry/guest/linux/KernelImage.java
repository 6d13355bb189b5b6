package io.xenferry.guest.linux;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Optional;
import java.util.zip.GZIPInputStream;

/**
 * Takes the kernel proper out of a compressed image (Documentation/arch/x86/boot.rst), so that a
 * guest on an emulated processor need not: it boots in half the time. LZ4, as Debian has it, and
 * gzip.
 */
final class KernelImage {
  private static final int SETUP_SECTORS = 0x1f1;
  private static final int MAGIC = 0x202;
  private static final int HEADER_MAGIC = 0x53726448; // "HdrS"
  private static final int PAYLOAD_OFFSET = 0x248;
  private static final int PAYLOAD_LENGTH = 0x24c;
  private static final int SECTOR = 512;

  /** lz4 -l: blocks of 8 MiB, each behind its compressed length. */
  private static final int LZ4_LEGACY = 0x184c2102;

  private static final int GZIP = 0x8b1f;

  private KernelImage() {}

  /** The ELF image; empty when the compression is not known here. */
  static Optional<byte[]> uncompressed(byte[] image) throws IOException {
    ByteBuffer header = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    if (image.length < 4096 || header.getInt(MAGIC) != HEADER_MAGIC) {
      throw new IOException("not a kernel image");
    }
    int start = ((header.get(SETUP_SECTORS) & 0xff) + 1) * SECTOR + header.getInt(PAYLOAD_OFFSET);
    int length = header.getInt(PAYLOAD_LENGTH);
    if (start < 0 || length < 4 || start + (long) length > image.length) {
      throw new IOException("the kernel image is cut off");
    }
    int magic = header.getInt(start);
    if (magic == LZ4_LEGACY) {
      return Optional.of(lz4(header.slice(start + 4, length - 4).order(ByteOrder.LITTLE_ENDIAN)));
    }
    if ((magic & 0xffff) == GZIP) {
      try (GZIPInputStream in =
          new GZIPInputStream(new ByteArrayInputStream(image, start, length))) {
        return Optional.of(in.readAllBytes());
      }
    }
    return Optional.empty();
  }

  private static byte[] lz4(ByteBuffer in) throws IOException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    // Behind the last block stands the uncompressed length, which no block can have.
    while (in.remaining() > 4) {
      int length = in.getInt();
      if (length <= 0 || length > in.remaining()) {
        throw new IOException("the kernel is damaged");
      }
      byte[] block = new byte[length];
      in.get(block);
      all.write(lz4Block(block));
    }
    return all.toByteArray();
  }

  /** One block: literals and copies of what came before, see lz4_Block_format.md. */
  private static byte[] lz4Block(byte[] in) throws IOException {
    byte[] out = new byte[8 << 20];
    int from = 0;
    int to = 0;
    try {
      while (from < in.length) {
        int token = in[from++] & 0xff;
        int literals = token >> 4;
        if (literals == 15) {
          int more;
          do {
            more = in[from++] & 0xff;
            literals += more;
          } while (more == 255);
        }
        System.arraycopy(in, from, out, to, literals);
        from += literals;
        to += literals;
        if (from == in.length) {
          break; // the last has no copy
        }
        int offset = (in[from] & 0xff) | (in[from + 1] & 0xff) << 8;
        from += 2;
        int copy = token & 15;
        if (copy == 15) {
          int more;
          do {
            more = in[from++] & 0xff;
            copy += more;
          } while (more == 255);
        }
        for (int end = to + copy + 4; to < end; to++) {
          out[to] = out[to - offset]; // may overlap itself
        }
      }
    } catch (IndexOutOfBoundsException e) {
      throw new IOException("the kernel is damaged", e);
    }
    return Arrays.copyOf(out, to);
  }
}
