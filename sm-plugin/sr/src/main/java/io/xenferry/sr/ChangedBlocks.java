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
 * What of a volume has changed since another one, in blocks of 64 KiB. Values: nobody changes the
 * bits once they are here.
 *
 * @param parent the volume since which, by its location; empty for none that is known
 * @param blocks that may differ
 */
public record ChangedBlocks(String parent, BitSet blocks) {
  /** As the published server has it, and a cluster of the images. */
  public static final int BLOCK = 64 << 10;

  private static final String PARENT = "parent";
  private static final String BLOCKS = "blocks";

  /** 16 TiB in bits. */
  private static final int MAX_BYTES = 32 << 20;

  static ChangedBlocks none(String parent) {
    return new ChangedBlocks(parent, new BitSet());
  }

  /** Where nothing better is known: any block of a volume of so many bytes. */
  public static ChangedBlocks all(String parent, long size) {
    BitSet all = new BitSet();
    all.set(0, count(size));
    return new ChangedBlocks(parent, all);
  }

  private static int count(long size) {
    return Math.toIntExact(Math.ceilDiv(size, (long) BLOCK));
  }

  /** The same since the same volume, which is called so elsewhere. */
  public ChangedBlocks since(String other) {
    return new ChangedBlocks(other, blocks);
  }

  ChangedBlocks and(List<Range> ranges) {
    BitSet all = (BitSet) blocks.clone();
    for (Range range : ranges) {
      all.set(Math.toIntExact(range.offset() / BLOCK), count(range.end()));
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
    int count = count(size);
    byte[] bits = new byte[Math.ceilDiv(count, 8)];
    for (int i = blocks.nextSetBit(0); i >= 0 && i < count; i = blocks.nextSetBit(i + 1)) {
      bits[i / 8] |= (byte) (0x80 >> (i % 8));
    }
    return Base64.getEncoder().encodeToString(bits);
  }

  Map<String, String> toRecord() {
    return Map.of(PARENT, parent, BLOCKS, text());
  }

  static ChangedBlocks fromRecord(Map<String, String> record) throws IOException {
    return new ChangedBlocks(
        record.getOrDefault(PARENT, ""), blocks(record.getOrDefault(BLOCKS, ""), MAX_BYTES));
  }

  /** The blocks, for {@link #parse} elsewhere: at most 1.4 times as many characters as bytes. */
  public String text() {
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
    return Base64.getEncoder().encodeToString(out.toByteArray());
  }

  /**
   * Reads {@link #text}, whoever wrote it.
   *
   * @param size of the volume, in bytes: there are no blocks beyond it
   * @throws IOException for anything else
   */
  public static ChangedBlocks parse(String parent, String text, long size) throws IOException {
    int count = count(size);
    BitSet blocks = blocks(text, Math.ceilDiv(count, 8));
    blocks.clear(count, Math.max(count, blocks.length()));
    return new ChangedBlocks(parent, blocks);
  }

  private static BitSet blocks(String text, int maxBytes) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (Inflater inflater = new Inflater()) {
      inflater.setInput(Base64.getDecoder().decode(text));
      byte[] buffer = new byte[8192];
      while (!inflater.finished()) {
        int length = inflater.inflate(buffer);
        boolean stuck = length == 0 && !inflater.finished();
        if (stuck || out.size() + length > maxBytes) {
          throw new IOException("a record of changed blocks is damaged");
        }
        out.write(buffer, 0, length);
      }
    } catch (DataFormatException | IllegalArgumentException e) {
      throw new IOException("a record of changed blocks is damaged", e);
    }
    return BitSet.valueOf(out.toByteArray());
  }
}
