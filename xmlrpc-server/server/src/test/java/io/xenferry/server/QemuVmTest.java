package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.File;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The verbs of a VM's life on QEMU, with guests that have no operating system. */
class QemuVmTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    boolean installed =
        Arrays.stream(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
            .anyMatch(d -> Files.isExecutable(Path.of(d, "qemu-system-x86_64")));
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(installed).as("qemu-system-x86_64 on the path").isTrue();
    }
    assumeTrue(installed, "qemu-system-x86_64 is not installed");
    server =
        TestServer.startAt(
            "127.0.0.1", config -> config.with(config.toolstack().withHypervisor("qemu")));
    root = server.calls();
    sr = root.sr(server.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  private static String started(String name) throws XenApiException {
    String vm = root.vm(name, Map.of("xenferry:accel", "tcg"));
    root.vbd(vm, root.vdi(sr, name, 4 << 20), 0);
    root.call("VM.start", vm, false, false);
    return vm;
  }

  private static String state(String vm) throws XenApiException {
    return root.text("VM.get_power_state", vm);
  }

  private static long processId(String vm) throws Exception {
    Path guest =
        server.directory.resolve("guests").resolve(root.text("VM.get_uuid", vm)).resolve("pid");
    return Long.parseLong(Files.readString(guest).strip());
  }

  @Test
  void itsConsolesAreShown() throws Exception {
    String vm = started("consoles");
    List<String> consoles = TestServer.texts(root.call("VM.get_consoles", vm));
    assertThat(consoles).hasSize(2);
    for (String console : consoles) {
      String location = root.text("console.get_location", console);
      try (Connect shown = Connect.to(server, location, root.session())) {
        assertThat(shown.status).isEqualTo("200");
        if (root.text("console.get_protocol", console).equals("rfb")) {
          assertThat(shown.readUntil("RFB 003.")).endsWith("RFB 003.");
        }
      }
    }
    try (Connect screen =
        new Connect(server, "/console?ref=" + vm + "&session_id=" + root.session())) {
      assertThat(screen.readUntil("RFB 003.")).endsWith("RFB 003.");
    }
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void itPausesRebootsAndStops() throws Exception {
    String vm = started("verbs");
    long process = processId(vm);
    root.call("VM.pause", vm);
    assertThat(state(vm)).isEqualTo("Paused");
    root.call("VM.unpause", vm);
    root.call("VM.hard_reboot", vm);
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(processId(vm)).isEqualTo(process);
    root.call("VM.hard_shutdown", vm);
    assertThat(state(vm)).isEqualTo("Halted");
    assertThat(ProcessHandle.of(process).filter(ProcessHandle::isAlive)).isEmpty();
  }

  @Test
  void itGoesOnWhereItWasSuspended() throws Exception {
    String vm = started("suspended");
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    assertThat(state(vm)).isEqualTo("Suspended");
    root.call("VM.resume", vm, false, false);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.suspend", vm);
    root.call("VM.resume", vm, true, false);
    assertThat(state(vm)).isEqualTo("Paused");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aMachineThatCannotBeIsAnInvalidValue() throws Exception {
    List<Map.Entry<String, String>> wrong =
        List.of(
            Map.entry("xenferry:machine", "no machine"),
            Map.entry("xenferry:machine", "pc-q35-99.0"),
            Map.entry("xenferry:cpu", "nosuchcpu"),
            Map.entry("xenferry:cpu", "qemu64,+nosuchfeature"),
            Map.entry("xenferry:layout", "99"),
            Map.entry("xenferry:accel", "nosuch"));
    String vm = root.vm("wrong", Map.of());
    for (Map.Entry<String, String> one : wrong) {
      Map<String, String> platform = new HashMap<>(Map.of("xenferry:accel", "tcg"));
      platform.put(one.getKey(), one.getValue());
      root.call("VM.set_platform", vm, platform);
      assertThatThrownBy(() -> root.call("VM.start", vm, false, false))
          .as(one.toString())
          .isInstanceOfSatisfying(
              XenApiException.class,
              e -> {
                assertThat(e.code()).isEqualTo("INVALID_VALUE");
                assertThat(e.params()).containsExactly("platform:" + one.getKey(), one.getValue());
              });
      assertThat(state(vm)).isEqualTo("Halted");
    }
    root.call("VM.set_platform", vm, Map.of("xenferry:accel", "tcg"));
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }

  /** What QEMU was told. */
  private static String command(String vm) throws Exception {
    return Files.readString(Path.of("/proc/" + processId(vm) + "/cmdline")).replace('\0', ' ');
  }

  @Test
  void whatItsPlatformSaysActsWhenItStarts() throws Exception {
    Map<String, String> keys =
        Map.of(
            "xenferry:accel", "tcg",
            "acpi", "0",
            "acpi_s3", "false",
            "hpet", "false",
            "nx", "false",
            "vga", "cirrus",
            "videoram", "8",
            "usb_tablet", "true",
            "nic_type", "e1000");
    String vm = root.vm("keys", keys);
    root.vbd(vm, root.vdi(sr, "keys", 4 << 20), 0);
    root.text(
        "VIF.create",
        RecordsTest.required(
            "VIF", Map.of("VM", vm, "network", root.only("network"), "device", "0")));
    root.call("VM.start", vm, false, false);
    String[] told = {
      "acpi=off,hpet=off",
      "bridge-support=off",
      "disable_s3=1",
      ",-nx ",
      "cirrus-vga",
      "usb-tablet",
      "e1000,id=vif0"
    };
    assertThat(command(vm)).contains(told);
    String card =
        root.text(
            "VIF.create",
            RecordsTest.required(
                "VIF", Map.of("VM", vm, "network", root.only("network"), "device", "1")));
    root.call("VIF.plug", card);

    root.call("VM.set_platform", vm, Map.of("xenferry:accel", "tcg"));
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    root.call("VM.resume", vm, false, false);
    assertThat(state(vm)).as("the stream fits no other machine").isEqualTo("Running");
    assertThat(command(vm)).contains(told).contains("e1000,id=vif1");

    long process = processId(vm);
    root.call("VM.hard_reboot", vm);
    assertThat(processId(vm)).isNotEqualTo(process);
    assertThat(command(vm))
        .contains("-device VGA,id=vga,addr=01.0 ", "virtio-net-pci,id=vif1")
        .doesNotContain(told);
    root.call("VM.hard_shutdown", vm);
  }

  /** The machine would be made anew for its screen, and cannot be. */
  @Test
  void aRebootIntoWhatCannotBeLeavesTheGuestAlone() throws Exception {
    String vm = started("stays");
    long process = processId(vm);
    for (Map.Entry<String, String> one :
        List.of(
            Map.entry("xenferry:accel", "no such"),
            Map.entry("xenferry:accel", "nosuch"),
            Map.entry("xenferry:serial-ports", "9"),
            Map.entry("xenferry:layout", "99"),
            Map.entry("xenferry:cpu", "nosuchcpu"))) {
      Map<String, String> platform =
          new HashMap<>(Map.of("xenferry:accel", "tcg", "videoram", "32"));
      platform.put(one.getKey(), one.getValue());
      root.call("VM.set_platform", vm, platform);
      assertStays(vm, process, "INVALID_VALUE");
    }
    root.call("VM.set_platform", vm, Map.of("xenferry:accel", "tcg", "videoram", "32"));
    root.call("VM.set_HVM_boot_policy", vm, "BIOS order");
    root.call("VM.set_HVM_boot_params", vm, Map.of("order", "x"));
    assertStays(vm, process, "INVALID_VALUE");
    root.call("VM.set_HVM_boot_params", vm, Map.of("firmware", "none"));
    assertStays(vm, process, "INVALID_VALUE");
    root.call("VM.set_HVM_boot_policy", vm, "");
    root.call("VM.set_PV_kernel", vm, "nosuchkernel");
    assertStays(vm, process, "BOOTLOADER_FAILED");
    root.call("VM.set_PV_kernel", vm, "");
    root.call("VM.set_HVM_boot_params", vm, Map.of());
    String vbd = TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst();
    root.call("VBD.add_to_other_config", vbd, "xenferry:serial", "x,drive=y");
    assertStays(vm, process, "INVALID_VALUE");
    root.call("VBD.remove_from_other_config", vbd, "xenferry:serial");

    root.call("VM.hard_reboot", vm);
    assertThat(processId(vm)).isNotEqualTo(process);
    assertThat(command(vm)).contains("vgamem_mb=32 ");
    root.call("VM.hard_shutdown", vm);
  }

  private static void assertStays(String vm, long process, String code) throws Exception {
    for (String reboot : List.of("VM.hard_reboot", "VM.clean_reboot")) {
      assertCode(code, () -> root.call(reboot, vm));
      assertThat(state(vm)).isEqualTo("Running");
      assertThat(processId(vm)).isEqualTo(process);
      assertThat(ProcessHandle.of(process)).isPresent();
    }
  }

  /** Sets the clock's year to 2030, and waits. */
  private static final byte[] SETS_ITS_CLOCK = {
    (byte) 0xB0, 9, (byte) 0xE6, 0x70, // mov al, 9; out 70h, al
    (byte) 0xB0, 0x30, (byte) 0xE6, 0x71, // mov al, 30h; out 71h, al
    (byte) 0xF4, (byte) 0xEB, (byte) 0xFD // hlt; and again
  };

  @Test
  void itFindsItsClockWhereItHasPutIt() throws Exception {
    String vm = root.vm("clock", Map.of("xenferry:accel", "tcg", "timeoffset", "3600"));
    String vdi = root.vdi(sr, "clock", 4 << 20);
    root.vbd(vm, vdi, 0);
    byte[] sector = Arrays.copyOf(SETS_ITS_CLOCK, 512);
    sector[510] = 0x55;
    sector[511] = (byte) 0xAA;
    Path image = StorageTest.image(server.directory.resolve("sr"), root.text("VDI.get_uuid", vdi));
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.write(sector);
    }
    root.call("VM.start", vm, false, false);
    await().atMost(Duration.ofSeconds(120)).until(() -> offset(vm) != 3600);
    Instant there = Instant.now().plusSeconds(offset(vm));
    assertThat(there.atOffset(ZoneOffset.UTC).getYear()).isEqualTo(2030);
    assertThat(Math.floorMod(offset(vm) + 5, 3600))
        .as("seconds and minutes, and 5 s, are the host's still")
        .isBetween(0, 10);
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    root.call("VM.resume", vm, false, false);
    assertThat(command(vm)).as("it has come with its memory").doesNotContain("-rtc");
    root.call("VM.hard_shutdown", vm);
    root.call("VM.start", vm, false, false);
    assertThat(command(vm)).contains("-rtc base=2030-");
    root.call("VM.hard_shutdown", vm);
    root.call("VM.remove_from_platform", vm, "timeoffset");
    root.call("VM.add_to_platform", vm, "timeoffset", "soon");
    assertThatThrownBy(() -> root.call("VM.start", vm, false, false))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> assertThat(e.params()).containsExactly("platform:timeoffset", "soon"));
  }

  private static long offset(String vm) throws Exception {
    return Long.parseLong(
        TestServer.text(TestServer.member(root.call("VM.get_platform", vm), "timeoffset")));
  }

  @Test
  void itIsHaltedWhenItsProcessDies() throws Exception {
    String vm = started("dies");
    root.call("VM.set_actions_after_crash", vm, "destroy");
    ProcessHandle.of(processId(vm)).orElseThrow().destroyForcibly();
    await().atMost(Duration.ofSeconds(60)).until(() -> state(vm).equals("Halted"));
  }

  @Test
  void itsFiguresAreKept() throws Exception {
    String vm = started("figures");
    for (String figure :
        new String[] {"cpu0", "cpu_usage", "memory", "vbd_xvda_read", "vbd_xvda_iops_total"}) {
      await()
          .atMost(Duration.ofSeconds(60))
          .ignoreExceptionsMatching(
              e -> e instanceof XenApiException x && x.code().equals("INVALID_VALUE"))
          .until(() -> root.call("VM.query_data_source", vm, figure) != null);
    }
    assertThat(figure(vm, "cpu0")).isBetween(0.0, 1.0);
    // QEMU's guest under TCG has 8 KiB less than a multiple of 256 KiB.
    assertThat(figure(vm, "memory")).isEqualTo((64 << 20) - (8 << 10));
    // The firmware has looked for something to boot.
    assertThat(figure(vm, "vbd_xvda_write")).isZero();
    assertThat(sources(vm)).doesNotContain("memory_internal_free", "vif_0_rx");
    root.call("VM.hard_shutdown", vm);
  }

  private static double figure(String vm, String name) throws XenApiException {
    return ((Value.Real) root.call("VM.query_data_source", vm, name)).value();
  }

  private static List<String> sources(String vm) throws XenApiException {
    return ((Value.Array) root.call("VM.get_data_sources", vm))
        .items().stream().map(v -> TestServer.text(TestServer.member(v, "name_label"))).toList();
  }
}
