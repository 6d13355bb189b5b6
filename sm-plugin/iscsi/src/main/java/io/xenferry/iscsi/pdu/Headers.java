package io.xenferry.iscsi.pdu;

import java.nio.ByteBuffer;
import org.jscsi.exception.InternetSCSIException;
import org.jscsi.parser.AbstractMessageParser;
import org.jscsi.parser.InitiatorMessageParser;
import org.jscsi.parser.OperationCode;
import org.jscsi.parser.ProtocolDataUnit;
import org.jscsi.parser.ProtocolDataUnitFactory;
import org.jscsi.parser.TargetMessageParser;
import org.jscsi.parser.login.ISID;
import org.jscsi.parser.login.LoginRequestParser;
import org.jscsi.parser.login.LoginResponseParser;
import org.jscsi.parser.login.LoginStage;
import org.jscsi.parser.login.LoginStatus;
import org.jscsi.parser.logout.LogoutRequestParser;
import org.jscsi.parser.nop.NOPInParser;
import org.jscsi.parser.text.TextRequestParser;
import org.jscsi.parser.text.TextResponseParser;

/**
 * Writes the 48-byte basic header segment of each PDU (RFC 7143 section 11).
 *
 * <p>jSCSI's serialiser lays out the fields; where it has no setter or sets the wrong bits (task
 * management, NOP-Out, Reject, Async, logout and task responses, session ids) the bytes are put
 * here, and so are those of the five PDUs of which each command has some, for which it makes
 * several kilobytes of garbage. Not thread-safe in the buffer, otherwise stateless.
 */
public final class Headers {
  /** Bytes of a basic header segment. */
  public static final int LENGTH = 48;

  private static final int FINAL = 0x80;

  /** The task attribute of a command that may be done in any order. */
  private static final int SIMPLE = 0x01;

  private static final ProtocolDataUnitFactory FACTORY = new ProtocolDataUnitFactory();

  /** The serialiser insists on one; ours is put over it. */
  private static final ISID PLACEHOLDER = ISID.createRandom(1);

  private Headers() {}

  /**
   * Writes the header into {@code into[0..48)}; position and limit become 0 and 48.
   *
   * @param dataLength bytes of the data segment that follows, without padding, below 2^24
   */
  public static void write(Pdu pdu, int dataLength, ByteBuffer into) {
    if (dataLength < 0 || dataLength >= 1 << 24) {
      throw new IllegalArgumentException("data segment of " + dataLength);
    }
    into.clear();
    try {
      encode(pdu, into);
    } catch (InternetSCSIException | java.io.IOException e) {
      throw new IllegalArgumentException("cannot encode " + pdu, e);
    }
    into.putInt(4, dataLength);
    into.position(0).limit(LENGTH);
  }

  /** Operation, flags, unit and tag; zeroes for the rest. */
  private static void lay(ByteBuffer into, int operation, int flags, long lun, int itt) {
    into.putLong(0, (long) operation << 56 | (long) flags << 48);
    into.putLong(8, lun).putLong(16, (long) itt << 32);
    into.putLong(24, 0).putLong(32, 0).putLong(40, 0);
  }

