package io.xenferry.iscsi.pdu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Random;
import java.util.stream.Stream;
import org.jscsi.parser.OperationCode;
import org.jscsi.parser.ProtocolDataUnit;
import org.jscsi.parser.ProtocolDataUnitFactory;
import org.jscsi.parser.TargetMessageParser;
import org.jscsi.parser.data.DataInParser;
import org.jscsi.parser.data.DataOutParser;
import org.jscsi.parser.r2t.Ready2TransferParser;
import org.jscsi.parser.scsi.SCSICommandParser;
import org.jscsi.parser.scsi.SCSIResponseParser;
import org.jscsi.parser.scsi.SCSIStatus;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class HeadersTest {
  private static final Pdu.Sn SN = new Pdu.Sn(0x80000001, 7, -3);
  private static final long LUN = 1L << 48;

  static Stream<Pdu> everyPdu() {
    byte[] cdb = new byte[16];
    new Random(1).nextBytes(cdb);
    return Stream.of(
        new Pdu.LoginRequest(
            true, false, Pdu.Stage.SECURITY, Pdu.Stage.OPERATIONAL, 0x80ABCDEF0102L, 0, 5, 3, 1, 0),
        new Pdu.LoginRequest(
            false,
            true,
            Pdu.Stage.OPERATIONAL,
            Pdu.Stage.OPERATIONAL,
            0x400000000001L,
            0xFFFE,
            5,
            0,
            1,
            9),
        new Pdu.LoginResponse(
            true,
            false,
            Pdu.Stage.OPERATIONAL,
            Pdu.Stage.FULL_FEATURE,
            0x80ABCDEF0102L,
            0xC001,
            5,
            SN,
            0),
        new Pdu.LoginResponse(
            false, false, Pdu.Stage.SECURITY, Pdu.Stage.SECURITY, 1, 0, 5, SN, 0x0201),
        new Pdu.TextRequest(true, true, false, 0, 9, -1, 4, 5),
        new Pdu.TextResponse(false, true, 0, 9, 77, SN),
        new Pdu.ScsiCommand(false, true, true, false, LUN, 3, 65536, 8, 9, cdb),
        new Pdu.ScsiCommand(true, false, false, true, LUN, -2, 1 << 30, -8, 9, cdb),
        new Pdu.ScsiResponse(3, SN, 0, 2, 0),
        new Pdu.ScsiResponse(3, SN, 1, 0, 0),
        new Pdu.ScsiResponse(3, SN, 0, 0x28, 512),
        new Pdu.ScsiResponse(3, SN, 0, 0, -512),
        new Pdu.DataOut(true, LUN, 3, 99, 5, 6, 262144),
        new Pdu.DataIn(false, false, 0, 3, new Pdu.Sn(0, 7, 9), 1, 8192, 0),
        new Pdu.DataIn(true, true, 0, 3, SN, 1, 8192, 100),
        new Pdu.R2t(LUN, 3, 11, SN, 2, 65536, 131072),
        new Pdu.NopOut(true, LUN, -1, 12, 3, 4),
        new Pdu.NopIn(LUN, -1, 12, SN),
        new Pdu.TaskRequest(true, 5, LUN, 8, -1, 2, 3, 4),
        new Pdu.TaskResponse(8, SN, 255),
        new Pdu.LogoutRequest(true, 0, 8, 0, 2, 3),
        new Pdu.LogoutResponse(8, SN, 1),
        new Pdu.Async(LUN, SN, 1, 0, 3, 4, 5),
        new Pdu.Reject(4, SN));
  }

  @ParameterizedTest
  @MethodSource("everyPdu")
  void whatIsWrittenReadsTheSame(Pdu pdu) throws Exception {
    ByteBuffer header = ByteBuffer.allocateDirect(48);
    Headers.write(pdu, 0x012345, header);

    assertThat(header.remaining()).isEqualTo(48);
    assertThat(HeaderReader.dataLength(header)).isEqualTo(0x012345);
    assertThat(HeaderReader.read(header)).usingRecursiveComparison().isEqualTo(pdu);
  }

  /** Laid out by hand from RFC 7143 sections 11.3, 11.7 and 11.8. */
  @Test
  void bytesAreThoseOfTheRfc() {
    byte[] read = {0x28, 0, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0};
    assertThat(hex(new Pdu.ScsiCommand(false, true, true, false, LUN, 2, 4096, 3, 4, read)))
        .isEqualTo(
            "01c10000"
                + "00000000"
                + "00010000"
                + "00000000"
                + "00000002"
                + "00001000"
                + "00000003"
                + "00000004"
                + "28000000"
                + "10000000"
                + "08000000"
                + "00000000");
    assertThat(hex(new Pdu.DataOut(true, LUN, 2, 0x55, 4, 1, 8192)))
        .isEqualTo(
            "05800000"
                + "00000000"
                + "00010000"
                + "00000000"
                + "00000002"
                + "00000055"
                + "00000000"
                + "00000004"
                + "00000000"
                + "00000001"
                + "00002000"
                + "00000000");
    assertThat(hex(new Pdu.R2t(LUN, 2, 0x55, new Pdu.Sn(4, 5, 6), 0, 8192, 4096)))
        .isEqualTo(
            "31800000"
                + "00000000"
                + "00010000"
                + "00000000"
                + "00000002"
                + "00000055"
                + "00000004"
                + "00000005"
                + "00000006"
                + "00000000"
                + "00002000"
                + "00001000");
    assertThat(hex(new Pdu.DataIn(true, true, 0, 2, new Pdu.Sn(4, 5, 6), 0, 0, 16)))
        .startsWith("25830000")
        .endsWith("00000010");
  }

  /** The PDUs of which each command has some are laid out here as jSCSI's codec lays them out. */
  @Test
  void theCodecLaysThemOutTheSame() throws Exception {
    Random random = new Random(3);
    for (int i = 0; i < 200; i++) {
      byte[] cdb = new byte[16];
      random.nextBytes(cdb);
      Pdu.Sn sn = new Pdu.Sn(random.nextInt(), random.nextInt(), random.nextInt());
      long lun = (random.nextInt() & 0x3FFFL) << 48;
      int itt = random.nextInt();
      int ttt = random.nextInt();
      int offset = random.nextInt(1 << 24);
      boolean last = random.nextBoolean();
      boolean read = random.nextBoolean();
      for (Pdu pdu :
          new Pdu[] {
            new Pdu.ScsiCommand(
                random.nextBoolean(), read || last, read, !read, lun, itt, offset, i, -i, cdb),
            new Pdu.ScsiResponse(itt, sn, 0, 0, 0),
            new Pdu.DataOut(last, lun, itt, ttt, -i, i, offset),
            new Pdu.DataIn(true, true, 0, itt, sn, i, offset, 0),
            new Pdu.R2t(lun, itt, ttt, sn, i, offset, 1 + random.nextInt(1 << 20)),
          }) {
        assertThat(hex(pdu)).as("%s", pdu).isEqualTo(HexFormat.of().formatHex(byCodec(pdu)));
      }
    }
  }

  private static byte[] byCodec(Pdu pdu) throws Exception {
    OperationCode code =
        switch (pdu) {
          case Pdu.ScsiCommand p -> OperationCode.SCSI_COMMAND;
          case Pdu.ScsiResponse p -> OperationCode.SCSI_RESPONSE;
          case Pdu.DataOut p -> OperationCode.SCSI_DATA_OUT;
          case Pdu.DataIn p -> OperationCode.SCSI_DATA_IN;
          case Pdu.R2t p -> OperationCode.R2T;
          default -> throw new IllegalArgumentException(pdu.toString());
        };
    boolean immediate = pdu instanceof Pdu.ScsiCommand command && command.immediate();
    boolean last =
        switch (pdu) {
          case Pdu.ScsiCommand p -> p.last();
          case Pdu.DataOut p -> p.last();
          default -> true;
        };
    ProtocolDataUnit unit =
        new ProtocolDataUnitFactory().create(immediate, last, code, "None", "None");
    unit.getBasicHeaderSegment().setInitiatorTaskTag(pdu.itt());
    switch (pdu) {
      case Pdu.ScsiCommand p -> {
        SCSICommandParser f = (SCSICommandParser) unit.getBasicHeaderSegment().getParser();
        f.setReadExpectedFlag(p.read());
        f.setWriteExpectedFlag(p.write());
        f.setTaskAttributes(SCSICommandParser.TaskAttributes.SIMPLE);
        f.setLogicalUnitNumber(p.lun());
        f.setExpectedDataTransferLength(p.length());
        f.setCommandDescriptorBlock(ByteBuffer.wrap(p.cdb()));
        f.setCommandSequenceNumber(p.cmdSn());
        f.setExpectedStatusSequenceNumber(p.expStatSn());
      }
      case Pdu.ScsiResponse p -> {
        SCSIResponseParser f = (SCSIResponseParser) unit.getBasicHeaderSegment().getParser();
        f.setResponse(SCSIResponseParser.ServiceResponse.COMMAND_COMPLETED_AT_TARGET);
        f.setStatus(SCSIStatus.GOOD);
        numbers(f, p.sn());
      }
      case Pdu.DataOut p -> {
        DataOutParser f = (DataOutParser) unit.getBasicHeaderSegment().getParser();
        f.setLogicalUnitNumber(p.lun());
        f.setTargetTransferTag(p.ttt());
        f.setExpectedStatusSequenceNumber(p.expStatSn());
        f.setDataSequenceNumber(p.dataSn());
        f.setBufferOffset(p.offset());
      }
      case Pdu.DataIn p -> {
        DataInParser f = (DataInParser) unit.getBasicHeaderSegment().getParser();
        f.setStatus(SCSIStatus.GOOD);
        f.setStatusFlag(true);
        f.setTargetTransferTag(Pdu.NO_TAG);
        f.setDataSequenceNumber(p.dataSn());
        f.setBufferOffset(p.offset());
        numbers(f, p.sn());
      }
      case Pdu.R2t p -> {
        Ready2TransferParser f = (Ready2TransferParser) unit.getBasicHeaderSegment().getParser();
        f.setLogicalUnitNumber(p.lun());
        f.setTargetTransferTag(p.ttt());
        f.setReady2TransferSequenceNumber(p.r2tSn());
        f.setBufferOffset(p.offset());
        f.setDesiredDataTransferLength(p.length());
        numbers(f, p.sn());
      }
      default -> throw new IllegalArgumentException(pdu.toString());
    }
    byte[] bytes = new byte[48];
    unit.serialize().get(0, bytes);
    return bytes;
  }

  private static void numbers(TargetMessageParser fields, Pdu.Sn sn) {
    fields.setStatusSequenceNumber(sn.statSn());
    fields.setExpectedCommandSequenceNumber(sn.expCmdSn());
    fields.setMaximumCommandSequenceNumber(sn.maxCmdSn());
  }

  private static String hex(Pdu pdu) {
    ByteBuffer header = ByteBuffer.allocate(48);
    Headers.write(pdu, 0, header);
    return HexFormat.of().formatHex(header.array());
  }

  @Test
  void reservedBitsOfThePeerAreIgnored() throws Exception {
    ByteBuffer header = ByteBuffer.allocate(48);
    Headers.write(new Pdu.DataIn(true, true, 0, 3, SN, 1, 8192, 0), 0, header);
    header.put(2, (byte) 0xFF).putLong(8, LUN).putInt(20, 5);
    assertThat(HeaderReader.read(header)).isInstanceOf(Pdu.DataIn.class);

    Headers.write(new Pdu.NopIn(0, -1, 5, SN), 0, header);
    header.put(1, (byte) 0xFF).putInt(40, -1);
    assertThat(HeaderReader.read(header)).isInstanceOf(Pdu.NopIn.class);
  }

  @Test
  void junkIsAProtocolExceptionOrAPdu() {
    Random random = new Random(42);
    byte[] junk = new byte[48];
    for (int i = 0; i < 20_000; i++) {
      random.nextBytes(junk);
      junk[4] = 0;
      try {
        HeaderReader.read(ByteBuffer.wrap(junk));
      } catch (ProtocolException expected) {
        assertThat(expected).hasMessageNotContaining("null");
      }
    }
  }

  @Test
  void refusesAdditionalHeaders() {
    ByteBuffer header = ByteBuffer.allocate(48);
    Headers.write(new Pdu.NopIn(0, -1, 5, SN), 0, header);
    header.put(4, (byte) 1);
    assertThatThrownBy(() -> HeaderReader.read(header)).isInstanceOf(ProtocolException.class);
  }

  @Test
  void textKeysHaveLimits() throws Exception {
    TextKeys keys = new TextKeys().set("A", "1").set("B", "x=y");
    assertThat(TextKeys.parse(ByteBuffer.wrap(keys.toBytes())).asMap())
        .containsExactly(java.util.Map.entry("A", "1"), java.util.Map.entry("B", "x=y"));
    for (String bad : new String[] {"novalue\0", "=x\0", "A=1\0A=2\0", "K".repeat(64) + "=1\0"}) {
      assertThatThrownBy(() -> TextKeys.parse(ByteBuffer.wrap(bad.getBytes())))
          .isInstanceOf(ProtocolException.class);
    }
    assertThatThrownBy(() -> new TextKeys().set("N", "99999999999").number("N", 0, 0, 10))
        .isInstanceOf(ProtocolException.class);
  }

  @Test
  void chapIsThatOfTheRfc() throws Exception {
    // MD5 over 01 "secret" 00 01 02, computed with md5sum.
    assertThat(Chap.hex(Chap.response(1, "secret", new byte[] {0, 1, 2})))
        .isEqualTo("0x" + MD5_OF_EXAMPLE);
    assertThat(Chap.binary("0x0aFF")).containsExactly(0x0a, 0xFF);
    assertThat(Chap.binary("0bAQI=")).containsExactly(1, 2);
    assertThatThrownBy(() -> Chap.binary("0xzz")).isInstanceOf(ProtocolException.class);
  }

  private static final String MD5_OF_EXAMPLE = "c4081e0c9f89346155ddb08f0bf91611";
}
