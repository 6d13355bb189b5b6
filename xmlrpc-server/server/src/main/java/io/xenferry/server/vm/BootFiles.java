package io.xenferry.server.vm;

import io.xenferry.model.XenApiException;
import io.xenferry.spi.GuestSpec.Boot;
import io.xenferry.spi.GuestSpec.BootDevice;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

/**
 * What this host's guests begin with: kernels and their ramdisks, from directories that the
 * administrator chose and from nowhere else, and UEFI firmware with each VM's own variables.
 */
public final class BootFiles {
  private final List<Path> directories;
  private final List<Path> firmware;
  private final FirmwareVariables variables;
  private final TpmStates tpms;
  private final boolean made;

  /**
   * @param directories where kernels may lie; need not exist
   * @param firmware directories in which distributions install OVMF
   * @param variables a directory of the server's own, for the variables of VMs that run
   * @param tpms likewise for what their TPMs keep
   */
  public BootFiles(List<Path> directories, List<Path> firmware, Path variables, Path tpms) {
    this(
        List.copyOf(directories),
        List.copyOf(firmware),
        new FirmwareVariables(variables),
        new TpmStates(tpms),
        true);
  }

  private BootFiles(
      List<Path> directories,
      List<Path> firmware,
      FirmwareVariables variables,
      TpmStates tpms,
      boolean made) {
    this.directories = directories;
    this.firmware = firmware;
    this.variables = variables;
    this.tpms = tpms;
    this.made = made;
  }

  /** The same by which it can be seen whether a VM has all that it begins with: makes nothing. */
  BootFiles untouched() {
    return new BootFiles(directories, firmware, variables, tpms, false);
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
   * Whether a VM that runs elsewhere could go on here; makes nothing.
   *
   * @param vm for the error
   * @param kernel and ramdisk: names, empty for none
   * @param uefi whether it has UEFI firmware
   * @throws XenApiException BOOTLOADER_FAILED
   */
  public void requireFor(UUID vm, String kernel, String ramdisk, boolean uefi)
      throws XenApiException {
    for (String name : List.of(kernel, ramdisk)) {
      if (!name.isEmpty()) {
        file(vm.toString(), name);
      }
    }
    if (uefi) {
      installed(vm, "OVMF_CODE_4M.fd");
      installed(vm, "OVMF_VARS_4M.fd");
    }
  }

  /** Where what the VMs' TPMs keep is while they run. */
  TpmStates tpms() {
    return tpms;
  }

  /**
   * The directory for the TPM of a VM.
   *
   * @param arriving whether the guest comes from another host
   * @throws XenApiException BOOTLOADER_FAILED when this host has no program for it
   */
  Path tpm(UUID vm, Vtpms.Tpm tpm, boolean arriving) throws XenApiException {
    if (!hasTpms()) {
      throw new XenApiException(
          "BOOTLOADER_FAILED",
          vm.toString(),
          "the VM has a TPM, and swtpm is not installed on this host (Debian package swtpm)");
    }
    if (!made) {
      return Path.of(vm.toString());
    }
    try {
      return arriving ? tpms.forArrival(vm, tpm.contents()) : tpms.forStart(vm, tpm.contents());
    } catch (IOException e) {
      throw new XenApiException(
              "BOOTLOADER_FAILED", vm.toString(), "cannot make the TPM's directory: " + e)
          .withCause(e);
    }
  }

  /** Whether VMs with a TPM can run here. */
  public static boolean hasTpms() {
    return Arrays.stream(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
        .anyMatch(place -> Files.isExecutable(Path.of(place, "swtpm")));
  }

  /** Where the VMs' variables are while they run. */
  FirmwareVariables variables() {
    return variables;
  }

  /**
   * The firmware, and the VM's variables.
   *
   * @param arriving whether the guest comes from another host, see {@link
   *     FirmwareVariables#forArrival}
   * @throws XenApiException BOOTLOADER_FAILED when no UEFI firmware is installed, or cannot begin
   *     with what the VM has
   */
  Boot.Uefi uefi(UUID vm, List<BootDevice> order, Map<String, String> nvram, boolean arriving)
      throws XenApiException {
    Path code = installed(vm, "OVMF_CODE_4M.fd");
    Path template = installed(vm, "OVMF_VARS_4M.fd");
    if (!made) {
      return new Boot.Uefi(order, code, template);
    }
    try {
      Path own =
          arriving
              ? variables.forArrival(vm, nvram, template)
              : variables.forStart(vm, nvram, template);
      return new Boot.Uefi(order, code, own);
    } catch (IOException e) {
      throw new XenApiException(
              "BOOTLOADER_FAILED", vm.toString(), "cannot make the firmware's variables: " + e)
          .withCause(e);
    } catch (FirmwareVariables.UnusableException e) {
      throw new XenApiException(
              "BOOTLOADER_FAILED",
              vm.toString(),
              "the firmware cannot begin with NVRAM:"
                  + FirmwareVariables.KEY
                  + " of the VM: "
                  + e.getMessage()
                  + ". Without that key (VM.remove_from_NVRAM) it begins with fresh variables")
          .withCause(e);
    }
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
