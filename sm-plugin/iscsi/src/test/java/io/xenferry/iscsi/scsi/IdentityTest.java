package io.xenferry.iscsi.scsi;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** What units say of themselves, and the SCSI id that XenServer's SRs make of it. */
class IdentityTest {
  private static final Optional<ByteBuffer> NONE = Optional.empty();

  private static ByteBuffer standard(String vendor, String product) {
    byte[] data = new byte[36];
    byte[] text = String.format("%-8s%-16s", vendor, product).getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(text, 0, data, 8, text.length);
    return ByteBuffer.wrap(data);
  }

  private static Optional<ByteBuffer> page(int page, String hexBody) {
    byte[] body = HexFormat.of().parseHex(hexBody);
    return Optional.of(
        ByteBuffer.allocate(4 + body.length)
            .put(1, (byte) page)
            .putShort(2, (short) body.length)
            .put(4, body));
  }

  private static String hex(String text) {
    return HexFormat.of().formatHex(text.getBytes(StandardCharsets.US_ASCII));
  }

  @Test
  void theRegisteredNameGoesBeforeTheVendorsOwn() {
    String vendors = "02010011" + hex("IET     00010001") + "00";
    String naa = "01030010" + "60a98000534b4f4e46704c76692d6d33";
    Identity its =
        Identity.of(
            standard("NETAPP", "LUN"), page(0x80, hex("SKONFpLvi-m3")), page(0x83, vendors + naa));
    assertThat(its)
        .isEqualTo(
            new Identity(0, "NETAPP", "LUN", "SKONFpLvi-m3", "360a98000534b4f4e46704c76692d6d33"));
  }

  @Test
  void blanksOfAVendorsIdBecomeOneUnderscore() {
    Identity its =
        Identity.of(
            standard("IET", "VIRTUAL-DISK"),
            NONE,
            page(0x83, "02010018" + hex("IET     00010001") + "00".repeat(8)));
    assertThat(its.scsiId()).isEqualTo("1IET_00010001");
    assertThat(its.serial()).isEmpty();
  }

  @Test
  void aPortsDesignatorIsNotTheUnits() {
    Identity its =
        Identity.of(
            standard("A", "B"), page(0x80, hex("77")), page(0x83, "01130008" + "5".repeat(16)));
    assertThat(its.scsiId()).isEqualTo("SAB77");
  }

  @Test
  void lengthsThatLieEndNowhereElse() {
    ByteBuffer lying = ByteBuffer.wrap(HexFormat.of().parseHex("0083ffff" + "010300ff" + "6000"));
    ByteBuffer serial = ByteBuffer.wrap(HexFormat.of().parseHex("0080ffff" + hex("ok")));
    Identity its = Identity.of(standard("A", "B"), Optional.of(serial), Optional.of(lying));
    assertThat(its.serial()).isEqualTo("ok");
    assertThat(its.scsiId()).isEqualTo("SABok");
    assertThat(Identity.of(standard("A", "B"), Optional.of(ByteBuffer.allocate(2)), NONE).scsiId())
        .isEmpty();
  }
}
