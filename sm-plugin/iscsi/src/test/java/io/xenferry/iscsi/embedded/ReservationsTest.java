package io.xenferry.iscsi.embedded;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.embedded.Reservations.Conflict;
import io.xenferry.iscsi.embedded.Reservations.Type;
import io.xenferry.iscsi.embedded.SupportedCommands.Access;
import io.xenferry.iscsi.scsi.Sense;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ReservationsTest {
  private static final Nexus A = new Nexus("iqn.2026-01.io.xenferry:a", 1);
  private static final Nexus B = new Nexus("iqn.2026-01.io.xenferry:b", 2);
  private static final Nexus C = new Nexus("iqn.2026-01.io.xenferry:c", 3);

  private static final int REGISTER = 0;
  private static final int RESERVE = 1;
  private static final int RELEASE = 2;
  private static final int CLEAR = 3;
  private static final int PREEMPT = 4;
  private static final int PREEMPT_AND_ABORT = 5;
  private static final int REGISTER_AND_IGNORE = 6;

  private final List<String> told = new ArrayList<>();
  private final Reservations reservations =
      new Reservations((whom, sense) ->
          told.add(whom.initiator().substring(whom.initiator().length() - 1) + " " + sense));

  private List<Nexus> out(Nexus who, int action, Type type, long key, long wanted)
      throws Check, Conflict {
    return reservations.out(who, cdb(action, type.code), parameters(key, wanted, 0));
  }

  private static ByteBuffer cdb(int action, int type) {
    return ByteBuffer.allocate(16)
        .put(0, (byte) 0x5F)
        .put(1, (byte) action)
        .put(2, (byte) type)
        .putInt(5, 24);
  }

  private static ByteBuffer parameters(long key, long wanted, int flags) {
    return ByteBuffer.allocate(24).putLong(0, key).putLong(8, wanted).put(20, (byte) flags);
  }

  private void register(Nexus who, long key) throws Exception {
    out(who, REGISTER_AND_IGNORE, Type.WRITE_EXCLUSIVE, 0, key);
  }

  private boolean may(Nexus who, Access access) {
    try {
      reservations.check(who, access);
      return true;
    } catch (Conflict e) {
      return false;
    }
  }

  private List<Long> keys() throws Exception {
    ByteBuffer list = ByteBuffer.wrap(reservations.in(C, 0));
    List<Long> keys = new ArrayList<>();
    for (int i = 0; i < list.getInt(4); i += 8) {
      keys.add(list.getLong(8 + i));
    }
    return keys;
  }

  private int generation() throws Exception {
    return ByteBuffer.wrap(reservations.in(C, 0)).getInt();
  }

  @Test
  void aReservedUnitIsItsReserversUntilTheSessionEnds() throws Exception {
    reservations.reserve(A);
    reservations.reserve(A);

    assertThat(may(A, Access.WRITE)).isTrue();
    assertThat(may(B, Access.READ)).isFalse();
    assertThat(may(B, Access.NONE)).isTrue();
    assertThatThrownBy(() -> reservations.reserve(B)).isInstanceOf(Conflict.class);
    assertThatThrownBy(() -> register(B, 7)).isInstanceOf(Conflict.class);
    reservations.release(B);
    assertThat(may(B, Access.READ)).isFalse();
    reservations.lost(A);
    assertThat(may(B, Access.WRITE)).isTrue();
    reservations.reserve(B);
    reservations.reset();
    assertThat(may(A, Access.WRITE)).isTrue();
  }

  @Test
  void registeringTakesTheKeyThatIsThere() throws Exception {
    out(A, REGISTER, Type.WRITE_EXCLUSIVE, 0, 11);
    assertThatThrownBy(() -> out(A, REGISTER, Type.WRITE_EXCLUSIVE, 0, 12))
        .isInstanceOf(Conflict.class);
    assertThatThrownBy(() -> out(B, REGISTER, Type.WRITE_EXCLUSIVE, 11, 12))
        .isInstanceOf(Conflict.class);
    out(A, REGISTER, Type.WRITE_EXCLUSIVE, 11, 12);
    out(B, REGISTER, Type.WRITE_EXCLUSIVE, 0, 0);

    assertThat(keys()).containsExactly(12L);
    assertThat(generation()).isEqualTo(2);
    assertThatThrownBy(() -> reservations.reserve(B)).isInstanceOf(Conflict.class);
    out(A, REGISTER, Type.WRITE_EXCLUSIVE, 12, 0);
    assertThat(keys()).isEmpty();
  }

  @ParameterizedTest
  @EnumSource
  void eachTypeAdmitsWhomItSays(Type type) throws Exception {
    register(A, 1);
    register(B, 2);
    out(A, RESERVE, type, 1, 0);

    assertThat(may(A, Access.WRITE)).isTrue();
    assertThat(may(A, Access.READ)).isTrue();
    assertThat(may(B, Access.WRITE)).isEqualTo(type.forRegistrants());
    assertThat(may(B, Access.READ)).isEqualTo(type.forRegistrants() || type.allowsReading());
    assertThat(may(C, Access.WRITE)).isFalse();
    assertThat(may(C, Access.READ)).isEqualTo(type.allowsReading());
    ByteBuffer read = ByteBuffer.wrap(reservations.in(C, 1));
    assertThat(read.getInt(4)).isEqualTo(16);
    assertThat(read.getLong(8)).isEqualTo(type.ofAllRegistrants() ? 0 : 1);
    assertThat(read.get(21)).isEqualTo((byte) type.code);
  }

  @ParameterizedTest
  @EnumSource
  void aHoldersEndIsTheReservationsUnlessOthersHoldItToo(Type type) throws Exception {
    register(A, 1);
    register(B, 2);
    out(A, RESERVE, type, 1, 0);

    out(A, REGISTER, type, 1, 0);

    boolean stays = type.ofAllRegistrants();
    assertThat(ByteBuffer.wrap(reservations.in(C, 1)).getInt(4)).isEqualTo(stays ? 16 : 0);
    assertThat(told)
        .isEqualTo(
            type.forRegistrants() && !stays
                ? List.of("b " + Sense.RESERVATIONS_RELEASED)
                : List.of());
    assertThat(may(A, Access.WRITE)).isEqualTo(!stays);
  }

  @Test
  void onlyTheHolderReleasesAndOnlyAsItReserved() throws Exception {
    register(A, 1);
    register(B, 2);
    out(A, RESERVE, Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, 1, 0);
    assertThatThrownBy(() -> out(B, RESERVE, Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, 2, 0))
        .isInstanceOf(Conflict.class);
    assertThatThrownBy(() -> out(A, RESERVE, Type.EXCLUSIVE_ACCESS, 1, 0))
        .isInstanceOf(Conflict.class);
    out(B, RELEASE, Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, 2, 0);
    assertThat(may(C, Access.WRITE)).isFalse();
    assertThatThrownBy(() -> out(A, RELEASE, Type.EXCLUSIVE_ACCESS, 1, 0))
        .isInstanceOfSatisfying(
            Check.class, e -> assertThat(e.sense).isEqualTo(Sense.INVALID_RELEASE));

    out(A, RELEASE, Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, 1, 0);

    assertThat(may(C, Access.WRITE)).isTrue();
    assertThat(told).containsExactly("b " + Sense.RESERVATIONS_RELEASED);
    assertThat(keys()).containsExactly(1L, 2L);
  }

  @Test
  void preemptingTakesTheReservationAndSaysWhoseCommandsMustEnd() throws Exception {
    register(A, 1);
    register(B, 2);
    register(C, 3);
    out(A, RESERVE, Type.EXCLUSIVE_ACCESS, 1, 0);

    assertThat(out(B, PREEMPT_AND_ABORT, Type.WRITE_EXCLUSIVE, 2, 1)).containsExactly(A);

    assertThat(keys()).containsExactly(2L, 3L);
    assertThat(may(B, Access.WRITE)).isTrue();
    assertThat(may(A, Access.WRITE)).isFalse();
    assertThat(told)
        .containsExactly("a " + Sense.REGISTRATIONS_PREEMPTED, "c " + Sense.RESERVATIONS_RELEASED);
    assertThat(out(B, PREEMPT, Type.WRITE_EXCLUSIVE, 2, 3)).isEmpty();
    assertThat(keys()).containsExactly(2L);
    assertThatThrownBy(() -> out(B, PREEMPT, Type.WRITE_EXCLUSIVE, 2, 99))
        .isInstanceOf(Conflict.class);
    assertThatThrownBy(() -> out(B, PREEMPT, Type.WRITE_EXCLUSIVE, 2, 0)).isInstanceOf(Check.class);
  }

  @Test
  void oneOfAllRegistrantsMayPreemptTheOthers() throws Exception {
    register(A, 1);
    register(B, 2);
    register(C, 2);
    out(A, RESERVE, Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS, 1, 0);

    assertThat(out(B, PREEMPT_AND_ABORT, Type.EXCLUSIVE_ACCESS, 2, 0)).containsExactly(A, C);

    assertThat(keys()).containsExactly(2L);
    assertThat(may(A, Access.READ)).isFalse();
    assertThat(may(B, Access.WRITE)).isTrue();
  }

  @Test
  void clearingEndsEverything() throws Exception {
    register(A, 1);
    register(B, 2);
    out(A, RESERVE, Type.EXCLUSIVE_ACCESS, 1, 0);

    out(B, CLEAR, Type.EXCLUSIVE_ACCESS, 2, 0);

    assertThat(keys()).isEmpty();
    assertThat(may(C, Access.WRITE)).isTrue();
    assertThat(told).containsExactly("a " + Sense.RESERVATIONS_PREEMPTED);
  }

  @Test
  void persistentOnesSurviveSessionsAndResets() throws Exception {
    register(A, 1);
    out(A, RESERVE, Type.WRITE_EXCLUSIVE, 1, 0);

    reservations.lost(A);
    reservations.reset();

    assertThat(may(B, Access.WRITE)).isFalse();
    assertThat(may(A, Access.WRITE)).isTrue();
  }

  @Test
  void badParametersAreRefused() {
    assertThatThrownBy(() -> reservations.out(A, cdb(REGISTER, 1), ByteBuffer.allocate(23)))
        .isInstanceOfSatisfying(
            Check.class, e -> assertThat(e.sense).isEqualTo(Sense.PARAMETER_LIST_LENGTH));
    // Activation through power loss is more than memory can hold.
    assertThatThrownBy(() -> reservations.out(A, cdb(REGISTER, 1), parameters(0, 1, 1)))
        .isInstanceOfSatisfying(
            Check.class, e -> assertThat(e.sense).isEqualTo(Sense.INVALID_PARAMETER));
    assertThatThrownBy(() -> reservations.out(A, cdb(7, 1), parameters(0, 1, 0)))
        .isInstanceOf(Check.class);
    assertThatThrownBy(() -> out(A, RESERVE, Type.WRITE_EXCLUSIVE, 5, 0))
        .isInstanceOf(Conflict.class);
    assertThatCode(() -> register(A, 5)).doesNotThrowAnyException();
    assertThatThrownBy(() -> reservations.out(A, cdb(RESERVE, 2), parameters(5, 0, 0)))
        .isInstanceOf(Check.class);
    assertThatThrownBy(() -> reservations.in(A, 4)).isInstanceOf(Check.class);
  }

  @Test
  void registrationsHaveALimit() throws Exception {
    for (int i = 0; i < 256; i++) {
      register(new Nexus("iqn.2026-01.io.xenferry:many", i), i + 1);
    }
    assertThatThrownBy(() -> register(A, 1))
        .isInstanceOfSatisfying(
            Check.class, e -> assertThat(e.sense).isEqualTo(Sense.NO_REGISTRATION_RESOURCES));
  }

  @Test
  void fullStatusNamesThePorts() throws Exception {
    register(A, 1);
    register(B, 2);
    out(B, RESERVE, Type.EXCLUSIVE_ACCESS, 2, 0);

    ByteBuffer all = ByteBuffer.wrap(reservations.in(C, 3));

    assertThat(all.getInt(4)).isEqualTo(all.capacity() - 8);
    assertThat(all.getLong(8)).isEqualTo(1);
    assertThat(all.get(8 + 12)).isZero();
    int next = 8 + 24 + all.getInt(8 + 20);
    assertThat(all.getLong(next)).isEqualTo(2);
    assertThat(all.get(next + 12)).isEqualTo((byte) 1);
    assertThat(all.get(next + 24)).isEqualTo((byte) 0x45);
    byte[] name = new byte[all.getShort(next + 26)];
    all.get(next + 28, name);
    assertThat(new String(name, java.nio.charset.StandardCharsets.UTF_8))
        .startsWith("iqn.2026-01.io.xenferry:b,i,0x000000000002\0");
  }
}
