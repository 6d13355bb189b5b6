package io.xenferry.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class QemuLauncherTest {
  private static final long KIB = 1 << 10;

  @Test
  void emulatedMachinesNeverHaveWholeWordsOfTheDirtyLog() {
    assertThat(QemuLauncher.memory(256 << 20, List.of("tcg"))).isEqualTo((256 << 20) - 8 * KIB);
    assertThat(QemuLauncher.memory(256 << 20, List.of("kvm", "tcg")))
        .isEqualTo((256 << 20) - 8 * KIB);
    assertThat(QemuLauncher.memory((256 << 20) + 64 * KIB, List.of("tcg")))
        .isEqualTo((256 << 20) + 64 * KIB);
  }

  private static final QemuLauncher LAUNCHER = new QemuLauncher(Path.of("no-qemu"));

  /** Of a VM that has been started before, with a value that somebody has set since. */
  private static GuestSpec spec(String key, String value) {
    Map<String, String> platform =
        new HashMap<>(
            Map.of(
                "xenferry:machine", "pc-q35-7.2",
                "xenferry:cpu", QemuLauncher.CPU_MODEL,
                "xenferry:layout", "2",
                "xenferry:accel", "tcg"));
    platform.put(key, value);
    return new GuestSpec(UUID.randomUUID(), "vm", 64 << 20, 1, List.of(), List.of(), platform);
  }

  @Test
  void aValueThatNoMachineCanBeBuiltFromIsNamed() {
    GuestDirectory directory = new GuestDirectory(Path.of("run"), Path.of("run"));
    Map.of(
            "xenferry:machine", "q35,kernel=x",
            "xenferry:cpu", "qemu64;",
            "xenferry:layout", "99",
            "xenferry:accel", "TCG,x",
            "xenferry:serial-ports", "5")
        .forEach((key, value) ->
            assertThatThrownBy(
                    () -> LAUNCHER.command(spec(key, value), directory, GuestLauncher.Mode.RUNNING))
                .isInstanceOfSatisfying(
                    HypervisorException.class,
                    e -> {
                      assertThat(e.kind()).isEqualTo(HypervisorException.Kind.REFUSED);
                      assertThat(e.field()).isEqualTo("platform:" + key);
                      assertThat(e.value()).isEqualTo(value);
                    }));
  }

  @Test
  void aGuestKnowsItsDisksByTheirSerialNumbers() throws Exception {
    UUID vdi = UUID.fromString("01234567-89ab-cdef-0123-456789abcdef");
    GuestSpec.Disk its = new GuestSpec.Disk("xvda", vdi, Path.of("image"), "raw", false);
    assertThat(QemuDevices.option(QemuDevices.disk(its))).contains(",serial=0123456789abcdef0123,");
    GuestSpec.Disk kept =
        new GuestSpec.Disk("xvda", vdi, Path.of("image"), "raw", false, "what-it-was");
    assertThat(QemuDevices.option(QemuDevices.disk(kept))).contains(",serial=what-it-was,");
    assertThat(kept.on(Path.of("other")).serial()).isEqualTo("what-it-was");
    assertThatThrownBy(
            () -> new GuestSpec.Disk("xvda", vdi, Path.of("image"), "raw", false, "x,drive=y"))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aClockBeginsAheadOfTheHosts() throws Exception {
    Instant now = Instant.parse("2026-03-01T23:59:59.9Z");
    assertThat(QemuLauncher.beginning(Duration.ofHours(1), now)).isEqualTo("2026-03-02T00:59:59");
    assertThat(QemuLauncher.beginning(Duration.ofSeconds(-60), now))
        .isEqualTo("2026-03-01T23:58:59");
    // QEMU reads no time without its seconds.
    assertThat(QemuLauncher.beginning(Duration.ofSeconds(1), now)).isEqualTo("2026-03-02T00:00:00");
  }

  @Test
  void aGuestIsToldOfItsMachine() throws Exception {
    GuestDirectory directory = new GuestDirectory(Path.of("run"), Path.of("run"));
    GuestSpec spec =
        spec("xenferry:serial-ports", "1")
            .withBiosStrings(
                Map.of(
                    "bios-vendor", "Ship, Yard",
                    "system-product-name", "Barge",
                    "system-serial-number", "7",
                    "enclosure-asset-tag", "T",
                    "oem-1", "unknown"));
    List<String> command = LAUNCHER.command(spec, directory, GuestLauncher.Mode.RUNNING);
    assertThat(String.join(" ", command))
        .contains("-smbios type=0,vendor=Ship,, Yard -smbios type=1,product=Barge,serial=7")
        .contains("-smbios type=3,asset=T")
        .doesNotContain("type=2")
        .doesNotContain("unknown");
    assertThat(LAUNCHER.command(spec("k", "v"), directory, GuestLauncher.Mode.RUNNING))
        .doesNotContain("-smbios");
  }

  @Test
  void onlyTheValueThatQemuComplainsOfIsToBlame() {
    GuestSpec spec = spec("xenferry:cpu", "none");
    assertThat(LAUNCHER.invalid(spec, "unable to find CPU model 'none'"))
        .hasValueSatisfying(e -> assertThat(e.field()).isEqualTo("platform:xenferry:cpu"));
    assertThat(LAUNCHER.invalid(spec, "cannot set up guest memory 'pc.ram'")).isEmpty();
    assertThat(LAUNCHER.invalid(spec, "Property 'virtio-blk-pci.x' not found")).isEmpty();
  }

  @Test
  void otherMachinesGetWhatIsAskedFor() {
    assertThat(QemuLauncher.memory(256 << 20, List.of("kvm"))).isEqualTo(256 << 20);
  }
}
