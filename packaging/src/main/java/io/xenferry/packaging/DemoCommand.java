package io.xenferry.packaging;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Two servers, a VM with two disks that it never stops writing to, {@code xe vm-migrate} there and
 * back, and a third program that checks every acknowledged write.
 */
@Command(
    name = "xenferry demo",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true,
    description =
        "Moves a VM that never stops writing from one server to another and back, and checks that"
            + " no acknowledged write was lost.",
    footer = {
      "",
      "Exit status: 0 when nothing was lost, 1 when the checker found a fault, 2 for wrong usage."
    })
public final class DemoCommand implements Callable<Integer> {

  /** Target services to choose from. */
  enum Target {
    auto,
    tgtd,
    embedded
  }

  /** Transports to choose from. */
  enum DiskTransport {
    iscsi,
    nbds
  }

  @Option(
      names = "--transport",
      description = "How the disks travel: iscsi, or nbds: NBD over TLS (default: iscsi).")
  private DiskTransport transport = DiskTransport.iscsi;

  @Option(
      names = "--target",
      description = "iSCSI target service: tgtd, embedded, or auto: tgtd where installed.")
  private Target target = Target.auto;

  /** What the VM is. */
  enum GuestKind {
    simulated,
    qemu
  }

  @Option(
      names = "--guest",
      description =
          "What moves: simulated, a process that only writes to its disks, or qemu, Linux in QEMU"
              + " (default: ${DEFAULT-VALUE}).")
  private GuestKind guest = GuestKind.simulated;

  @Option(names = "--keep", description = "Leave both servers up, and print xe lines to play with.")
  private boolean keep;

  @Option(
      names = "--corrupt",
      description = "Flip bytes in the destination's file from outside; the checker must notice.")
  private boolean corrupt;

  @Option(
      names = "--directory",
      description = "Where everything is put, and stays; else a temporary directory.")
  private Path directory = Path.of("");

  @Option(
      names = "--disks",
      split = ",",
      description = "Sizes in MiB and percent allocated (default: ${DEFAULT-VALUE}).")
  private List<String> disks = List.of("1024:40", "256:40");

  @Option(
      names = "--rate",
      description = "Bytes per second that the guest writes (default: ${DEFAULT-VALUE}).")
  private long rate = 4 << 20;

  public static void main(String[] args) {
    System.exit(
        new CommandLine(new DemoCommand())
            .setCaseInsensitiveEnumValuesAllowed(true)
            .setExecutionExceptionHandler((e, command, parsed) -> {
              System.err.println("xenferry demo: " + e);
              return 1;
            })
            .execute(args));
  }

  @Option(
      names = "--end",
      paramLabel = "DIR",
      description = "End what --keep left running in this directory, and remove the directory.")
  private Path kept = Path.of("");

  @Override
  public Integer call() throws IOException, InterruptedException {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    if (!kept.toString().isEmpty()) {
      return end(kept.toAbsolutePath());
    }
    List<Demo.DiskSize> sizes = sizes();
    boolean temporary = directory.toString().isEmpty();
    Path place =
        (temporary
                ? Files.createTempDirectory("xenferry-demo-")
                : Files.createDirectories(directory))
            .toAbsolutePath();
    Optional<LinuxWorkload> linux =
        guest == GuestKind.qemu ? Optional.of(LinuxWorkload.prepare()) : Optional.empty();
    List<String> options = new ArrayList<>(List.of("--target", target.name()));
    options.addAll(linux.map(LinuxWorkload::serverOptions).orElse(Laboratory.SIMULATED));
    Laboratory lab = new Laboratory(place, options, out);
    Thread stop =
        new Thread(
            () -> {
              lab.close();
              if (temporary) {
                removeAll(place);
              }
            },
            "demo-stop");
    Runtime.getRuntime().addShutdownHook(stop);
    int status = 1;
    boolean known = false;
    try {
      status = new Demo(lab, out, sizes, rate, transport.name(), corrupt, linux).run();
      known = status == 0 || corrupt;
    } finally {
      forget(stop);
      linux.ifPresent(LinuxWorkload::close);
      if (keep && lab.isUp()) {
        lab.leaveRunning();
      } else {
        lab.close();
        if (!known) {
          out.printf("The logs and disks stay in %s%n", place);
        } else if (temporary) {
          removeAll(place);
        }
      }
    }
    return status;
  }

  private static void forget(Thread hook) {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // Interrupted: the hook is at work, and ends all by itself.
      return;
    }
  }

  private int end(Path place) throws IOException, InterruptedException {
    if (!Laboratory.isOne(place)) {
      throw new CommandLine.ParameterException(
          new CommandLine(this), place + " is no directory of a demo");
    }
    Laboratory.endIn(place);
    removeAll(place);
    return 0;
  }

  private List<Demo.DiskSize> sizes() {
    return disks.stream()
        .map(text -> {
          String[] parts = text.split(":", -1);
          try {
            long mib = Long.parseLong(parts[0]);
            int percent = parts.length > 1 ? Integer.parseInt(parts[1]) : 40;
            if (mib < 1 || mib > 1 << 20 || percent < 0 || percent > 100 || parts.length > 2) {
              throw new NumberFormatException("out of range");
            }
            return new Demo.DiskSize(mib << 20, percent);
          } catch (NumberFormatException e) {
            throw new CommandLine.ParameterException(
                new CommandLine(this), "--disks takes MiB:percent, not " + text, e);
          }
        })
        .toList();
  }

  private static void removeAll(Path place) {
    try (Stream<Path> files = Files.walk(place)) {
      for (Path file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      System.err.println("xenferry demo: " + place + " is not wholly removed: " + e);
    }
  }
}
