package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.scsi.Sense;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;

/**
 * The commands of the disk: which bits of the CDB count, for REPORT SUPPORTED OPERATION CODES
 * (SPC-4 §6.35), and what a reservation of somebody else's does to them.
 */
final class SupportedCommands {
  private static final int TIMEOUT_DESCRIPTOR = 12;

  /** What a command does to the medium, as reservations see it (SPC-4 §5.13, SBC-3 §4.17). */
  enum Access {
    /** Never refused for a reservation. */
    NONE,
    READ,
    WRITE,
    /** Has rules of its own. */
    RESERVATION
  }

  /**
   * One command.
   *
   * @param action service action; −1 where the operation code has none
   * @param usage the bits of the CDB that are looked at; the first byte is the operation code
   */
  record Entry(int opcode, int action, Access access, List<Byte> usage) {}

  private static final List<Entry> ALL =
      List.of(
          entry(Cdb.TEST_UNIT_READY, Access.NONE, "00 0000 0000 00"),
          entry(Cdb.REQUEST_SENSE, Access.NONE, "03 0100 00ff 00"),
          entry(Cdb.READ_6, Access.READ, "08 1fff ffff 00"),
          entry(Cdb.WRITE_6, Access.WRITE, "0a 1fff ffff 00"),
          entry(Cdb.INQUIRY, Access.NONE, "12 01ff ffff 00"),
          entry(Cdb.MODE_SELECT_6, Access.WRITE, "15 1100 00ff 00"),
          entry(Cdb.RESERVE_6, Access.RESERVATION, "16 0000 0000 00"),
          entry(Cdb.RELEASE_6, Access.RESERVATION, "17 0000 0000 00"),
          entry(Cdb.MODE_SENSE_6, Access.READ, "1a 08ff ffff 00"),
          entry(Cdb.START_STOP_UNIT, Access.WRITE, "1b 0100 0003 00"),
          entry(Cdb.READ_CAPACITY_10, Access.NONE, "25 0000 0000 0000 0000 00"),
          entry(Cdb.READ_10, Access.READ, "28 18ff ffff ff00 ffff 00"),
          entry(Cdb.WRITE_10, Access.WRITE, "2a 18ff ffff ff00 ffff 00"),
          entry(Cdb.WRITE_AND_VERIFY_10, Access.WRITE, "2e 16ff ffff ff00 ffff 00"),
          entry(Cdb.VERIFY_10, Access.READ, "2f 16ff ffff ff00 ffff 00"),
          entry(Cdb.PRE_FETCH_10, Access.READ, "34 02ff ffff ff00 ffff 00"),
          entry(Cdb.SYNCHRONIZE_CACHE_10, Access.WRITE, "35 02ff ffff ff00 ffff 00"),
          entry(Cdb.READ_DEFECT_DATA_10, Access.READ, "37 001f 0000 0000 ffff 00"),
          entry(Cdb.WRITE_SAME_10, Access.WRITE, "41 08ff ffff ff00 ffff 00"),
          entry(Cdb.UNMAP, Access.WRITE, "42 0000 0000 0000 ffff 00"),
          entry(Cdb.MODE_SELECT_10, Access.WRITE, "55 1100 0000 0000 ffff 00"),
          entry(Cdb.RESERVE_10, Access.RESERVATION, "56 0000 0000 0000 0000 00"),
          entry(Cdb.RELEASE_10, Access.RESERVATION, "57 0000 0000 0000 0000 00"),
          entry(Cdb.MODE_SENSE_10, Access.READ, "5a 18ff ff00 0000 ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_IN, 0, Access.RESERVATION, "5e 0000 0000 0000 ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_IN, 1, Access.RESERVATION, "5e 0100 0000 0000 ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_IN, 2, Access.RESERVATION, "5e 0200 0000 0000 ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_IN, 3, Access.RESERVATION, "5e 0300 0000 0000 ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_OUT, 0, Access.RESERVATION, "5f 00ff 0000 ffff ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_OUT, 1, Access.RESERVATION, "5f 01ff 0000 ffff ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_OUT, 2, Access.RESERVATION, "5f 02ff 0000 ffff ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_OUT, 3, Access.RESERVATION, "5f 03ff 0000 ffff ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_OUT, 4, Access.RESERVATION, "5f 04ff 0000 ffff ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_OUT, 5, Access.RESERVATION, "5f 05ff 0000 ffff ffff 00"),
          action(Cdb.PERSISTENT_RESERVE_OUT, 6, Access.RESERVATION, "5f 06ff 0000 ffff ffff 00"),
          entry(Cdb.READ_16, Access.READ, "88 18ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.COMPARE_AND_WRITE, Access.WRITE, "89 18ff ffff ffff ffff ff00 0000 ff00 00"),
          entry(Cdb.WRITE_16, Access.WRITE, "8a 18ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.ORWRITE_16, Access.WRITE, "8b 18ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.WRITE_AND_VERIFY_16, Access.WRITE, "8e 16ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.VERIFY_16, Access.READ, "8f 16ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.PRE_FETCH_16, Access.READ, "90 02ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.SYNCHRONIZE_CACHE_16, Access.WRITE, "91 02ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.WRITE_SAME_16, Access.WRITE, "93 09ff ffff ffff ffff ffff ffff ff00 00"),
          action(
              Cdb.SERVICE_ACTION_IN_16,
              Cdb.SA_READ_CAPACITY_16,
              Access.NONE,
              "9e 1000 0000 0000 0000 00ff ffff ff00 00"),
          action(
              Cdb.SERVICE_ACTION_IN_16,
              Cdb.SA_GET_LBA_STATUS,
              Access.READ,
              "9e 12ff ffff ffff ffff ffff ffff ff00 00"),
          entry(Cdb.REPORT_LUNS, Access.NONE, "a0 00ff 0000 00ff ffff ff00 00"),
          action(
              Cdb.MAINTENANCE_IN,
              Cdb.SA_REPORT_SUPPORTED_OPCODES,
              Access.NONE,
              "a3 0c87 ffff ffff ffff ff00 00"),
          entry(Cdb.READ_12, Access.READ, "a8 18ff ffff ffff ffff ff00 00"),
          entry(Cdb.WRITE_12, Access.WRITE, "aa 18ff ffff ffff ffff ff00 00"),
          entry(Cdb.WRITE_AND_VERIFY_12, Access.WRITE, "ae 16ff ffff ffff ffff ff00 00"),
          entry(Cdb.VERIFY_12, Access.READ, "af 16ff ffff ffff ffff ff00 00"),
          entry(Cdb.READ_DEFECT_DATA_12, Access.READ, "b7 1f00 0000 00ff ffff ff00 00"));

  private SupportedCommands() {}

  private static Entry entry(int opcode, Access access, String usage) {
    return action(opcode, -1, access, usage);
  }

  private static Entry action(int opcode, int action, Access access, String usage) {
    byte[] bits = HexFormat.of().parseHex(usage.replace(" ", ""));
    if ((bits[0] & 0xFF) != opcode || bits.length != length(opcode)) {
      throw new IllegalArgumentException(usage);
    }
    List<Byte> list = new ArrayList<>();
    for (byte b : bits) {
      list.add(b);
    }
    return new Entry(opcode, action, access, List.copyOf(list));
  }

  /** Bytes of a CDB, by its group (SPC-4 §4.2.5.1). */
  private static int length(int opcode) {
    return switch (opcode >>> 5) {
      case 0 -> 6;
      case 1, 2 -> 10;
      case 4 -> 16;
      default -> 12;
    };
  }

  private static final Entry[] BY_OPCODE = new Entry[256];

  static {
    for (Entry entry : ALL.reversed()) {
      BY_OPCODE[entry.opcode] = entry;
    }
  }

  /** What a command does; empty for an operation code that is not ours. */
  static Optional<Access> access(int opcode) {
    return Optional.ofNullable(BY_OPCODE[opcode]).map(Entry::access);
  }

  /** The answer to REPORT SUPPORTED OPERATION CODES. */
  static byte[] report(ByteBuffer cdb) throws Check {
    boolean timeouts = (cdb.get(2) & 0x80) != 0;
    int opcode = cdb.get(3) & 0xFF;
    int action = cdb.getShort(4) & 0xFFFF;
    boolean known = BY_OPCODE[opcode] != null;
    boolean actions = known && BY_OPCODE[opcode].action >= 0;
    return switch (cdb.get(2) & 7) {
      case 0 -> all(timeouts);
      case 1 -> {
        if (actions) {
          throw new Check(Sense.INVALID_FIELD_IN_CDB);
        }
        yield one(opcode, -1, timeouts);
      }
      case 2 -> {
        if (known && !actions) {
          throw new Check(Sense.INVALID_FIELD_IN_CDB);
        }
        yield one(opcode, action, timeouts);
      }
      case 3 -> one(opcode, actions ? action : -1, timeouts);
      default -> throw new Check(Sense.INVALID_FIELD_IN_CDB);
    };
  }

  private static byte[] all(boolean timeouts) {
    int each = 8 + (timeouts ? TIMEOUT_DESCRIPTOR : 0);
    ByteBuffer list = ByteBuffer.allocate(4 + ALL.size() * each).putInt(ALL.size() * each);
    for (Entry entry : ALL) {
      list.put((byte) entry.opcode).put((byte) 0).putShort((short) Math.max(0, entry.action));
      int flags = (timeouts ? 2 : 0) | (entry.action >= 0 ? 1 : 0);
      list.put((byte) 0).put((byte) flags).putShort((short) entry.usage.size());
      if (timeouts) {
        unlimited(list);
      }
    }
    return list.array();
  }

  private static byte[] one(int opcode, int action, boolean timeouts) {
    Optional<Entry> found =
        ALL.stream().filter(e -> e.opcode == opcode && e.action == action).findFirst();
    if (found.isEmpty()) {
      // Not supported.
      return new byte[] {0, 1, 0, 0};
    }
    List<Byte> usage = found.get().usage;
    ByteBuffer one =
        ByteBuffer.allocate(4 + usage.size() + (timeouts ? TIMEOUT_DESCRIPTOR : 0))
            .put((byte) 0)
            .put((byte) (3 | (timeouts ? 0x80 : 0)))
            .putShort((short) usage.size());
    usage.forEach(one::put);
    if (timeouts) {
      unlimited(one);
    }
    return one.array();
  }

  /** A descriptor that names no time: how long a command takes is the backend's affair. */
  private static void unlimited(ByteBuffer into) {
    into.putShort((short) (TIMEOUT_DESCRIPTOR - 2)).put(new byte[TIMEOUT_DESCRIPTOR - 2]);
  }
}
