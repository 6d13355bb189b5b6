package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.target.Export;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** What the disk says of itself: INQUIRY (SPC-4 §6.6, §7.8; SBC-3 §6.6) and MODE SENSE pages. */
final class InquiryPages {
  private static final String VENDOR = "XENFERRY";

  /** Blocks of one UNMAP; initiators distrust more. */
  private static final int MAX_UNMAP = 1 << 20;

  private static final int CACHING = 0x08;
  private static final int CONTROL = 0x0A;
  private static final int ALL = 0x3F;

  private final Export export;
  private final int blockSize;
  private final int maxTransfer;
  private final long maxZero;

  InquiryPages(Export export, int blockSize, int maxTransfer, long maxZero) {
    this.export = export;
    this.blockSize = blockSize;
    this.maxTransfer = maxTransfer;
    this.maxZero = maxZero;
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
          case 0x83 -> {
            byte[] id = ascii(VENDOR + export.scsiId());
            // ASCII, T10 vendor id, of the logical unit.
            yield ByteBuffer.allocate(4 + id.length)
                .put((byte) 2)
                .put((byte) 1)
                .put((byte) 0)
                .put((byte) id.length)
                .put(id)
                .flip();
          }
          case 0xB0 -> {
            ByteBuffer limits = ByteBuffer.allocate(60);
            // Offsets here are those of the page less its header of 4. WSNZ: no "to the end".
            limits.put(0, (byte) 1);
            limits.putInt(4, maxTransfer / blockSize).putInt(8, (1 << 20) / blockSize);
            if (export.thin()) {
              limits.putInt(16, (int) Math.min(MAX_UNMAP, maxZero / blockSize)).putInt(20, 256);
              limits.putInt(24, Math.max(1, 4096 / blockSize));
            }
            limits.putLong(32, maxZero / blockSize);
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

  /** Header, and the caching and control pages where asked; an unknown page gives the header. */
  byte[] modeSense(byte pageField, boolean ten, boolean readOnly) {
    int page = pageField & 0x3F;
    ByteBuffer pages = ByteBuffer.allocate(64);
    if (page == CACHING || page == ALL) {
      // Write cache enabled: flushes count.
      pages.put((byte) CACHING).put((byte) 18).put((byte) 4).put(new byte[17]);
    }
    if (page == CONTROL || page == ALL) {
      pages.put((byte) CONTROL).put((byte) 10).put(new byte[10]);
    }
    pages.flip();
    int header = ten ? 8 : 4;
    // Write-protected, and FUA supported.
    byte specific = (byte) ((readOnly ? 0x80 : 0) | 0x10);
    ByteBuffer data = ByteBuffer.allocate(header + pages.remaining());
    if (ten) {
      data.putShort(0, (short) (data.capacity() - 2)).put(3, specific);
    } else {
      data.put(0, (byte) (data.capacity() - 1)).put(2, specific);
    }
    return data.position(header).put(pages).array();
  }
}
