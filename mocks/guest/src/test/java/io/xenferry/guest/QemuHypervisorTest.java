package io.xenferry.guest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.QemuLauncher;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;

class QemuHypervisorTest extends HypervisorContract {

  @Override
  GuestLauncher launcher() {
    Optional<Path> qemu =
        Arrays.stream(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
            .map(directory -> Path.of(directory, "qemu-system-x86_64"))
            .filter(Files::isExecutable)
            .findFirst();
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(qemu).as("qemu-system-x86_64 on the path").isPresent();
    }
    assumeTrue(qemu.isPresent(), "qemu-system-x86_64 is not installed");
    return new QemuLauncher(qemu.orElseThrow());
  }
}
