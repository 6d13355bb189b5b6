package io.xenferry.bench;

import io.xenferry.bench.command.Commands;
import io.xenferry.bench.command.Tools;
import io.xenferry.bench.measure.Disks;
import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiInitiator.Discovered;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.iscsi.initiator.LogicalUnit;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Lists the units behind one target of tgtd: the initiator, from discovery to the last unit's
 * vendor, serial number, SCSI id and size, and {@code iscsi-ls -s}, in turn.
 *
 * <p>The initiator runs in this process, as in a server, and iscsi-ls is started each time, as
 * always; it says type and size, and no serial numbers or SCSI ids. Each list of ours is compared
 * with what was exported.
 */
@Command(
    name = "probe",
    description = "Lists the LUNs behind one iSCSI target: the initiator against iscsi-ls.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
final class ProbeBench implements Callable<Integer> {
  private static final int CANNOT_RUN = 3;
  private static final long MIB = 1L << 20;

  @Option(
      names = "--units",
      description = "LUNs behind the target, 1 to 1000 (default: ${DEFAULT-VALUE}).",
      defaultValue = "191")
  private int units = 191;

  @Mixin private final Rounds rounds = new Rounds(7, 2);

  @Override
  public Integer call() throws Exception {
    if (!TestLun.installed() || !Tools.installed("iscsi-ls")) {
      System.err.println(
          "cannot run without tgtd and iscsi-ls (Debian: apt-get install tgt libiscsi-bin)");
      return CANNOT_RUN;
    }
    if (units < 1 || units > 1000 || !rounds.any()) {
      System.err.println("1 to 1000 units, and at least one round");
      return CANNOT_RUN;
    }
    Path base = Files.createTempDirectory("xenferry-bench");
    try (TestLun first = TestLun.create(base, MIB)) {
      for (int lun = 2; lun <= units; lun++) {
        addUnit(first, base, lun);
      }
      measure(first.url());
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      Disks.deleteTree(base);
    }
  }

  private static void addUnit(TestLun target, Path directory, int lun)
      throws IOException, InterruptedException {
    Path file = directory.resolve("unit" + lun);
    try (RandomAccessFile backing = new RandomAccessFile(file.toFile(), "rw")) {
      backing.setLength(lun * MIB);
    }
    List<String> unit =
        List.of(
            "tgtadm",
            "-C",
            Integer.toString(target.control()),
            "--lld",
            "iscsi",
            "--mode",
            "logicalunit",
            "--tid",
            "1",
            "--lun",
            Integer.toString(lun));
    Commands.run(Commands.concat(unit, "--op", "new", "--backing-store", file.toString()));
    Commands.run(
        Commands.concat(
            unit, "--op", "update", "--params", "vendor_id=XENFERRY,scsi_sn=" + serial(lun)));
  }

  private static String serial(int lun) {
    return "unit" + lun;
  }

  private void measure(IscsiUrl target) throws Exception {
    List<Rounds.Kind<Double>> kinds = List.of(() -> initiator(target), () -> iscsiLs(target));
    List<List<Double>> seconds =
        rounds.measure(
            kinds,
            (round, both) ->
                System.out.printf(
                    Locale.ROOT,
                    "%s: initiator %.3f s, iscsi-ls %.3f s%n",
                    round,
                    both.getFirst(),
                    both.getLast()));
    System.out.printf(
        Locale.ROOT,
        "%d LUNs, median: initiator %.3f s, iscsi-ls %.3f s%n",
        units,
        Medians.of(seconds.getFirst()),
        Medians.of(seconds.getLast()));
    Medians.ratio("probe", seconds.getLast(), seconds.getFirst());
  }

  private double initiator(IscsiUrl target) throws IOException {
    long began = System.nanoTime();
    List<Discovered> targets =
        IscsiInitiator.discover(
            target.host(), target.port(), Optional.empty(), IscsiOptions.defaults());
    List<LogicalUnit> found = IscsiInitiator.units(target, IscsiOptions.defaults());
    double seconds = (System.nanoTime() - began) / 1e9;
    boolean named = targets.stream().anyMatch(one -> one.iqn().equals(target.iqn()));
    List<LogicalUnit> disks = found.stream().filter(unit -> unit.identity().type() == 0).toList();
    if (!named || disks.size() != units) {
      throw new IOException("found " + targets + " with " + disks.size() + " disks");
    }
    for (LogicalUnit disk : disks) {
      boolean right =
          disk.size().orElse(0) == disk.lun() * MIB
              && disk.identity().vendor().equals("XENFERRY")
              && (disk.lun() == 1 || disk.identity().serial().equals(serial(disk.lun())))
              && !disk.identity().scsiId().isEmpty();
      if (!right) {
        throw new IOException("not what was exported: " + disk);
      }
    }
    return seconds;
  }

  private double iscsiLs(IscsiUrl target) throws IOException, InterruptedException {
    long began = System.nanoTime();
    String listed =
        Commands.run(List.of("iscsi-ls", "-s", "iscsi://" + target.host() + ":" + target.port()));
    double seconds = (System.nanoTime() - began) / 1e9;
    long disks = listed.lines().filter(line -> line.contains("DIRECT_ACCESS")).count();
    if (disks != units) {
      throw new IOException("iscsi-ls found " + disks + " disks: " + listed);
    }
    return seconds;
  }
}
