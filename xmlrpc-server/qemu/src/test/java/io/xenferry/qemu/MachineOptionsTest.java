package io.xenferry.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Machine;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.MachineOptions;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the platform keys of published servers make of a machine. */
class MachineOptionsTest {
  private static final QemuLauncher LAUNCHER = new QemuLauncher(Path.of("no-qemu"));

  private static GuestSpec spec(MachineOptions options) {
    Map<String, String> started =
        Map.of(
            Machine.TYPE_KEY, "pc-q35-7.2",
            Machine.CPU_KEY, QemuLauncher.CPU_MODEL,
            Machine.LAYOUT_KEY, "2",
            Machine.ACCELERATOR_KEY, "tcg");
    GuestSpec usual =
        new GuestSpec(
            UUID.randomUUID(),
            "vm",
            64 << 20,
            1,
            List.of(),
            List.of(new GuestSpec.Nic("0", "02:00:00:00:00:01", "xenbr0")),
            started);
    return usual.with(usual.machine().with(options));
  }

  private static String command(MachineOptions options) throws Exception {
    GuestDirectory directory = new GuestDirectory(Path.of("run"), Path.of("run"));
    GuestLauncher.Mode mode = GuestLauncher.Mode.INCOMING;
    return String.join(" ", LAUNCHER.command(spec(options), directory, mode)) + " ";
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          acpi       | 0       | -machine pc-q35-7.2,acpi=off
          acpi       | false   | -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off
          hpet       | false   | -machine pc-q35-7.2,hpet=off
          nx         | false   | ,enforce,-nx
          pae        | 0       | ,enforce,-pae
          acpi_s3    | false   | -global ICH9-LPC.disable_s3=1
          acpi_s4    | 0       | -global ICH9-LPC.disable_s4=1
          vga        | cirrus  | -device cirrus-vga,id=vga,addr=01.0,vgamem_mb=16
          videoram   | 32      | -device VGA,id=vga,addr=01.0,vgamem_mb=32
          videoram   | 5       | -device VGA,id=vga,addr=01.0,vgamem_mb=8
          videoram   | 1       | -device VGA,id=vga,addr=01.0,vgamem_mb=1
          usb_tablet | true    | -device usb-tablet,id=tablet,bus=usb.0
          nic_type   | e1000   | -device e1000,id=vif0,bus=port-vif0,netdev=net0,mac=02:00:00:00:00:01
          nic_type   | rtl8139 | -device rtl8139,id=vif0,bus=port-vif0,netdev=net0,mac=02:00:00:00:00:01
          """)
  void aKeyMakesAnotherMachine(String key, String value, String told) throws Exception {
    MachineOptions options = MachineOptions.of(Map.of(key, value));
    assertThat(command(options)).contains(told + " ");
    assertThat(command(MachineOptions.USUAL)).doesNotContain(told + " ");
    assertThat(MachineOptions.parse(options.text())).isEqualTo(options);
  }

  /** As default templates of this server and of others have it, and what their clients write. */
  @Test
  void theUsualMachineNeedsNoWord() throws Exception {
    for (Map<String, String> platform :
        List.of(
            Map.<String, String>of(),
            Map.of("nx", "true", "acpi", "1", "apic", "true", "pae", "true"),
            Map.of("viridian", "true", "device_id", "0002", "hpet", "true", "vga", "std"),
            Map.of("vga", "", "videoram", "16", "nic_type", "", "usb", "true", "apic", "false"),
            Map.of("usb", "false", "usb_tablet", "true", "acpi_s3", "", "nx", "yes"),
            Map.of("secureboot", "auto", "device-model", "qemu-upstream-uefi", "vga", "std"))) {
      assertThat(MachineOptions.of(platform)).isEqualTo(MachineOptions.USUAL);
    }
    assertThat(MachineOptions.USUAL.text()).isEmpty();
    assertThat(MachineOptions.parse("")).isEqualTo(MachineOptions.USUAL);
    assertThat(command(MachineOptions.USUAL))
        .contains(
            "-machine pc-q35-7.2 ",
            "-cpu " + QemuLauncher.CPU_MODEL + " ",
            "-device VGA,id=vga,addr=01.0 ",
            "-device virtio-net-pci,")
        .doesNotContain("usb", "-global");
  }

  @Test
  void aCirrusCardHasTheMemoryThatItCanHave() throws Exception {
    for (Map.Entry<String, String> size :
        Map.of("1", "4", "4", "4", "7", "8", "16", "16").entrySet()) {
      MachineOptions options =
          MachineOptions.of(Map.of("vga", "cirrus", "videoram", size.getKey()));
      assertThat(command(options)).contains("addr=01.0,vgamem_mb=" + size.getValue() + " ");
      assertThat(MachineOptions.parse(options.text())).isEqualTo(options);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "vga, voodoo",
    "vga, 'std,romfile=/etc/passwd'",
    "videoram, 0",
    "videoram, 65",
    "videoram, 1024",
    "videoram, -8",
    "videoram, many",
    "nic_type, virtio",
    "nic_type, 'e1000,romfile=/etc/passwd'"
  })
  void whatNoMachineCanHaveIsNamed(String key, String value) {
    assertThatThrownBy(() -> MachineOptions.of(Map.of(key, value)))
        .isInstanceOfSatisfying(
            HypervisorException.class,
            e -> {
              assertThat(e.field()).isEqualTo("platform:" + key);
              assertThat(e.value()).isEqualTo(value);
            });
  }

  /** Of a peer, or of a later server: to leave out what is not known would be another machine. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "x",
        "=",
        ",",
        "vga=std",
        "acpi=on",
        "usb_tablet=off",
        "nic_type=virtio",
        "nx=off,",
        "vga=cirrus,nx=off",
        "nx=off,nx=off",
        "videoram=16",
        "videoram=5",
        "videoram=08",
        "sound=on",
        "hpet=off,later=on",
        "nic_type=e1000\u0000",
        "nic_type=e1000,romfile=/etc/passwd"
      })
  void aMachineOfWhichItDoesNotKnowAllIsNotMade(String text) {
    assertThatThrownBy(() -> MachineOptions.parse(text))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aLaterServerKnowsTheMachineOfAGuest(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("spec.json");
    GuestSpec spec =
        spec(MachineOptions.parse("hpet=off,nic_type=e1000,vga=cirrus"))
            .withClock(Duration.ofHours(-2));
    byte[] json = SpecFile.write(spec);
    Files.write(file, json);
    assertThat(SpecFile.read(file)).isEqualTo(spec);

    // One that was written before there were any.
    String older =
        new String(json, StandardCharsets.UTF_8)
            .replaceFirst(",\"options\":\"[^\"]*\"", "")
            .replaceFirst(",\"clock\":-?[0-9]+", "");
    assertThat(older).doesNotContain("options", "clock");
    Files.writeString(file, older);
    assertThat(SpecFile.read(file).clock()).isZero();
    assertThat(SpecFile.read(file).machine().options()).isEqualTo(MachineOptions.USUAL);
  }
}