  private static void encode(Pdu pdu, ByteBuffer into)
      throws InternetSCSIException, java.io.IOException {
    switch (pdu) {
      case Pdu.LoginRequest p -> {
        ProtocolDataUnit u = unit(true, p.transit(), OperationCode.LOGIN_REQUEST, p.itt());
        LoginRequestParser f = parser(u, LoginRequestParser.class);
        f.setContinueFlag(p.more());
        f.setCurrentStageNumber(stage(p.current()));
        f.setNextStageNumber(p.transit() ? stage(p.next()) : LoginStage.SECURITY_NEGOTIATION);
        f.setInitiatorSessionID(PLACEHOLDER);
        f.setConnectionID(p.cid());
        request(f, p.cmdSn(), p.expStatSn());
        put(u, into);
        into.putLong(8, (p.isid() << 16) | (p.tsih() & 0xFFFFL));
      }
      case Pdu.LoginResponse p -> {
        ProtocolDataUnit u = unit(false, p.transit(), OperationCode.LOGIN_RESPONSE, p.itt());
        LoginResponseParser f = parser(u, LoginResponseParser.class);
        f.setContinueFlag(p.more());
        f.setCurrentStageNumber(stage(p.current()));
        f.setNextStageNumber(p.transit() ? stage(p.next()) : LoginStage.SECURITY_NEGOTIATION);
        f.setInitiatorSessionID(PLACEHOLDER);
        f.setStatus(LoginStatus.SUCCESS);
        response(f, p.sn());
        put(u, into);
        into.putLong(8, (p.isid() << 16) | (p.tsih() & 0xFFFFL));
        into.putShort(36, (short) p.status());
      }
      case Pdu.TextRequest p -> {
        ProtocolDataUnit u = unit(p.immediate(), p.last(), OperationCode.TEXT_REQUEST, p.itt());
        TextRequestParser f = parser(u, TextRequestParser.class);
        f.setLogicalUnitNumber(p.lun());
        f.setTargetTransferTag(p.ttt());
        request(f, p.cmdSn(), p.expStatSn());
        put(u, into);
        flag(into, 0x40, p.more());
      }
      case Pdu.TextResponse p -> {
        ProtocolDataUnit u = unit(false, p.last(), OperationCode.TEXT_RESPONSE, p.itt());
        TextResponseParser f = parser(u, TextResponseParser.class);
        f.setContinueFlag(p.more());
        f.setLogicalUnitNumber(p.lun());
        f.setTargetTransferTag(p.ttt());
        response(f, p.sn());
        put(u, into);
      }
      case Pdu.ScsiCommand p -> {
        int flags = (p.last() ? FINAL : 0) | (p.read() ? 0x40 : 0) | (p.write() ? 0x20 : 0);
        lay(into, p.immediate() ? 0x41 : 0x01, flags | SIMPLE, p.lun(), p.itt());
        into.putInt(20, p.length()).putInt(24, p.cmdSn()).putInt(28, p.expStatSn());
        into.put(32, p.cdb(), 0, 16);
      }
      case Pdu.ScsiResponse p -> {
        lay(into, 0x21, FINAL, 0, p.itt());
        into.put(2, (byte) p.response()).put(3, (byte) p.status());
        sn(into, p.sn());
        residual(into, p.residual());
      }
      case Pdu.DataOut p -> {
        lay(into, 0x05, p.last() ? FINAL : 0, p.lun(), p.itt());
        into.putInt(20, p.ttt()).putInt(28, p.expStatSn());
        into.putInt(36, p.dataSn()).putInt(40, p.offset());
      }
      case Pdu.DataIn p -> {
        lay(into, 0x25, (p.last() ? FINAL : 0) | (p.hasStatus() ? 1 : 0), 0, p.itt());
        into.putInt(20, Pdu.NO_TAG);
        sn(into, p.sn());
        into.putInt(36, p.dataSn()).putInt(40, p.offset());
        if (p.hasStatus()) {
          into.put(3, (byte) p.status());
          residual(into, p.residual());
        } else {
          into.putInt(24, 0);
        }
      }
      case Pdu.R2t p -> {
        lay(into, 0x31, FINAL, p.lun(), p.itt());
        into.putInt(20, p.ttt());
        sn(into, p.sn());
        into.putInt(36, p.r2tSn()).putInt(40, p.offset()).putInt(44, p.length());
      }
      case Pdu.NopIn p -> {
        ProtocolDataUnit u = unit(false, true, OperationCode.NOP_IN, p.itt());
        NOPInParser f = parser(u, NOPInParser.class);
        f.setLogicalUnitNumber(p.lun());
        f.setTargetTransferTag(p.ttt());
        response(f, p.sn());
        put(u, into);
      }
      case Pdu.LogoutRequest p -> {
        ProtocolDataUnit u = unit(p.immediate(), true, OperationCode.LOGOUT_REQUEST, p.itt());
        LogoutRequestParser f = parser(u, LogoutRequestParser.class);
        f.setReasonCode(
            p.reason() == 0
                ? LogoutRequestParser.LogoutReasonCode.CLOSE_SESSION
                : LogoutRequestParser.LogoutReasonCode.CLOSE_CONNECTION);
        f.setConnectionID((short) p.cid());
        request(f, p.cmdSn(), p.expStatSn());
        put(u, into);
      }
      case Pdu.NopOut p -> {
        own(into, 0x00, p.immediate(), 0x80, p.lun(), p.itt());
        into.putInt(20, p.ttt()).putInt(24, p.cmdSn()).putInt(28, p.expStatSn());
      }
      case Pdu.TaskRequest p -> {
        own(into, 0x02, p.immediate(), 0x80 | (p.function() & 0x7F), p.lun(), p.itt());
        into.putInt(20, p.referencedTag()).putInt(24, p.cmdSn()).putInt(28, p.expStatSn());
        into.putInt(32, p.refCmdSn());
      }
      case Pdu.TaskResponse p -> {
        own(into, 0x22, false, 0x80, 0, p.itt());
        into.put(2, (byte) p.response());
        sn(into, p.sn());
      }
      case Pdu.LogoutResponse p -> {
        own(into, 0x26, false, 0x80, 0, p.itt());
        into.put(2, (byte) p.response());
        sn(into, p.sn());
      }
      case Pdu.Async p -> {
        own(into, 0x32, false, 0x80, p.lun(), Pdu.NO_TAG);
        sn(into, p.sn());
        into.put(36, (byte) p.event()).put(37, (byte) p.vendorCode());
        into.putShort(38, (short) p.p1()).putShort(40, (short) p.p2()).putShort(42, (short) p.p3());
      }
      case Pdu.Reject p -> {
        own(into, 0x3F, false, 0x80, 0, Pdu.NO_TAG);
        into.put(2, (byte) p.reason());
        sn(into, p.sn());
      }
      case Pdu.Unknown p -> throw new IllegalArgumentException("not for sending: " + p);
    }
  }

