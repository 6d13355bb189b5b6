package io.xenferry.iscsi.pdu;

/**
 * One protocol data unit without its data segment (RFC 7143 section 11). Sequence numbers, tags and
 * lengths are the unsigned 32-bit values of the wire; LUNs are the eight bytes of SAM's LUN field.
 */
public sealed interface Pdu {
  /** The tag that means "none" in both tag fields. */
  int NO_TAG = 0xFFFFFFFF;

  /** Initiator task tag. */
  int itt();

  /** What an initiator sends. */
  sealed interface Request extends Pdu {
    int expStatSn();
  }

  /** What a target sends. */
  sealed interface Response extends Pdu {
    Sn sn();
  }

  /** The three sequence numbers that every target PDU carries. */
  record Sn(int statSn, int expCmdSn, int maxCmdSn) {}

  /** Stages of login. */
  enum Stage {
    SECURITY(0),
    OPERATIONAL(1),
    FULL_FEATURE(3);

    final int code;

    Stage(int code) {
      this.code = code;
    }

    /** Whether login reaches this stage later than the other. */
    public boolean isAfter(Stage other) {
      return code > other.code;
    }
  }

  /**
   * @param isid 48 bits
   * @param transit whether the sender is ready to go to {@code next}
   */
  record LoginRequest(
      boolean transit,
      boolean more,
      Stage current,
      Stage next,
      long isid,
      int tsih,
      int itt,
      int cid,
      int cmdSn,
      int expStatSn)
      implements Request {}

  /**
   * @param status class in the upper byte, detail in the lower; 0 is success
   */
  record LoginResponse(
      boolean transit,
      boolean more,
      Stage current,
      Stage next,
      long isid,
      int tsih,
      int itt,
      Sn sn,
      int status)
      implements Response {}

  record TextRequest(
      boolean immediate,
      boolean last,
      boolean more,
      long lun,
      int itt,
      int ttt,
      int cmdSn,
      int expStatSn)
      implements Request {}

  record TextResponse(boolean last, boolean more, long lun, int itt, int ttt, Sn sn)
      implements Response {}

  /**
   * @param last no unsolicited Data-Out follows
   * @param length expected data transfer length in bytes
   * @param cdb 16 bytes
   */
  // The bytes of the CDB belong to the record: nobody changes them after it was made.
  @SuppressWarnings("ArrayRecordComponent")
  record ScsiCommand(
      boolean immediate,
      boolean last,
      boolean read,
      boolean write,
      long lun,
      int itt,
      int length,
      int cmdSn,
      int expStatSn,
      byte[] cdb)
      implements Request {}

  /**
   * @param response 0 completed at target
   * @param residual bytes, positive for underflow, negative for overflow
   */
  record ScsiResponse(int itt, Sn sn, int response, int status, long residual)
      implements Response {}

  record DataOut(boolean last, long lun, int itt, int ttt, int expStatSn, int dataSn, int offset)
      implements Request {}

  /**
   * @param hasStatus whether {@code status} and {@code residual} count and StatSN is consumed
   */
  record DataIn(
      boolean last,
      boolean hasStatus,
      int status,
      int itt,
      Sn sn,
      int dataSn,
      int offset,
      long residual)
      implements Response {}

  record R2t(long lun, int itt, int ttt, Sn sn, int r2tSn, int offset, int length)
      implements Response {}

  record NopOut(boolean immediate, long lun, int itt, int ttt, int cmdSn, int expStatSn)
      implements Request {}

  record NopIn(long lun, int itt, int ttt, Sn sn) implements Response {}

  /**
   * @param function 1 abort task, 2 abort task set, 4 clear task set, 5 logical unit reset, 6 and 7
   *     target reset
   */
  record TaskRequest(
      boolean immediate,
      int function,
      long lun,
      int itt,
      int referencedTag,
      int cmdSn,
      int expStatSn,
      int refCmdSn)
      implements Request {
    public static final int ABORT_TASK = 1;
    public static final int ABORT_TASK_SET = 2;
    public static final int CLEAR_TASK_SET = 4;
    public static final int LOGICAL_UNIT_RESET = 5;
    public static final int TARGET_WARM_RESET = 6;
    public static final int TARGET_COLD_RESET = 7;
  }

  /**
   * @param response 0 complete, 1 no such task, 2 no such LUN, 5 not supported, 255 rejected
   */
  record TaskResponse(int itt, Sn sn, int response) implements Response {
    public static final int COMPLETE = 0;
    public static final int NO_SUCH_TASK = 1;
    public static final int NO_SUCH_LUN = 2;
    public static final int NOT_SUPPORTED = 5;
  }

  /**
   * @param reason 0 close the session, 1 close the connection
   */
  record LogoutRequest(boolean immediate, int reason, int itt, int cid, int cmdSn, int expStatSn)
      implements Request {}

  /**
   * @param response 0 closed
   */
  record LogoutResponse(int itt, Sn sn, int response) implements Response {}

  /**
   * @param event 0 SCSI event, 1 target asks for logout, 2 and 3 drops connection or session, 4
   *     renegotiate
   */
  record Async(long lun, Sn sn, int event, int vendorCode, int p1, int p2, int p3)
      implements Response {
    @Override
    public int itt() {
      return NO_TAG;
    }
  }

  record Reject(int reason, Sn sn) implements Response {
    public static final int PROTOCOL_ERROR = 4;
    public static final int COMMAND_NOT_SUPPORTED = 5;
    public static final int TASK_IN_PROGRESS = 7;

    @Override
    public int itt() {
      return NO_TAG;
    }
  }

  /** A request that we do not serve: SNACK, or an unknown operation. */
  record Unknown(int opcode, int itt, int expStatSn) implements Request {}
}
