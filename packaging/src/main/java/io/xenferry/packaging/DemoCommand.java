package io.xenferry.packaging;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
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

  @Option(
      names = "--target",
      description = "iSCSI target service: tgtd, embedded, or auto: tgtd where installed.")
  private Target target = Target.auto;

  @Option(names = "--keep", description = "Leave both servers up, and print xe lines to play with.")
  private boolean keep;

  @Option(
      names = "--corrupt",
      description = "Flip bytes in the destination's file from outside; the checker must notice.")
  private boolean corrupt;

  @Option(names = "--directory", description = "Where everything is put; removed afterwards.")
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
        new CommandLine(new DemoCommand()).setCaseInsensitiveEnumValuesAllowed(true).execute(args));
  }

  @Override
  public Integer call() throws IOException, InterruptedException {
    boolean temporary = directory.toString().isEmpty();
    Path place =
        temporary
            ? Files.createTempDirectory("xenferry-demo-")
            : Files.createDirectories(directory);
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    try (Laboratory lab =
        new Laboratory(place.toAbsolutePath(), List.of("--target", target.name()), out)) {
      Thread stop = new Thread(lab::close, "demo-stop");
      Runtime.getRuntime().addShutdownHook(stop);
      try {
        int status = new Demo(lab, out, sizes(), rate, corrupt).run();
        if (keep) {
          Runtime.getRuntime().removeShutdownHook(stop);
          lab.leaveRunning();
          return status;
        }
        return status;
      } finally {
        if (!keep) {
          Runtime.getRuntime().removeShutdownHook(stop);
        }
      }
    } finally {
      if (temporary && !keep) {
        removeAll(place);
      }
    }
  }

  private List<Demo.DiskSize> sizes() {
    return disks.stream()
        .map(text -> {
          String[] parts = text.split(":", -1);
          try {
            return new Demo.DiskSize(
                Long.parseLong(parts[0]) << 20, parts.length > 1 ? Integer.parseInt(parts[1]) : 40);
          } catch (NumberFormatException e) {
            throw new CommandLine.ParameterException(
                new CommandLine(this), "--disks takes MiB:percent, not " + text, e);
          }
        })
        .toList();
  }

  private static void removeAll(Path place) throws IOException {
    try (Stream<Path> files = Files.walk(place)) {
      for (Path file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) {
        Files.deleteIfExists(file);
      }
    }
  }
}
