package io.xenferry.qemu;

import io.xenferry.qemu.access.GuestUsers;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorProvider;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;

/** The hypervisor {@code qemu}: guests are machines of {@code qemu-system-x86_64}. */
public final class QemuProvider implements HypervisorProvider {
  private static final String PROGRAM = "qemu-system-x86_64";

  @Override
  public String name() {
    return "qemu";
  }

  @Override
  public Hypervisor open(Path runDirectory) throws IOException {
    return open(runDirectory, "server");
  }

  @Override
  public Hypervisor open(Path runDirectory, String guestUser) throws IOException {
    Path program =
        program()
            .orElseThrow(() ->
                new IOException(
                    "the hypervisor qemu needs "
                        + PROGRAM
                        + " on the PATH (Debian package qemu-system-x86); --hypervisor=simulated needs"
                        + " nothing"));
    return new QemuHypervisor(
        new QemuLauncher(program),
        runDirectory,
        QemuHypervisor.RELEASE_DEADLINE,
        GuestUsers.parse(guestUser));
  }

  /** The emulator on the PATH. */
  public static Optional<Path> program() {
    return Arrays.stream(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
        .map(directory -> Path.of(directory, PROGRAM))
        .filter(Files::isExecutable)
        .findFirst();
  }
}
