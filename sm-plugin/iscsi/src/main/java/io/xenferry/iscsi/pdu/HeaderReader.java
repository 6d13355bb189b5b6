package io.xenferry.iscsi.pdu;

import java.nio.ByteBuffer;
import java.security.DigestException;
import org.jscsi.exception.InternetSCSIException;
import org.jscsi.parser.AbstractMessageParser;
import org.jscsi.parser.ProtocolDataUnit;
import org.jscsi.parser.ProtocolDataUnitFactory;
import org.jscsi.parser.data.DataInParser;
import org.jscsi.parser.data.DataOutParser;
import org.jscsi.parser.login.LoginRequestParser;
import org.jscsi.parser.login.LoginResponseParser;
import org.jscsi.parser.login.LoginStage;
import org.jscsi.parser.nop.NOPInParser;
import org.jscsi.parser.nop.NOPOutParser;
import org.jscsi.parser.r2t.Ready2TransferParser;
import org.jscsi.parser.scsi.SCSICommandParser;
import org.jscsi.parser.scsi.SCSIResponseParser;
import org.jscsi.parser.text.TextRequestParser;
import org.jscsi.parser.text.TextResponseParser;

/**
 * Reads basic header segments. jSCSI's parser takes the fields apart; what RFC 7143 calls reserved
 * is cleared beforehand, since a receiver must ignore it and the parser does not, and the fields
 * that the parser gets wrong are read here. Junk ends in a {@link ProtocolException}, whatever the
 * parser throws.
 */
public final class HeaderReader {
  private static final ProtocolDataUnitFactory FACTORY = new ProtocolDataUnitFactory();

  private HeaderReader() {}

  /** Bytes of the data segment that follows the header, without padding. */
  public static int dataLength(ByteBuffer header) {
    return header.getInt(header.position() + 4) & 0xFFFFFF;
  }

  /**
   * Takes a header apart.
   *
   * @param header 48 bytes from its position; left as it is
   * @throws ProtocolException if the header is not one we can accept; additional header segments
   *     are refused
   */
  public static Pdu read(ByteBuffer header) throws ProtocolException {
    ByteBuffer h = ByteBuffer.allocate(Headers.LENGTH);
    h.put(0, header, header.position(), Headers.LENGTH);
    if (h.get(4) != 0) {
      throw new ProtocolException("additional header segments are not supported");
    }
    try {
      return decode(h);
    } catch (InternetSCSIException | java.io.IOException | DigestException e) {
      throw new ProtocolException("malformed header: " + e.getMessage(), e);
    } catch (RuntimeException e) {
      throw new ProtocolException("malformed header " + opcode(h), e);
    }
  }

  private static String opcode(ByteBuffer h) {
    return String.format("of operation 0x%02x", h.get(0) & 0x3F);
  }

