package io.xenferry.iscsi.pdu;

import java.nio.ByteBuffer;
import java.security.DigestException;
import org.jscsi.exception.InternetSCSIException;
import org.jscsi.parser.AbstractMessageParser;
import org.jscsi.parser.ProtocolDataUnit;
import org.jscsi.parser.ProtocolDataUnitFactory;
import org.jscsi.parser.login.LoginRequestParser;
import org.jscsi.parser.login.LoginResponseParser;
import org.jscsi.parser.login.LoginStage;
import org.jscsi.parser.nop.NOPInParser;
import org.jscsi.parser.nop.NOPOutParser;
import org.jscsi.parser.text.TextRequestParser;
import org.jscsi.parser.text.TextResponseParser;

/**
 * Reads basic header segments. The five of which each command has some are taken apart here,
 * without garbage but for the record itself. Of the others jSCSI's parser takes the fields apart;
 * what RFC 7143 calls reserved is cleared beforehand, since a receiver must ignore it and the
 * parser does not, and the fields that the parser gets wrong are read here. Junk ends in a {@link
 * ProtocolException}, whatever the parser throws.
 */
public final class HeaderReader {
  private static final ProtocolDataUnitFactory FACTORY = new ProtocolDataUnitFactory();

  private static final int LAST_TASK_ATTRIBUTE = 4;

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
    int at = header.position();
    if (header.get(at + 4) != 0) {
      throw new ProtocolException("additional header segments are not supported");
    }
    return switch (header.get(at) & 0x3F) {
      case 0x01 -> command(header, at);
      case 0x05 ->
          new Pdu.DataOut(
              header.get(at + 1) < 0,
              header.getLong(at + 8),
              header.getInt(at + 16),
              header.getInt(at + 20),
              header.getInt(at + 28),
              header.getInt(at + 36),
              header.getInt(at + 40));
      case 0x21 ->
          new Pdu.ScsiResponse(
              header.getInt(at + 16),
              sn(header, at),
              header.get(at + 2) & 0xFF,
              header.get(at + 3) & 0xFF,
              residual(header, at));
      case 0x25 -> dataIn(header, at);
      case 0x31 ->
          new Pdu.R2t(
              header.getLong(at + 8),
              header.getInt(at + 16),
              header.getInt(at + 20),
              sn(header, at),
              header.getInt(at + 36),
              header.getInt(at + 40),
              header.getInt(at + 44));
      default -> other(header, at);
    };
  }

  private static Pdu.ScsiCommand command(ByteBuffer header, int at) throws ProtocolException {
    int flags = header.get(at + 1);
    if ((flags & 0x07) > LAST_TASK_ATTRIBUTE) {
      throw new ProtocolException("a command with a task attribute that is reserved");
    }
    byte[] cdb = new byte[16];
    header.get(at + 32, cdb);
    return new Pdu.ScsiCommand(
        (header.get(at) & 0x40) != 0,
        (flags & 0x80) != 0,
        (flags & 0x40) != 0,
        (flags & 0x20) != 0,
        header.getLong(at + 8),
        header.getInt(at + 16),
        header.getInt(at + 20),
        header.getInt(at + 24),
        header.getInt(at + 28),
        cdb);
  }

  private static Pdu.DataIn dataIn(ByteBuffer header, int at) throws ProtocolException {
    int flags = header.get(at + 1);
    boolean last = (flags & 0x80) != 0;
    boolean hasStatus = (flags & 0x01) != 0;
    if (hasStatus && !last) {
      throw new ProtocolException("Data-In with status and without the final bit");
    }
    return new Pdu.DataIn(
        last,
        hasStatus,
        header.get(at + 3) & 0xFF,
        header.getInt(at + 16),
        sn(header, at),
        header.getInt(at + 36),
        header.getInt(at + 40),
        hasStatus ? residual(header, at) : 0);
  }

  private static Pdu.Sn sn(ByteBuffer header, int at) {
    return new Pdu.Sn(header.getInt(at + 24), header.getInt(at + 28), header.getInt(at + 32));
  }

  /** Bytes too few when positive, too many when negative. */
  private static long residual(ByteBuffer header, int at) {
    long count = header.getInt(at + 44) & 0xFFFFFFFFL;
    int flags = header.get(at + 1);
    return (flags & 0x04) != 0 ? -count : (flags & 0x02) != 0 ? count : 0;
  }

  /** The PDUs that are no part of each command. */
  private static Pdu other(ByteBuffer header, int at) throws ProtocolException {
    ByteBuffer h = ByteBuffer.allocate(Headers.LENGTH);
    h.put(0, header, at, Headers.LENGTH);
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
      case 0x06 ->
          new Pdu.LogoutRequest(
              immediate, flags, itt, h.getShort(20) & 0xFFFF, h.getInt(24), h.getInt(28));
      case 0x20 -> {
        keep(h, 0x80, 0, 0, 36);
        NOPInParser f = parse(h, NOPInParser.class);
        yield new Pdu.NopIn(lun, itt, f.getTargetTransferTag(), sn);
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
      case 0x26 -> new Pdu.LogoutResponse(itt, sn, h.get(2) & 0xFF);
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
