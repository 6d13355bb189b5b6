package io.xenferry.iscsi.embedded;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.scsi.Cdb;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class SupportedCommandsTest {
  private static ByteBuffer cdb(int options, int opcode, int action) {
    return ByteBuffer.allocate(16)
        .put(2, (byte) options)
        .put(3, (byte) opcode)
        .putShort(4, (short) action);
  }

  @Test
  void listsAllOfThem() throws Exception {
    for (int timeouts : new int[] {0, 0x80}) {
      ByteBuffer all = ByteBuffer.wrap(SupportedCommands.report(cdb(timeouts, 0, 0)));
      int each = timeouts == 0 ? 8 : 20;
      assertThat(all.getInt(0)).isEqualTo(all.capacity() - 4);
      assertThat(all.getInt(0) % each).isZero();
      for (int at = 4; at < all.capacity(); at += each) {
        int opcode = all.get(at) & 0xFF;
        assertThat(SupportedCommands.access(opcode)).isPresent();
        boolean action = (all.get(at + 5) & 1) != 0;
        ByteBuffer one =
            ByteBuffer.wrap(
                SupportedCommands.report(cdb(action ? 2 : 1, opcode, all.getShort(at + 2))));
        assertThat(one.get(1)).isEqualTo((byte) 3);
        assertThat(one.getShort(2)).isEqualTo(all.getShort(at + 6));
        assertThat(one.get(4)).isEqualTo((byte) opcode);
      }
    }
  }

  @Test
  void tellsServiceActionsApart() throws Exception {
    assertThat(SupportedCommands.report(cdb(1, 0xC1, 0))).containsExactly(0, 1, 0, 0);
    assertThat(SupportedCommands.report(cdb(2, Cdb.PERSISTENT_RESERVE_OUT, 7)))
        .containsExactly(0, 1, 0, 0);
    assertThat(SupportedCommands.report(cdb(3, Cdb.READ_10, 0))[1]).isEqualTo((byte) 3);
    assertThatThrownBy(() -> SupportedCommands.report(cdb(1, Cdb.SERVICE_ACTION_IN_16, 0)))
        .isInstanceOf(Check.class);
    assertThatThrownBy(() -> SupportedCommands.report(cdb(2, Cdb.READ_10, 0)))
        .isInstanceOf(Check.class);
    assertThatThrownBy(() -> SupportedCommands.report(cdb(4, Cdb.READ_10, 0)))
        .isInstanceOf(Check.class);
  }
}
