package io.xenferry.server.vm;

import io.xenferry.model.XenApiException;
import io.xenferry.spi.GuestSpec.Boot;
import io.xenferry.spi.GuestSpec.BootDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import java.util.UUID;

/**
 * What this host's guests begin with: kernels and their ramdisks, from directories that the
 * administrator chose and from nowhere else, and UEFI firmware with each VM's own variables.
 */
public final class BootFiles {
  private final List<Path> directories;
  private final List<Path> firmware;
  private final Path variables;

  /**
   * @param directories where kernels may lie; need not exist
   * @param firmware directories in which distributions install OVMF
   * @param variables a directory of the server's own, for the VMs' firmware variables
   */
  public BootFiles(List<Path> directories, List<Path> firmware, Path variables) {
    this.directories = List.copyOf(directories);
    this.firmware = List.copyOf(firmware);
    this.variables = variables;
  }

  /**
   * A kernel or ramdisk by its path, or by its name alone in one of the directories. Links are
   * followed, and must not lead out of the directories.
   *
   * @throws XenApiException BOOTLOADER_FAILED
   */
  Path file(String vm, String name) throws XenApiException {
    for (Path directory : directories) {
      try {
        // resolve() gives an absolute path back as it is.
        Path real = directory.resolve(name).toRealPath();
        if (real.startsWith(directory.toRealPath()) && Files.isRegularFile(real)) {
          return real;
        }
      } catch (IOException | InvalidPathException e) {
        // Not there; perhaps in the next one.
        continue;
      }
    }
    throw new XenApiException(
        "BOOTLOADER_FAILED", vm, name + " is no file under any of " + directories);
  }

  /**
   * The firmware, and the VM's variables, which are made if the VM has none on this host.
   *
   * @throws XenApiException BOOTLOADER_FAILED when no UEFI firmware is installed
   */
  Boot.Uefi uefi(UUID vm, List<BootDevice> order) throws XenApiException {
    Path code = installed(vm, "OVMF_CODE_4M.fd");
    Path own = variables.resolve(vm + ".fd");
    try {
      if (!Files.exists(own)) {
        Files.createDirectories(
            variables,
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        Path draft = variables.resolve(vm + ".new");
        Files.copy(installed(vm, "OVMF_VARS_4M.fd"), draft, StandardCopyOption.REPLACE_EXISTING);
        Files.setPosixFilePermissions(draft, PosixFilePermissions.fromString("rw-------"));
        Files.move(draft, own, StandardCopyOption.ATOMIC_MOVE);
      }
    } catch (IOException e) {
      throw new XenApiException(
              "BOOTLOADER_FAILED", vm.toString(), "cannot make the firmware's variables: " + e)
          .withCause(e);
    }
    return new Boot.Uefi(order, code, own);
  }

  private Path installed(UUID vm, String name) throws XenApiException {
    Optional<Path> found =
        firmware.stream().map(dir -> dir.resolve(name)).filter(Files::isReadable).findFirst();
    return found.orElseThrow(() ->
        new XenApiException(
            "BOOTLOADER_FAILED",
            vm.toString(),
            "UEFI firmware is not installed on this host: no "
                + name
                + " in "
                + firmware
                + " (Debian package ovmf)"));
  }
}
