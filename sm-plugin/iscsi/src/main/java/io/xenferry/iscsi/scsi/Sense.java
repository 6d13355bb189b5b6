package io.xenferry.iscsi.scsi;

import java.nio.ByteBuffer;
import java.util.OptionalLong;

/**
 * Sense data: why a command ended with CHECK CONDITION (SPC-4 §4.5).
 *
 * @param key sense key, 0–15
 * @param code additional sense code and its qualifier, as 0xAAQQ
 * @param where the INFORMATION field, where it has one: what it counts depends on the code
 */
public record Sense(int key, int code, OptionalLong where) {
  public static final int NO_SENSE = 0;
  public static final int NOT_READY = 2;
  public static final int MEDIUM_ERROR = 3;
  public static final int HARDWARE_ERROR = 4;
  public static final int ILLEGAL_REQUEST = 5;
  public static final int UNIT_ATTENTION = 6;
  public static final int DATA_PROTECT = 7;
  public static final int ABORTED_COMMAND = 0xB;

  public static final int MISCOMPARED = 0xE;

  public static final Sense INVALID_FIELD_IN_INFORMATION_UNIT = new Sense(ILLEGAL_REQUEST, 0x0E03);
  public static final Sense PARAMETER_LIST_LENGTH = new Sense(ILLEGAL_REQUEST, 0x1A00);
  public static final Sense INVALID_OPCODE = new Sense(ILLEGAL_REQUEST, 0x2000);
  public static final Sense LBA_OUT_OF_RANGE = new Sense(ILLEGAL_REQUEST, 0x2100);
  public static final Sense INVALID_FIELD_IN_CDB = new Sense(ILLEGAL_REQUEST, 0x2400);
  public static final Sense NO_SUCH_LUN = new Sense(ILLEGAL_REQUEST, 0x2500);
  public static final Sense INVALID_PARAMETER = new Sense(ILLEGAL_REQUEST, 0x2600);
  public static final Sense INVALID_RELEASE = new Sense(ILLEGAL_REQUEST, 0x2604);
  public static final Sense SAVING_NOT_SUPPORTED = new Sense(ILLEGAL_REQUEST, 0x3900);
  public static final Sense NO_REGISTRATION_RESOURCES = new Sense(ILLEGAL_REQUEST, 0x5504);
  public static final Sense WRITE_PROTECTED = new Sense(DATA_PROTECT, 0x2700);
  public static final Sense SPACE_ALLOCATION_FAILED = new Sense(DATA_PROTECT, 0x2707);
  public static final Sense SOFTWARE_WRITE_PROTECTED = new Sense(DATA_PROTECT, 0x2702);
  public static final Sense POWER_ON = new Sense(UNIT_ATTENTION, 0x2900);
  public static final Sense LUN_RESET = new Sense(UNIT_ATTENTION, 0x2903);
  public static final Sense MODE_PARAMETERS_CHANGED = new Sense(UNIT_ATTENTION, 0x2A01);
  public static final Sense RESERVATIONS_PREEMPTED = new Sense(UNIT_ATTENTION, 0x2A03);
  public static final Sense RESERVATIONS_RELEASED = new Sense(UNIT_ATTENTION, 0x2A04);
  public static final Sense REGISTRATIONS_PREEMPTED = new Sense(UNIT_ATTENTION, 0x2A05);
  public static final Sense COMMANDS_CLEARED = new Sense(UNIT_ATTENTION, 0x2F00);

  /** A sequence of Data-Out that is not as it was asked for (RFC 7143 section 11.4.7.2). */
  public static final Sense INCORRECT_AMOUNT_OF_DATA = new Sense(ABORTED_COMMAND, 0x0C0D);

  public static final Sense MISCOMPARE = new Sense(MISCOMPARED, 0x1D00);
  public static final Sense READ_ERROR = new Sense(MEDIUM_ERROR, 0x1100);
  public static final Sense WRITE_ERROR = new Sense(MEDIUM_ERROR, 0x0C00);

  public Sense(int key, int code) {
    this(key, code, OptionalLong.empty());
  }

  /** The same at a place. */
  public Sense at(long place) {
    return new Sense(key, code, OptionalLong.of(place));
  }

  /** Power on, reset, or nexus lost: what was not flushed may be gone. */
  public boolean isReset() {
    return key == UNIT_ATTENTION && code >>> 8 == 0x29;
  }

  /** Reads fixed or descriptor format; what is too short or unknown gives key and code 0. */
  public static Sense parse(ByteBuffer sense) {
    int at = sense.position();
    int length = sense.remaining();
    if (length < 8) {
      return new Sense(NO_SENSE, 0);
    }
    return switch (sense.get(at) & 0x7F) {
      case 0x70, 0x71 ->
          new Sense(sense.get(at + 2) & 0xF, length >= 14 ? sense.getShort(at + 12) & 0xFFFF : 0);
      case 0x72, 0x73 -> new Sense(sense.get(at + 1) & 0xF, sense.getShort(at + 2) & 0xFFFF);
      default -> new Sense(NO_SENSE, 0);
    };
  }

  /** In the format of fixed places, 18 bytes, or in that of descriptors (SPC-4 §4.5.2, §4.5.3). */
  public byte[] toBytes(boolean descriptors) {
    return descriptors ? inDescriptors() : fixed();
  }

  private byte[] fixed() {
    ByteBuffer sense =
        ByteBuffer.allocate(18)
            .put(0, (byte) 0x70)
            .put(2, (byte) key)
            .put(7, (byte) 10)
            .putShort(12, (short) code);
    where.ifPresent(place -> sense.put(0, (byte) 0xF0).putInt(3, (int) place));
    return sense.array();
  }

  private byte[] inDescriptors() {
    boolean one = where.isPresent();
    ByteBuffer sense =
        ByteBuffer.allocate(one ? 20 : 8)
            .put(0, (byte) 0x72)
            .put(1, (byte) key)
            .putShort(2, (short) code);
    where.ifPresent(
        place -> sense.put(7, (byte) 12).put(9, (byte) 10).put(10, (byte) 0x80).putLong(12, place));
    return sense.array();
  }

  @Override
  public String toString() {
    return String.format("sense %x/%02x/%02x", key, code >>> 8, code & 0xFF);
  }
}
