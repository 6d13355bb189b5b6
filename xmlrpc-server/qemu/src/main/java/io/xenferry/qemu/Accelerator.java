package io.xenferry.qemu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What runs guests on this host: KVM where it does, else TCG. {@code /dev/kvm} alone tells nothing:
 * some hosts have it without hardware behind it, and a guest there takes minutes for what TCG does
 * in a second, or hangs. So the processor must have the feature, and a machine of a few
 * instructions must end by itself in time. Asked once, at the first guest; thread-safe.
 */
final class Accelerator {
  private static final Logger log = LoggerFactory.getLogger(Accelerator.class);

  private static final Path DEVICE = Path.of("/dev/kvm");
  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");
  private static final Pattern FEATURE = Pattern.compile("^flags\\s*:.*\\b(vmx|svm)\\b");

  /** It takes 0.1 s where it works, most of it QEMU's own start. */
  private static final Duration DEADLINE = Duration.ofSeconds(10);

  private static final int ROM_SIZE = 64 << 10;

  /** Where an x86 processor begins, 16 bytes below the end. */
  private static final int RESET_VECTOR = ROM_SIZE - 16;

  /** mov al,0x10; out 0xf4,al; hlt; jmp back: the exit device ends QEMU with 2 × 16 + 1. */
  private static final byte[] PROGRAM = {
    (byte) 0xb0, 0x10, (byte) 0xe6, (byte) 0xf4, (byte) 0xf4, (byte) 0xeb, (byte) 0xfd
  };

  private static final int EXPECTED_STATUS = 33;

  private final Path program;
  private @Nullable String best;

  Accelerator(Path program) {
    this.program = program;
  }

  /** {@code kvm} or {@code tcg}. */
  synchronized String best() throws InterruptedException {
    String known = best;
    if (known == null) {
      known = processorVirtualises() && Files.isWritable(DEVICE) && runs("kvm") ? "kvm" : "tcg";
      log.info("guests run with the accelerator {}", known);
      best = known;
    }
    return known;
  }

  private static boolean processorVirtualises() {
    try (Stream<String> lines = Files.lines(CPU_INFO)) {
      return lines.anyMatch(line -> FEATURE.matcher(line).find());
    } catch (IOException e) {
      log.debug("cannot read {}", CPU_INFO, e);
      return false;
    }
  }

  /** Whether a machine with this accelerator executes instructions, within the deadline. */
  boolean runs(String accelerator) throws InterruptedException {
    try {
      Path rom = Files.createTempFile("xenferry-probe", ".rom");
      try {
        byte[] image = new byte[ROM_SIZE];
        Arrays.fill(image, PROGRAM[4]);
        System.arraycopy(PROGRAM, 0, image, RESET_VECTOR, PROGRAM.length);
        Files.write(rom, image);
        return runs(accelerator, rom);
      } finally {
        Files.delete(rom);
      }
    } catch (IOException e) {
      log.warn("cannot try the accelerator {}", accelerator, e);
      return false;
    }
  }

  private boolean runs(String accelerator, Path rom) throws IOException, InterruptedException {
    List<String> command =
        List.of(
            program.toString(),
            "-accel",
            accelerator,
            "-machine",
            "q35",
            "-m",
            "16M",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-bios",
            rom.toString(),
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=1");
    Process process =
        new ProcessBuilder(command)
            .redirectInput(Path.of("/dev/null").toFile())
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      if (!process.waitFor(DEADLINE.toMillis(), TimeUnit.MILLISECONDS)) {
        log.info("{} did not run a few instructions within {}", accelerator, DEADLINE);
        return false;
      }
      return process.exitValue() == EXPECTED_STATUS;
    } finally {
      process.destroyForcibly();
    }
  }
}