  private static Pdu decode(ByteBuffer h)
      throws InternetSCSIException, java.io.IOException, DigestException {
    int opcode = h.get(0) & 0x3F;
    boolean immediate = (h.get(0) & 0x40) != 0;
    boolean last = (h.get(1) & 0x80) != 0;
    boolean more = (h.get(1) & 0x40) != 0;
    int flags = h.get(1) & 0x7F;
    int itt = h.getInt(16);
    long lun = h.getLong(8);
    Pdu.Sn sn = new Pdu.Sn(h.getInt(24), h.getInt(28), h.getInt(32));
    h.put(0, (byte) (h.get(0) & 0x7F)).putInt(4, 0);
    return switch (opcode) {
      case 0x00 -> {
        keep(h, 0x80, 0, 0, 32);
        NOPOutParser f = parse(h, NOPOutParser.class);
        yield new Pdu.NopOut(
            immediate,
            lun,
            itt,
            f.getTargetTransferTag(),
            f.getCommandSequenceNumber(),
            f.getExpectedStatusSequenceNumber());
      }
      case 0x01 -> {
        keep(h, 0xE7, 0, 0, 48);
        SCSICommandParser f = parse(h, SCSICommandParser.class);
        byte[] cdb = new byte[16];
        f.getCDB().get(0, cdb);
        yield new Pdu.ScsiCommand(
            immediate,
            last,
            f.isReadExpectedFlag(),
            f.isWriteExpectedFlag(),
            lun,
            itt,
            f.getExpectedDataTransferLength(),
            f.getCommandSequenceNumber(),
            f.getExpectedStatusSequenceNumber(),
            cdb);
      }
      case 0x02 ->
          new Pdu.TaskRequest(
              immediate, flags, lun, itt, h.getInt(20), h.getInt(24), h.getInt(28), h.getInt(32));
      case 0x03 -> {
        boolean transit = last;
        int tsih = h.getShort(14) & 0xFFFF;
        keep(h, transit ? 0xCF : 0xCC, 0, 0xFF, 32);
        h.putLong(8, 0).putShort(22, (short) 0);
        LoginRequestParser f = parse(h, LoginRequestParser.class);
        yield new Pdu.LoginRequest(
            transit,
            more,
            stage(f.getCurrentStageNumber()),
            transit ? stage(f.getNextStageNumber()) : stage(f.getCurrentStageNumber()),
            lun >>> 16,
            tsih,
            itt,
            f.getConnectionID(),
            f.getCommandSequenceNumber(),
            f.getExpectedStatusSequenceNumber());
      }
      case 0x04 -> {
        keep(h, 0xC0, 0, 0, 32);
        TextRequestParser f = parse(h, TextRequestParser.class);
        yield new Pdu.TextRequest(
            immediate,
            last,
            more,
            lun,
            itt,
            f.getTargetTransferTag(),
            f.getCommandSequenceNumber(),
            f.getExpectedStatusSequenceNumber());
      }
      case 0x05 -> {
        keep(h, 0x80, 0, 0, 44);
        h.putInt(24, 0).putInt(32, 0);
        DataOutParser f = parse(h, DataOutParser.class);
        yield new Pdu.DataOut(
            last,
            lun,
            itt,
            f.getTargetTransferTag(),
            f.getExpectedStatusSequenceNumber(),
            f.getDataSequenceNumber(),
            f.getBufferOffset());
      }
      case 0x06 ->
          new Pdu.LogoutRequest(
              immediate, flags, itt, h.getShort(20) & 0xFFFF, h.getInt(24), h.getInt(28));
      case 0x20 -> {
        keep(h, 0x80, 0, 0, 36);
        NOPInParser f = parse(h, NOPInParser.class);
        yield new Pdu.NopIn(lun, itt, f.getTargetTransferTag(), sn);
      }
      case 0x21 -> {
        int status = h.get(3) & 0xFF;
        int response = h.get(2) & 0xFF;
        long residual = residual(h, flags);
        keep(h, 0x80, 0, 0, 40);
        h.putLong(8, 0).putShort(2, (short) 0).putInt(36, 0);
        parse(h, SCSIResponseParser.class);
        yield new Pdu.ScsiResponse(itt, sn, response, status, residual);
      }
      case 0x22 -> new Pdu.TaskResponse(itt, sn, h.get(2) & 0xFF);
      case 0x23 -> {
        int status = h.getShort(36) & 0xFFFF;
        int tsih = h.getShort(14) & 0xFFFF;
        keep(h, last ? 0xCF : 0xCC, 0xFF, 0xFF, 36);
        h.putLong(8, 0);
        LoginResponseParser f = parse(h, LoginResponseParser.class);
        yield new Pdu.LoginResponse(
            last,
            more,
            stage(f.getCurrentStageNumber()),
            last ? stage(f.getNextStageNumber()) : stage(f.getCurrentStageNumber()),
            lun >>> 16,
            tsih,
            itt,
            sn,
            status);
      }
      case 0x24 -> {
        keep(h, 0xC0, 0, 0, 36);
        TextResponseParser f = parse(h, TextResponseParser.class);
        yield new Pdu.TextResponse(last, more, lun, itt, f.getTargetTransferTag(), sn);
      }
      case 0x25 -> {
        boolean hasStatus = (flags & 1) != 0;
        int status = h.get(3) & 0xFF;
        long residual = residual(h, flags);
        if (hasStatus && !last) {
          throw new ProtocolException("Data-In with status and without the final bit");
        }
        keep(h, 0x80, 0, 0, 44);
        h.putLong(8, 0).putInt(20, Pdu.NO_TAG);
        DataInParser f = parse(h, DataInParser.class);
        yield new Pdu.DataIn(
            last,
            hasStatus,
            status,
            itt,
            sn,
            f.getDataSequenceNumber(),
            f.getBufferOffset(),
            hasStatus ? residual : 0);
      }
      case 0x26 -> new Pdu.LogoutResponse(itt, sn, h.get(2) & 0xFF);
      case 0x31 -> {
        keep(h, 0x80, 0, 0, 48);
        Ready2TransferParser f = parse(h, Ready2TransferParser.class);
        yield new Pdu.R2t(
            lun,
            itt,
            f.getTargetTransferTag(),
            sn,
            f.getReady2TransferSequenceNumber(),
            f.getBufferOffset(),
            f.getDesiredDataTransferLength());
      }
      case 0x32 ->
          new Pdu.Async(
              lun,
              sn,
              h.get(36) & 0xFF,
              h.get(37) & 0xFF,
              h.getShort(38) & 0xFFFF,
              h.getShort(40) & 0xFFFF,
              h.getShort(42) & 0xFFFF);
      case 0x3F -> new Pdu.Reject(h.get(2) & 0xFF, sn);
      default -> {
        if (opcode >= 0x20) {
          throw new ProtocolException("unknown operation " + opcode(h));
        }
        yield new Pdu.Unknown(opcode, itt, h.getInt(28));
      }
    };
  }

  /** Clears what is reserved: bits of byte 1, bytes 2 and 3, and everything from {@code end}. */
  private static void keep(ByteBuffer h, int flags, int byte2, int byte3, int end) {
    h.put(1, (byte) (h.get(1) & flags)).put(2, (byte) (h.get(2) & byte2));
    h.put(3, (byte) (h.get(3) & byte3));
    for (int i = end; i < Headers.LENGTH; i++) {
      h.put(i, (byte) 0);
    }
  }

  private static long residual(ByteBuffer h, int flags) {
    long count = h.getInt(44) & 0xFFFFFFFFL;
    return (flags & 0x04) != 0 ? -count : (flags & 0x02) != 0 ? count : 0;
  }

  private static <T extends AbstractMessageParser> T parse(ByteBuffer h, Class<T> type)
      throws InternetSCSIException, java.io.IOException, DigestException {
    ProtocolDataUnit unit = FACTORY.create("None", "None");
    h.clear();
    unit.deserialize(h);
    return type.cast(unit.getBasicHeaderSegment().getParser());
  }

  private static Pdu.Stage stage(LoginStage stage) {
    return switch (stage) {
      case SECURITY_NEGOTIATION -> Pdu.Stage.SECURITY;
      case LOGIN_OPERATIONAL_NEGOTIATION -> Pdu.Stage.OPERATIONAL;
      case FULL_FEATURE_PHASE -> Pdu.Stage.FULL_FEATURE;
    };
  }
}
