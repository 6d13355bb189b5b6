package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.target.Export;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** What the disk says of itself: INQUIRY (SPC-4 §6.6, §7.8; SBC-3 §6.6). */
final class InquiryPages {
  private static final String VENDOR = "XENFERRY";

  /** Blocks of one UNMAP; initiators distrust more. */
  private static final int MAX_UNMAP = 1 << 20;

  /** The first four bits of a locally assigned name (SPC-4 §7.8.6.6.5). */
  private static final long LOCAL_NAME = 3;

  private final Export export;
  private final int blockSize;

  InquiryPages(Export export, int blockSize) {
    this.export = export;
    this.blockSize = blockSize;
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  byte[] standard(int type) {
    ByteBuffer data = ByteBuffer.allocate(96);
    // SPC-4; data format 2; command queueing.
    data.put(0, (byte) type).put(2, (byte) 6).put(3, (byte) 2).put(4, (byte) 91).put(7, (byte) 2);
    data.put(8, ascii(VENDOR)).put(16, ascii(String.format("%-16s", "VDI"))).put(32, ascii("1   "));
    // SAM-5, iSCSI, SPC-4, SBC-3.
    data.putShort(58, (short) 0x00A0).putShort(60, (short) 0x0960);
    data.putShort(62, (short) 0x0460).putShort(64, (short) 0x04C0);
    return data.array();
  }

  byte @Nullable [] vital(int page) {
    ByteBuffer body =
        switch (page) {
          case 0x00 ->
              ByteBuffer.wrap(
                  new byte[] {0, (byte) 0x80, (byte) 0x83, (byte) 0xB0, (byte) 0xB1, (byte) 0xB2});
          case 0x80 -> ByteBuffer.wrap(ascii(export.serial()));
          case 0x83 -> identification();
          case 0xB0 -> {
            ByteBuffer limits = ByteBuffer.allocate(60);
            // Offsets here are those of the page less its header of 4. WSNZ: no "to the end".
            limits.put(0, (byte) 1).put(1, (byte) MediumAccess.MAX_COMPARE);
            limits.putInt(4, DiskCommands.MAX_TRANSFER / blockSize);
            limits.putInt(8, (1 << 20) / blockSize);
            if (export.thin()) {
              limits
                  .putInt(16, (int) Math.min(MAX_UNMAP, Provisioning.MAX_ZERO_BYTES / blockSize))
                  .putInt(20, 256);
              limits.putInt(24, Math.max(1, 4096 / blockSize));
            }
            limits.putLong(32, Provisioning.MAX_ZERO_BYTES / blockSize);
            yield limits;
          }
          case 0xB1 -> ByteBuffer.allocate(60).putShort(0, (short) 1);
          case 0xB2 ->
              ByteBuffer.allocate(4)
                  // LBPU, LBPWS, LBPWS10, LBPRZ; thin.
                  .put(1, (byte) (export.thin() ? 0xE4 : 0))
                  .put(2, (byte) (export.thin() ? 2 : 0));
          default -> ByteBuffer.allocate(0);
        };
    boolean known = page == 0x00 || page == 0x80 || page == 0x83 || (page >= 0xB0 && page <= 0xB2);
    if (!known) {
      return null;
    }
    ByteBuffer data = ByteBuffer.allocate(4 + body.remaining());
    data.put(1, (byte) page).putShort(2, (short) body.remaining()).position(4);
    return data.put(body).array();
  }

  /** Of the logical unit by vendor and by name, then of the target's port (SPC-4 §7.8.6). */
  private ByteBuffer identification() {
    ByteBuffer all = ByteBuffer.allocate(512);
    designator(all, 0x02, 0x01, ascii(VENDOR + export.scsiId()));
    long name = LOCAL_NAME << 60 | (hash(export.scsiId()) >>> 4);
    designator(all, 0x01, 0x03, ByteBuffer.allocate(8).putLong(name).array());
    designator(all, 0x01, 0x94, new byte[] {0, 0, 0, 1});
    byte[] port = ascii(export.iqn() + ",t,0x0001");
    designator(all, 0x53, 0x98, Arrays.copyOf(port, (port.length + 4) & ~3));
    return all.flip();
  }

  private static void designator(ByteBuffer into, int codeSet, int type, byte[] value) {
    into.put((byte) codeSet).put((byte) type).put((byte) 0).put((byte) value.length).put(value);
  }

  private static long hash(String text) {
    try {
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(ascii(text));
      return ByteBuffer.wrap(digest).getLong();
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("a Java platform without SHA-256", e);
    }
  }
}
