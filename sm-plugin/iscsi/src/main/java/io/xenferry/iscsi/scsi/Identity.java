package io.xenferry.iscsi.scsi;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Optional;

/**
 * What a logical unit says it is.
 *
 * @param type peripheral device type, 0 for a disk (SPC-4 §6.6.2)
 * @param vendor at most 8 printable characters, without blanks around
 * @param product at most 16 such
 * @param serial of VPD page 80, empty where there is none
 * @param scsiId what udev's {@code scsi_id} prints with blanks replaced, by which XenServer's SRs
 *     know a LUN: the best designator of VPD page 83 after the digit of its type, or {@code S},
 *     vendor, product and serial where there is none
 */
public record Identity(int type, String vendor, String product, String serial, String scsiId) {
  /** Bytes of the standard data that are needed. */
  public static final int LEAST = 36;

  private static final int BINARY = 1;
  private static final int NAA = 3;
  private static final int EUI_64 = 2;
  private static final int T10_VENDOR = 1;
  private static final int VENDOR_SPECIFIC = 0;

  /**
   * Reads the answers to INQUIRY, which may be anything.
   *
   * @param standard at least {@link #LEAST} bytes from 0
   * @param page80 from its header on, if the unit has it
   * @param page83 the same
   */
  public static Identity of(
      ByteBuffer standard, Optional<ByteBuffer> page80, Optional<ByteBuffer> page83) {
    String vendor = ascii(standard, 8, 8);
    String product = ascii(standard, 16, 16);
    String serial =
        page80
            .filter(page -> page.limit() >= 4)
            .map(page -> ascii(page, 4, Math.min(page.getShort(2) & 0xFFFF, page.limit() - 4)))
            .orElse("");
    String id =
        page83
            .map(page -> best(page, vendor, product))
            .filter(found -> !found.isEmpty())
            .orElseGet(() -> serial.isEmpty() ? "" : "S" + vendor + product + serial);
    return new Identity(
        standard.get(0) & 0x1F, vendor, product, serial, id.strip().replaceAll(" +", "_"));
  }

  /** The designator of the unit itself (SPC-4 §7.8.6) that is least likely to be another's. */
  private static String best(ByteBuffer page, String vendor, String product) {
    int end = Math.min(page.limit(), 4 + (page.limit() < 4 ? 0 : page.getShort(2) & 0xFFFF));
    int rank = -1;
    String best = "";
    for (int at = 4; at + 4 <= end; ) {
      int length = page.get(at + 3) & 0xFF;
      if (at + 4 + length > end) {
        break;
      }
      boolean binary = (page.get(at) & 0x0F) == BINARY;
      boolean ofUnit = (page.get(at + 1) & 0x30) == 0;
      int type = page.get(at + 1) & 0x0F;
      int naa = binary && length > 0 ? page.get(at + 4) >> 4 & 0x0F : 0;
      int its = rank(type, naa, binary);
      if (ofUnit && length > 0 && its > rank) {
        rank = its;
        String text = binary ? hex(page, at + 4, length) : ascii(page, at + 4, length);
        best = type + (type == VENDOR_SPECIFIC ? vendor + product : "") + text;
      }
      at += 4 + length;
    }
    return best;
  }

  /** NAA before EUI-64 before what vendors made up; registered names of 16 bytes before shorter. */
  private static int rank(int type, int naa, boolean binary) {
    int kind =
        switch (type) {
          case NAA -> naa == 6 ? 6 : naa == 5 ? 5 : 4;
          case EUI_64 -> 3;
          case T10_VENDOR -> 2;
          case VENDOR_SPECIFIC -> 1;
          default -> -1;
        };
    return kind < 0 ? -1 : kind * 2 + (binary ? 1 : 0);
  }

  private static String hex(ByteBuffer from, int at, int length) {
    byte[] bytes = new byte[length];
    from.get(at, bytes);
    return HexFormat.of().formatHex(bytes);
  }

  private static String ascii(ByteBuffer from, int at, int length) {
    byte[] bytes = new byte[Math.max(0, length)];
    from.get(at, bytes);
    return new String(bytes, StandardCharsets.US_ASCII).replaceAll("[^\\x20-\\x7e]", "").strip();
  }
}
