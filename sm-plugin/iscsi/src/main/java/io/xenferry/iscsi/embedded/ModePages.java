package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.scsi.Sense;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * The mode pages of a disk (SPC-4 §7.5, SBC-3 §6.5): caching, control, and informational
 * exceptions. What can be changed, software write protection and the format of sense data, is the
 * same for all initiators and ends with a reset. Confined to the loop.
 */
final class ModePages {
  private static final int CACHING = 0x08;
  private static final int CONTROL = 0x0A;
  private static final int EXCEPTIONS = 0x1C;
  private static final int ALL = 0x3F;
  private static final int ALL_SUBPAGES = 0xFF;

  private static final byte DESCRIPTOR_SENSE = 0x04;
  private static final byte WRITE_PROTECT = 0x08;
  private static final byte WRITE_CACHE = 0x04;

  /** Values of the page control field. */
  private static final int CURRENT = 0;

  private static final int CHANGEABLE = 1;
  private static final int SAVED = 3;

  private final int blockSize;
  private final long blocks;
  private boolean descriptorSense;
  private boolean writeProtect;

  ModePages(int blockSize, long blocks) {
    this.blockSize = blockSize;
    this.blocks = blocks;
  }

  boolean descriptorSense() {
    return descriptorSense;
  }

  boolean writeProtect() {
    return writeProtect;
  }

  void reset() {
    descriptorSense = false;
    writeProtect = false;
  }

  /** A page with its header, as the page control field asks for it. */
  private byte[] page(int code, int control) {
    boolean changeable = control == CHANGEABLE;
    boolean current = control == CURRENT;
    return switch (code) {
      case CACHING -> {
        byte[] page = new byte[20];
        // Write cache enabled: flushes count.
        page[2] = changeable ? 0 : WRITE_CACHE;
        yield headed(page, code);
      }
      case CONTROL -> {
        byte[] page = new byte[12];
        page[2] = changeable || (current && descriptorSense) ? DESCRIPTOR_SENSE : 0;
        // Commands are carried out in any order.
        page[3] = (byte) (changeable ? 0 : 0x10);
        page[4] = changeable || (current && writeProtect) ? WRITE_PROTECT : 0;
        yield headed(page, code);
      }
      default -> headed(new byte[12], code);
    };
  }

  private static byte[] headed(byte[] page, int code) {
    page[0] = (byte) code;
    page[1] = (byte) (page.length - 2);
    return page;
  }

  /**
   * MODE SENSE (SPC-4 §6.11, §6.12).
   *
   * @param ten whether it is the command of ten bytes
   * @param readOnly whether nobody may write, whatever the pages say
   */
  byte[] sense(ByteBuffer cdb, boolean ten, boolean readOnly) throws Check {
    int wanted = cdb.get(2) & 0x3F;
    int control = (cdb.get(2) >>> 6) & 3;
    int subpage = cdb.get(3) & 0xFF;
    if (control == SAVED) {
      throw new Check(Sense.SAVING_NOT_SUPPORTED);
    }
    List<Integer> all = List.of(CACHING, CONTROL, EXCEPTIONS);
    boolean known =
        wanted == ALL
            ? subpage == 0 || subpage == ALL_SUBPAGES
            : all.contains(wanted) && subpage == 0;
    if (!known) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    ByteBuffer pages = ByteBuffer.allocate(64);
    all.stream()
        .filter(p -> wanted == ALL || wanted == p)
        .forEach(p -> pages.put(page(p, control)));
    pages.flip();
    boolean describe = (cdb.get(1) & 8) == 0;
    boolean wide = ten && (cdb.get(1) & 0x10) != 0;
    ByteBuffer descriptor = describe ? descriptor(wide) : ByteBuffer.allocate(0);
    int header = ten ? 8 : 4;
    ByteBuffer data = ByteBuffer.allocate(header + descriptor.remaining() + pages.remaining());
    // Write-protected, and FUA supported.
    byte specific = (byte) ((readOnly || writeProtect ? 0x80 : 0) | 0x10);
    if (ten) {
      data.putShort(0, (short) (data.capacity() - 2)).put(3, specific);
      data.put(4, (byte) (wide && describe ? 1 : 0));
      data.putShort(6, (short) descriptor.remaining());
    } else {
      data.put(0, (byte) (data.capacity() - 1)).put(2, specific);
      data.put(3, (byte) descriptor.remaining());
    }
    return data.position(header).put(descriptor).put(pages).array();
  }

