package io.xenferry.guest;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.block.Range;
import io.xenferry.copy.SourceDisk;
import io.xenferry.qemu.GuestDirectory;
import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.QemuLauncher;
import io.xenferry.qemu.QemuProvider;
import io.xenferry.qemu.qmp.QmpClient;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class QemuHypervisorTest extends HypervisorContract {
  private String acpi = "off";

  @Override
  GuestLauncher launcher() {
    return withSecondMonitor(installed());
  }

  /** QEMU as it is on the path; where there is none the test is skipped, or fails. */
  static GuestLauncher installed() {
    Optional<Path> qemu = QemuProvider.program();
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(qemu).as("qemu-system-x86_64 on the path").isPresent();
    }
    assumeTrue(qemu.isPresent(), "qemu-system-x86_64 is not installed");
    return new QemuLauncher(qemu.orElseThrow());
  }

  /** A monitor is for one client; this one is for the test, which plays the guest through it. */
  private GuestLauncher withSecondMonitor(GuestLauncher launcher) {
    return new GuestLauncher() {
      @Override
      public String name() {
        return launcher.name();
      }

      @Override
      public List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
          throws HypervisorException, InterruptedException {
        List<String> command = new ArrayList<>(launcher.command(spec, directory, mode));
        // Without an operating system nobody obeys ACPI; the slot's own power switch needs nobody.
        command.add("-global");
        command.add("ICH9-LPC.acpi-pci-hotplug-with-bridge-support=" + acpi);
        command.add("-qmp");
        command.add("unix:" + directory.sockets().resolve("test.sock") + ",server=on,wait=off");
        return command;
      }
    };
  }

  @Test
  void aLaterPassHoldsWhatTheGuestWroteSinceTheOneBefore() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), true);
    Path socket = guests.directory.resolve("s").resolve(vm.toString()).resolve("test.sock");
    try (SourceDisk source = guest.source("xvda");
        QmpClient test = QmpClient.connect(socket, Duration.ofSeconds(30), e -> {}, () -> {})) {
      source.beginPass().get(10, SECONDS).end(true).get(10, SECONDS);
      write(test, 2 << 20);
      assertThat(source.dirtyBytes().get(10, SECONDS)).isEqualTo(64 << 10);
      SourceDisk.Pass pass = source.beginPass().get(10, SECONDS);
      write(test, 4 << 20);
      assertThat(pass.ranges()).containsExactly(new Range(2 << 20, 64 << 10));
      pass.end(false).get(10, SECONDS);
      SourceDisk.Pass next = source.beginPass().get(10, SECONDS);
      assertThat(next.ranges())
          .as("given back, and what came meanwhile")
          .containsExactly(new Range(2 << 20, 64 << 10), new Range(4 << 20, 64 << 10));
      ByteBuffer content = ByteBuffer.allocate(1);
      next.content().read(2 << 20, content).get(10, SECONDS);
      assertThat(content.get(0)).isEqualTo((byte) 0x5a);
      next.end(true).get(10, SECONDS);
    }
  }

  @Test
  void aGuestThatDoesNotAnswerKeepsItsDisk() throws Exception {
    acpi = "on";
    Guest guest = guests.host("s", Duration.ofSeconds(2)).start(spec("a"), false);
    GuestSpec.Disk disk = extra("xvdb", "b");
    guest.hardware().attach(disk);
    assertThatThrownBy(() -> guest.hardware().detachDisk("xvdb"))
        .isInstanceOfSatisfying(
            HypervisorException.class,
            e -> assertThat(e.kind()).isEqualTo(HypervisorException.Kind.TIMEOUT));
    assertThat(guest.devices()).containsExactly("xvda", "xvdb");
    try (SourceDisk source = guest.source("xvdb")) {
      source.beginPass().get(30, SECONDS).end(true).get(30, SECONDS);
    }
  }

  private static void write(QmpClient monitor, int offset) throws Exception {
    monitor.execute(
        "human-monitor-command",
        Map.of(
            "command-line",
            "qemu-io -d /machine/peripheral/xvda/virtio-backend \"write -P 0x5a "
                + offset
                + " 4096\""),
        Duration.ofSeconds(30));
  }
}