  private static ProtocolDataUnit unit(
      boolean immediate, boolean last, OperationCode code, int itt) {
    ProtocolDataUnit unit = FACTORY.create(immediate, last, code, "None", "None");
    unit.getBasicHeaderSegment().setInitiatorTaskTag(itt);
    return unit;
  }

  private static <T extends AbstractMessageParser> T parser(ProtocolDataUnit unit, Class<T> type) {
    return type.cast(unit.getBasicHeaderSegment().getParser());
  }

  private static void put(ProtocolDataUnit unit, ByteBuffer into)
      throws InternetSCSIException, java.io.IOException {
    ByteBuffer bytes = unit.serialize();
    into.put(0, bytes, 0, LENGTH);
  }

  private static void request(InitiatorMessageParser fields, int cmdSn, int expStatSn) {
    fields.setCommandSequenceNumber(cmdSn);
    fields.setExpectedStatusSequenceNumber(expStatSn);
  }

  private static void response(TargetMessageParser fields, Pdu.Sn sn) {
    fields.setStatusSequenceNumber(sn.statSn());
    fields.setExpectedCommandSequenceNumber(sn.expCmdSn());
    fields.setMaximumCommandSequenceNumber(sn.maxCmdSn());
  }

  private static void own(
      ByteBuffer into, int opcode, boolean immediate, int flags, long lun, int itt) {
    for (int i = 0; i < LENGTH; i += 8) {
      into.putLong(i, 0);
    }
    into.put(0, (byte) (opcode | (immediate ? 0x40 : 0))).put(1, (byte) flags);
    into.putLong(8, lun).putInt(16, itt).putInt(20, Pdu.NO_TAG);
    if (opcode == 0x22 || opcode == 0x26) {
      into.putInt(20, 0);
    }
  }

  private static void sn(ByteBuffer into, Pdu.Sn sn) {
    into.putInt(24, sn.statSn()).putInt(28, sn.expCmdSn()).putInt(32, sn.maxCmdSn());
  }

  private static void residual(ByteBuffer into, long residual) {
    flag(into, 0x04, residual < 0);
    flag(into, 0x02, residual > 0);
    into.putInt(44, (int) Math.abs(residual));
  }

  private static void flag(ByteBuffer into, int mask, boolean on) {
    if (on) {
      into.put(1, (byte) (into.get(1) | mask));
    }
  }

  private static LoginStage stage(Pdu.Stage stage) {
    return switch (stage) {
      case SECURITY -> LoginStage.SECURITY_NEGOTIATION;
      case OPERATIONAL -> LoginStage.LOGIN_OPERATIONAL_NEGOTIATION;
      case FULL_FEATURE -> LoginStage.FULL_FEATURE_PHASE;
    };
  }
}
