package io.xenferry.sr;

import io.xenferry.block.Range;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Base64;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/**
 * What of a volume has changed since another one, in blocks of 64 KiB.
 *
 * @param parent the volume since which; empty for none that is known
 * @param blocks that may differ
 */
record ChangedBlocks(String parent, BitSet blocks) {
  /** As the published server has it, and a cluster of the images. */
  static final int BLOCK = 64 << 10;

  private static final String PARENT = "parent";
  private static final String BLOCKS = "blocks";

  /** 16 TiB in bits. */
  private static final int MAX_BYTES = 32 << 20;

  static ChangedBlocks none(String parent) {
    return new ChangedBlocks(parent, new BitSet());
  }

  ChangedBlocks and(List<Range> ranges) {
    BitSet all = (BitSet) blocks.clone();
    for (Range range : ranges) {
      all.set(
          Math.toIntExact(range.offset() / BLOCK),
          Math.toIntExact(Math.ceilDiv(range.end(), (long) BLOCK)));
    }
    return new ChangedBlocks(parent, all);
  }

  /** This one and what was before it, as one step. */
  ChangedBlocks after(ChangedBlocks earlier) {
    BitSet all = (BitSet) blocks.clone();
    all.or(earlier.blocks);
    return new ChangedBlocks(earlier.parent, all);
  }

  /** One bit for each block of so many bytes, the first the most significant of its byte. */
  String base64(long size) {
    int count = Math.toIntExact(Math.ceilDiv(size, (long) BLOCK));
    byte[] bits = new byte[Math.ceilDiv(count, 8)];
    for (int i = blocks.nextSetBit(0); i >= 0 && i < count; i = blocks.nextSetBit(i + 1)) {
      bits[i / 8] |= (byte) (0x80 >> (i % 8));
    }
    return Base64.getEncoder().encodeToString(bits);
  }

  Map<String, String> toRecord() {
    byte[] plain = blocks.toByteArray();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (Deflater deflater = new Deflater()) {
      deflater.setInput(plain);
      deflater.finish();
      byte[] buffer = new byte[8192];
      while (!deflater.finished()) {
        out.write(buffer, 0, deflater.deflate(buffer));
      }
    }
    return Map.of(PARENT, parent, BLOCKS, Base64.getEncoder().encodeToString(out.toByteArray()));
  }

  static ChangedBlocks fromRecord(Map<String, String> record) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (Inflater inflater = new Inflater()) {
      inflater.setInput(Base64.getDecoder().decode(record.getOrDefault(BLOCKS, "")));
      byte[] buffer = new byte[8192];
      while (!inflater.finished()) {
        int length = inflater.inflate(buffer);
        boolean stuck = length == 0 && !inflater.finished();
        if (stuck || out.size() > MAX_BYTES) {
          throw new IOException("a record of changed blocks is damaged");
        }
        out.write(buffer, 0, length);
      }
    } catch (DataFormatException | IllegalArgumentException e) {
      throw new IOException("a record of changed blocks is damaged", e);
    }
    return new ChangedBlocks(record.getOrDefault(PARENT, ""), BitSet.valueOf(out.toByteArray()));
  }
}
