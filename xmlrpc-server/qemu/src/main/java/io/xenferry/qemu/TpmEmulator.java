package io.xenferry.qemu;

import io.xenferry.qemu.access.GuestUser;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A guest's TPM 2.0: a process of swtpm (tried with 0.7) beside QEMU's, in a session of its own, so
 * that it outlives the server as the guest does. It ends by itself when QEMU closes its connection,
 * however QEMU ends. Its state goes along with the memory stream, both ways.
 */
final class TpmEmulator {
  private static final Logger log = LoggerFactory.getLogger(TpmEmulator.class);

  private static final String PROGRAM = "swtpm";
  private static final Duration READY = Duration.ofSeconds(20);

  /** It has nothing to do at its end but to remove its files. */
  private static final Duration END = Duration.ofSeconds(5);

  private static final Duration LOOK = Duration.ofMillis(10);

  private TpmEmulator() {}

  private static Optional<Path> program() {
    return Arrays.stream(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
        .map(place -> Path.of(place, PROGRAM))
        .filter(Files::isExecutable)
        .findFirst();
  }

  /** What QEMU is told. */
  static void addTo(List<String> command, GuestDirectory directory) {
    command.addAll(
        List.of(
            "-chardev",
            "socket,id=tpm-control,path=" + directory.tpmSocket().toString().replace(",", ",,"),
            "-tpmdev",
            "emulator,id=tpm-emulator,chardev=tpm-control",
            "-device",
            "tpm-crb,id=tpm,tpmdev=tpm-emulator"));
  }

  /**
   * Starts it, and returns when QEMU can connect.
   *
   * @param state made if missing
   * @param user as whom it runs; empty for the server's own
   */
  static void start(Path state, GuestDirectory directory, Optional<GuestUser> user)
      throws HypervisorException, InterruptedException {
    Path program =
        program()
            .orElseThrow(() ->
                new HypervisorException(
                    Kind.REFUSED,
                    "the VM has a TPM, which needs " + PROGRAM + " (Debian package swtpm)"));
    for (Path path : List.of(state, directory.tpmSocket(), directory.tpmPidFile())) {
      if (path.toString().contains(",")) {
        throw new HypervisorException(
            Kind.REFUSED, PROGRAM + " takes no path with a comma: " + path);
      }
    }
    try {
      Files.createDirectories(
          state,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      List<String> command = new ArrayList<>(List.of("setsid"));
      user.ifPresent(who -> command.addAll(who.command(List.of())));
      command.addAll(
          List.of(
              program.toString(),
              "socket",
              "--tpm2",
              "--tpmstate",
              "dir=" + state + ",mode=0600",
              "--ctrl",
              "type=unixio,path=" + directory.tpmSocket() + ",mode=0600",
              "--pid",
              pidOption(directory),
              "--terminate"));
      Process process =
          new ProcessBuilder(command)
              .directory(directory.path().toFile())
              .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
              .redirectOutput(ProcessBuilder.Redirect.to(directory.tpmLogFile().toFile()))
              .redirectErrorStream(true)
              .start();
      awaitReady(process, directory);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot start " + program + ": " + e, e);
    }
  }

  private static String pidOption(GuestDirectory directory) {
    return "file=" + directory.tpmPidFile();
  }

  private static void awaitReady(Process process, GuestDirectory directory)
      throws HypervisorException, InterruptedException, IOException {
    long end = System.nanoTime() + READY.toNanos();
    // The socket is there before it is listened at, and the process id is written after that.
    while (!Files.exists(directory.tpmPidFile())) {
      if (!process.isAlive() || System.nanoTime() - end > 0) {
        process.destroyForcibly();
        String words = Files.readString(directory.tpmLogFile()).strip();
        throw new HypervisorException(
            Kind.REFUSED,
            "the VM's TPM does not start: "
                + (words.isEmpty() ? "no word of " + PROGRAM : words.lines().toList().getLast()));
      }
      Thread.sleep(LOOK);
    }
  }

  /** The process of a guest that has a directory. */
  static Optional<GuestProcess> find(GuestDirectory directory) {
    return Files.exists(directory.tpmLogFile())
        ? GuestProcess.startedWith(directory.tpmPidFile(), pidOption(directory))
        : Optional.empty();
  }

  /** Sees to it that none is left of a guest whose own process is gone. */
  static void end(GuestDirectory directory) throws HypervisorException, InterruptedException {
    Optional<GuestProcess> process = find(directory);
    if (process.isPresent()) {
      end(UUID.fromString(String.valueOf(directory.path().getFileName())), process.get());
    }
  }

  /** The same of one that is known. Idempotent. */
  static void end(UUID vm, GuestProcess process) throws HypervisorException, InterruptedException {
    if (!process.endsWithin(END)) {
      log.warn("the TPM of VM {} has not ended with its guest", vm);
      process.kill();
      process.awaitEnd(END);
    }
  }
}
