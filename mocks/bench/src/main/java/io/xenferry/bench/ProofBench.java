package io.xenferry.bench;

import io.xenferry.bench.TestLun.Timed;
import io.xenferry.bench.measure.Disks;
import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.bench.measure.Workspace;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopyOptions.Verify;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/**
 * What it costs to verify a copy, and what a base saves: the engine copies a file to a LUN of tgtd
 * without verifying it, with {@code verify=full}, and onto what is the same but for a hundredth of
 * its blocks, in turn. Both ends are on one machine and share its processors, which two hosts do
 * not.
 */
@Command(
    name = "proof",
    description = "What verifying a copy costs, and what a base at the destination saves.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
final class ProofBench implements Callable<Integer> {
  private static final int CANNOT_RUN = 3;
  private static final int BLOCK = 64 << 10;
  private static final int ONE_CHANGED_OF = 100;

  @Mixin private final Rounds rounds = new Rounds(5, 2);
  @Mixin private final Workspace workspace = new Workspace(1L << 30);

  @Override
  public Integer call() throws Exception {
    long size = workspace.size();
    if (!TestLun.installed() || !rounds.any() || size < BLOCK || size % BLOCK != 0) {
      System.err.println(
          TestLun.installed()
              ? "at least one round, and a size in blocks of 64 KiB"
              : "cannot run without tgtd (Debian: apt-get install tgt)");
      return CANNOT_RUN;
    }
    Path base = workspace.create();
    try (TestLun lun = TestLun.create(base, size)) {
      measure(lun, Disks.random(base.resolve("random"), size));
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      Disks.deleteTree(base);
    }
  }

  private void measure(TestLun lun, Path source) throws Exception {
    EngineCopy plain = engine(Verify.NOTHING, false);
    EngineCopy verified = engine(Verify.EVERYTHING, false);
    EngineCopy based = engine(Verify.NOTHING, true);
    List<Rounds.Kind<Timed>> kinds =
        List.of(
            () -> once(lun, source, plain, false),
            () -> once(lun, source, verified, false),
            () -> once(lun, source, based, true));
    List<List<Timed>> counted = rounds.measure(kinds, ProofBench::tell);
    double none = median(counted.get(0));
    Medians.ratio("time verify=full", median(counted.get(1)) / none);
    Medians.ratio("time base", median(counted.get(2)) / none);
    double sentAgain = counted.get(2).stream().mapToLong(Timed::sent).average().orElse(0);
    System.out.printf(Locale.ROOT, "ratio bytes base: %.4f%n", sentAgain / workspace.size());
  }

  private static void tell(String round, List<Timed> all) {
    System.out.printf(
        Locale.ROOT,
        "%s: none %.2f s; full %.2f s (%s); on a base %.2f s (%s)%n",
        round,
        all.get(0).seconds(),
        all.get(1).seconds(),
        all.get(1).remark(),
        all.get(2).seconds(),
        all.get(2).remark());
  }

  private static double median(List<Timed> copies) {
    return Medians.of(copies.stream().map(Timed::seconds).toList());
  }

  private static EngineCopy engine(Verify verify, boolean comparing) {
    return new EngineCopy(
        CopyOptions.DEFAULT.depth(), CopyEngine.DEFAULT_REQUEST_SIZE, 1, verify, comparing);
  }

  /**
   * @param onBase whether the LUN has all of the source beforehand, but for some blocks
   */
  private Timed once(TestLun lun, Path source, EngineCopy copy, boolean onBase) throws Exception {
    if (onBase) {
      Disks.copyInto(source, lun.file());
      change(lun.file());
    } else {
      lun.overwrite();
    }
    Disks.readOnce(source);
    Timed timed = copy.copy(source, lun);
    long differs = Files.mismatch(source, lun.file());
    if (differs >= 0) {
      throw new IOException("the copy is wrong at byte " + differs + " (" + timed.remark() + ")");
    }
    return timed;
  }

  private void change(Path file) throws IOException {
    Random random = new Random(2);
    try (RandomAccessFile disk = new RandomAccessFile(file.toFile(), "rw")) {
      for (long at = 0; at < workspace.size(); at += (long) BLOCK * ONE_CHANGED_OF) {
        disk.seek(at + random.nextInt(BLOCK - Integer.BYTES));
        disk.writeInt(random.nextInt());
      }
      disk.getFD().sync();
    }
  }
}
