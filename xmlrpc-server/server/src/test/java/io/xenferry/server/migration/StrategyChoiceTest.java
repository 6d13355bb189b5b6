package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.xenferry.migration.state.Plan;
import io.xenferry.model.XenApiException;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Which strategy a disk gets that a guest writes. */
class StrategyChoiceTest {
  private static final UUID VDI = UUID.fromString("00000000-0000-0000-0000-000000000001");

  private static String choose(String asked, boolean noted, boolean snapshots)
      throws XenApiException {
    Plan.Disk disk = new Plan.Disk(VDI, "xvda", 1 << 20, "sr", asked, false);
    return StrategyChoice.choose(disk, noted, vdi -> snapshots).strategy();
  }

  @ParameterizedTest
  @CsvSource({
    "auto, true, true, auto",
    "auto, true, false, auto",
    "log-dirty, true, true, log-dirty",
    "mirror, true, false, mirror",
    "snapshot, true, true, snapshot",
    "snapshot, false, true, snapshot",
    "auto, false, true, snapshot"
  })
  void isWhatWasAskedForWhereThatCanBe(
      String asked, boolean noted, boolean snapshots, String chosen) throws XenApiException {
    assertThat(choose(asked, noted, snapshots)).isEqualTo(chosen);
  }

  private static String refusal(String asked, boolean noted, boolean snapshots) {
    XenApiException refused =
        catchThrowableOfType(XenApiException.class, () -> choose(asked, noted, snapshots));
    assertThat(refused.code()).isEqualTo("OPERATION_NOT_ALLOWED");
    return refused.params().getFirst();
  }

  @Test
  void aDiskThatCannotBeSnapshotSaysWhatCopiesIt() {
    assertThat(refusal("snapshot", true, false))
        .isEqualTo(
            "strategy=snapshot is not to be had for disk xvda (VDI "
                + VDI
                + "): its SR takes no"
                + " snapshots of it while the VM writes it, as of a raw image or one that rests on"
                + " very many others; auto, log-dirty and mirror copy it.");
  }

  @ParameterizedTest
  @ValueSource(strings = {"log-dirty", "mirror"})
  void aDiskWithoutDirtyLogSaysThatSnapshotsCopyIt(String asked) {
    assertThat(refusal(asked, false, true))
        .contains("strategy=" + asked)
        .contains("does not note what the VM writes to it; snapshot copies it.");
  }

  @ParameterizedTest
  @ValueSource(strings = {"auto", "snapshot", "mirror"})
  void aDiskThatNothingCopiesMovesWithoutItsGuest(String asked) {
    assertThat(refusal(asked, false, false))
        .contains("does not note what the VM writes to it, and its SR takes no snapshots")
        .endsWith("it moves with the VM halted or suspended.");
  }
}
