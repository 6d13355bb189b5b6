package io.xenferry.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class QemuLauncherTest {
  private static final long KIB = 1 << 10;

  @Test
  void emulatedMachinesNeverHaveWholeWordsOfTheDirtyLog() {
    assertThat(QemuLauncher.memory(256 << 20, "tcg")).isEqualTo((256 << 20) - 8 * KIB);
    assertThat(QemuLauncher.memory(256 << 20, "kvm:tcg")).isEqualTo((256 << 20) - 8 * KIB);
    assertThat(QemuLauncher.memory((256 << 20) + 64 * KIB, "tcg"))
        .isEqualTo((256 << 20) + 64 * KIB);
  }

  @Test
  void otherMachinesGetWhatIsAskedFor() {
    assertThat(QemuLauncher.memory(256 << 20, "kvm")).isEqualTo(256 << 20);
  }
}