  /** SBC-3 §6.5.2. */
  private ByteBuffer descriptor(boolean wide) {
    return wide
        ? ByteBuffer.allocate(16).putLong(0, blocks).putInt(12, blockSize)
        : ByteBuffer.allocate(8)
            .putInt(0, (int) Math.min(blocks, 0xFFFFFFFFL))
            .putInt(4, blockSize);
  }

  /**
   * MODE SELECT (SPC-4 §6.9, §6.10): all of the list, or nothing.
   *
   * @param list the parameters
   * @return whether something is different now
   */
  boolean select(ByteBuffer cdb, boolean ten, ByteBuffer list) throws Check {
    boolean pageFormat = (cdb.get(1) & 0x10) != 0;
    boolean save = (cdb.get(1) & 1) != 0;
    if (!pageFormat || save) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    if (!list.hasRemaining()) {
      return false;
    }
    int header = ten ? 8 : 4;
    if (list.remaining() < header) {
      throw new Check(Sense.PARAMETER_LIST_LENGTH);
    }
    int descriptor = ten ? list.getShort(6) & 0xFFFF : list.get(3) & 0xFF;
    boolean wide = ten && (list.get(4) & 1) != 0;
    if (list.remaining() < header + descriptor) {
      throw new Check(Sense.PARAMETER_LIST_LENGTH);
    }
    if (descriptor != 0) {
      boolean same =
          descriptor == (wide ? 16 : 8)
              && (list.getInt(header + (wide ? 12 : 4)) & (wide ? -1 : 0xFFFFFF)) == blockSize;
      if (!same) {
        throw new Check(Sense.INVALID_PARAMETER);
      }
    }
    boolean sense = descriptorSense;
    boolean protect = writeProtect;
    list.position(header + descriptor);
    while (list.hasRemaining()) {
      byte[] page = next(list);
      if (page[0] == CONTROL) {
        sense = (page[2] & DESCRIPTOR_SENSE) != 0;
        protect = (page[4] & WRITE_PROTECT) != 0;
      }
    }
    boolean different = sense != descriptorSense || protect != writeProtect;
    descriptorSense = sense;
    writeProtect = protect;
    return different;
  }

  /** The next page of a list, if it changes nothing that cannot be changed. */
  private byte[] next(ByteBuffer list) throws Check {
    if (list.remaining() < 2) {
      throw new Check(Sense.PARAMETER_LIST_LENGTH);
    }
    int code = list.get(list.position()) & 0x7F;
    if (code != CACHING && code != CONTROL && code != EXCEPTIONS) {
      throw new Check(Sense.INVALID_PARAMETER);
    }
    byte[] current = page(code, CURRENT);
    byte[] changeable = page(code, CHANGEABLE);
    if ((list.get(list.position() + 1) & 0xFF) != current.length - 2) {
      throw new Check(Sense.INVALID_PARAMETER);
    }
    if (list.remaining() < current.length) {
      throw new Check(Sense.PARAMETER_LIST_LENGTH);
    }
    byte[] page = new byte[current.length];
    list.get(page);
    page[0] = (byte) code;
    for (int i = 2; i < page.length; i++) {
      if (((page[i] ^ current[i]) & ~changeable[i]) != 0) {
        throw new Check(Sense.INVALID_PARAMETER);
      }
    }
    return page;
  }
}
