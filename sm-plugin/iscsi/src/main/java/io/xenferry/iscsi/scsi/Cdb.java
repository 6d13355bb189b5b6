package io.xenferry.iscsi.scsi;

import java.nio.ByteBuffer;

/** Command descriptor blocks, padded to the 16 bytes of an iSCSI header (SPC-4 §6, SBC-3 §5). */
public final class Cdb {
  public static final int TEST_UNIT_READY = 0x00;
  public static final int REQUEST_SENSE = 0x03;
  public static final int READ_6 = 0x08;
  public static final int WRITE_6 = 0x0A;
  public static final int INQUIRY = 0x12;
  public static final int MODE_SELECT_6 = 0x15;
  public static final int RESERVE_6 = 0x16;
  public static final int RELEASE_6 = 0x17;
  public static final int MODE_SENSE_6 = 0x1A;
  public static final int START_STOP_UNIT = 0x1B;
  public static final int READ_CAPACITY_10 = 0x25;
  public static final int READ_10 = 0x28;
  public static final int WRITE_10 = 0x2A;
  public static final int WRITE_AND_VERIFY_10 = 0x2E;
  public static final int VERIFY_10 = 0x2F;
  public static final int PRE_FETCH_10 = 0x34;
  public static final int SYNCHRONIZE_CACHE_10 = 0x35;
  public static final int READ_DEFECT_DATA_10 = 0x37;
  public static final int WRITE_SAME_10 = 0x41;
  public static final int UNMAP = 0x42;
  public static final int MODE_SELECT_10 = 0x55;
  public static final int RESERVE_10 = 0x56;
  public static final int RELEASE_10 = 0x57;
  public static final int MODE_SENSE_10 = 0x5A;
  public static final int PERSISTENT_RESERVE_IN = 0x5E;
  public static final int PERSISTENT_RESERVE_OUT = 0x5F;
  public static final int READ_16 = 0x88;
  public static final int COMPARE_AND_WRITE = 0x89;
  public static final int WRITE_16 = 0x8A;
  public static final int ORWRITE_16 = 0x8B;
  public static final int WRITE_AND_VERIFY_16 = 0x8E;
  public static final int VERIFY_16 = 0x8F;
  public static final int PRE_FETCH_16 = 0x90;
  public static final int SYNCHRONIZE_CACHE_16 = 0x91;
  public static final int WRITE_SAME_16 = 0x93;
  public static final int SERVICE_ACTION_IN_16 = 0x9E;
  public static final int REPORT_LUNS = 0xA0;
  public static final int MAINTENANCE_IN = 0xA3;
  public static final int READ_12 = 0xA8;
  public static final int WRITE_12 = 0xAA;
  public static final int WRITE_AND_VERIFY_12 = 0xAE;
  public static final int VERIFY_12 = 0xAF;
  public static final int READ_DEFECT_DATA_12 = 0xB7;

  /** Service actions of {@link #SERVICE_ACTION_IN_16}. */
  public static final int SA_READ_CAPACITY_16 = 0x10;

  public static final int SA_GET_LBA_STATUS = 0x12;

  /** Service action of {@link #MAINTENANCE_IN}. */
  public static final int SA_REPORT_SUPPORTED_OPCODES = 0x0C;

  private Cdb() {}

  /** All buffers here are allocated in this class, with an array of their own from 0. */
  @SuppressWarnings("ByteBufferBackingArray")
  private static byte[] bytes(ByteBuffer cdb) {
    return cdb.array();
  }

  private static ByteBuffer cdb(int opcode) {
    return ByteBuffer.allocate(16).put(0, (byte) opcode);
  }

  public static byte[] testUnitReady() {
    return cdb(TEST_UNIT_READY).array();
  }

  /** Standard data for page −1, else the vital product data page. */
  public static byte[] inquiry(int page, int allocation) {
    ByteBuffer cdb = cdb(INQUIRY).putShort(3, (short) allocation);
    if (page >= 0) {
      cdb.put(1, (byte) 1).put(2, (byte) page);
    }
    return bytes(cdb);
  }

  public static byte[] modeSense6(int page, int allocation) {
    return cdb(MODE_SENSE_6).put(1, (byte) 8).put(2, (byte) page).put(4, (byte) allocation).array();
  }

  public static byte[] reportLuns(int allocation) {
    return cdb(REPORT_LUNS).putInt(6, allocation).array();
  }

  public static byte[] readCapacity10() {
    return cdb(READ_CAPACITY_10).array();
  }

  public static byte[] readCapacity16(int allocation) {
    return cdb(SERVICE_ACTION_IN_16)
        .put(1, (byte) SA_READ_CAPACITY_16)
        .putInt(10, allocation)
        .array();
  }

  public static byte[] getLbaStatus(long lba, int allocation) {
    return cdb(SERVICE_ACTION_IN_16)
        .put(1, (byte) SA_GET_LBA_STATUS)
        .putLong(2, lba)
        .putInt(10, allocation)
        .array();
  }

  /** READ(10), or READ(16) where the address or the length does not fit. */
  public static byte[] read(long lba, int blocks) {
    return transfer(READ_10, READ_16, lba, blocks);
  }

  /** WRITE(10), or WRITE(16) where the address or the length does not fit. */
  public static byte[] write(long lba, int blocks) {
    return transfer(WRITE_10, WRITE_16, lba, blocks);
  }

  private static byte[] transfer(int op10, int op16, long lba, int blocks) {
    if (lba + blocks <= 0xFFFFFFFFL && blocks <= 0xFFFF) {
      return cdb(op10).putInt(2, (int) lba).putShort(7, (short) blocks).array();
    }
    return cdb(op16).putLong(2, lba).putInt(10, blocks).array();
  }

  /** The whole medium. */
  public static byte[] synchronizeCache() {
    return cdb(SYNCHRONIZE_CACHE_10).array();
  }

  /** One block of data, repeated; with {@code unmap} the target may deallocate instead. */
  public static byte[] writeSame16(long lba, int blocks, boolean unmap) {
    return cdb(WRITE_SAME_16)
        .put(1, (byte) (unmap ? 8 : 0))
        .putLong(2, lba)
        .putInt(10, blocks)
        .array();
  }

  /** UNMAP with a parameter list of that many bytes. */
  public static byte[] unmap(int parameterLength) {
    return cdb(UNMAP).putShort(7, (short) parameterLength).array();
  }

  /** UNMAP's parameter list with one descriptor. */
  public static ByteBuffer unmapList(long lba, int blocks) {
    return ByteBuffer.allocate(24)
        .putShort(0, (short) 22)
        .putShort(2, (short) 16)
        .putLong(8, lba)
        .putInt(16, blocks);
  }
}
