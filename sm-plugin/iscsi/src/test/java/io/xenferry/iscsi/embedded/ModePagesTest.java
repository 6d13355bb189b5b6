package io.xenferry.iscsi.embedded;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.scsi.Sense;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ModePagesTest {
  private static final int SELECT = 0x10;
  private final ModePages modes = new ModePages(512, 1000);

  private static ByteBuffer cdb(int flags, int page) {
    return ByteBuffer.allocate(16).put(1, (byte) flags).put(2, (byte) page);
  }

  private byte[] sense6(int page) throws Check {
    return modes.sense(cdb(8, page), false, false);
  }

  private static ByteBuffer list(byte[] sense) {
    ByteBuffer list = ByteBuffer.wrap(sense.clone());
    return list.put(0, (byte) 0).put(2, (byte) 0);
  }

  @Test
  void allPagesFollowTheHeaderAndTheBlockDescriptor() throws Exception {
    ByteBuffer six = ByteBuffer.wrap(modes.sense(cdb(0, 0x3F), false, true));
    assertThat(six.get(0)).isEqualTo((byte) (six.capacity() - 1));
    assertThat(six.get(2)).isEqualTo((byte) 0x90);
    assertThat(six.get(3)).isEqualTo((byte) 8);
    assertThat(six.getInt(4)).isEqualTo(1000);
    assertThat(six.getInt(8)).isEqualTo(512);
    assertThat(six.get(12)).isEqualTo((byte) 0x08);
    assertThat(six.get(32)).isEqualTo((byte) 0x0A);
    assertThat(six.get(44)).isEqualTo((byte) 0x1C);

    ByteBuffer ten = ByteBuffer.wrap(modes.sense(cdb(0x10, 0x3F), true, false));
    assertThat(ten.getShort(0)).isEqualTo((short) (ten.capacity() - 2));
    assertThat(ten.getShort(6)).isEqualTo((short) 16);
    assertThat(ten.getLong(8)).isEqualTo(1000);
    assertThat(ten.getInt(20)).isEqualTo(512);
  }

  @Test
  void whatIsThereCanBeWrittenBack() throws Exception {
    assertThat(modes.select(cdb(SELECT, 0), false, list(sense6(0x3F)))).isFalse();
  }

  @Test
  void writeProtectionAndTheSenseFormatCanBeChangedAndEndWithAReset() throws Exception {
    byte[] page = sense6(0x0A);
    page[4 + 2] |= 4;
    page[4 + 4] |= 8;

    assertThat(modes.select(cdb(SELECT, 0), false, list(page))).isTrue();
    assertThat(modes.writeProtect()).isTrue();
    assertThat(modes.descriptorSense()).isTrue();
    assertThat(sense6(0x0A)[2]).isEqualTo((byte) 0x90);
    assertThat(Arrays.copyOfRange(sense6(0x0A), 4, 16)).isEqualTo(Arrays.copyOfRange(page, 4, 16));
    // Default values stay what they were.
    assertThat(sense6(0x80 | 0x0A)[4 + 4]).isZero();

    modes.reset();
    assertThat(modes.writeProtect()).isFalse();
  }

  @Test
  void nothingElseCanBeChanged() throws Exception {
    byte[] caching = sense6(0x08);
    caching[4 + 2] = 0;
    assertThatThrownBy(() -> modes.select(cdb(SELECT, 0), false, list(caching)))
        .isInstanceOfSatisfying(
            Check.class, e -> assertThat(e.sense).isEqualTo(Sense.INVALID_PARAMETER));
    assertThat(sense6(0x40 | 0x08)).endsWith(new byte[18]);
  }

  @Test
  void aListThatIsWrongInPartChangesNothing() throws Exception {
    byte[] control = sense6(0x0A);
    control[4 + 4] |= 8;
    ByteBuffer list = ByteBuffer.allocate(control.length + 2).put(control).put((byte) 0x3E).flip();
    list.limit(control.length + 2).put(0, (byte) 0).put(2, (byte) 0);

    assertThatThrownBy(() -> modes.select(cdb(SELECT, 0), false, list)).isInstanceOf(Check.class);
    assertThat(modes.writeProtect()).isFalse();
  }

  @Test
  void unknownPagesSavedValuesAndCutListsAreRefused() {
    assertThatThrownBy(() -> sense6(0x07))
        .isInstanceOfSatisfying(
            Check.class, e -> assertThat(e.sense).isEqualTo(Sense.INVALID_FIELD_IN_CDB));
    assertThatThrownBy(() -> sense6(0xC0 | 0x08))
        .isInstanceOfSatisfying(
            Check.class, e -> assertThat(e.sense).isEqualTo(Sense.SAVING_NOT_SUPPORTED));
    for (int cut = 1; cut < 16; cut++) {
      int length = cut;
      if (length != 4) {
        assertThatThrownBy(
                () -> modes.select(cdb(SELECT, 0), false, list(sense6(0x0A)).slice(0, length)))
            .as("a list of " + length)
            .isInstanceOf(Check.class);
      }
    }
  }
}
