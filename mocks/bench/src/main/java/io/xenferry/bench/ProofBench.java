package io.xenferry.bench;

import io.xenferry.bench.TestLun.Timed;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyOptions.Verify;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

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
  private static final int DEPTH = 16;
  private static final int BLOCK = 64 << 10;
  private static final int ONE_CHANGED_OF = 100;

  @Option(
      names = "--size",
      description = "Size of the disk (default: ${DEFAULT-VALUE}).",
      defaultValue = "1G",
      converter = ByteCount.class)
  private long size = 1L << 30;

  @Option(
      names = "--rounds",
      description = "Copies of each kind (default: ${DEFAULT-VALUE}).",
      defaultValue = "5")
  private int rounds = 5;

  @Option(
      names = "--warm-up",
      description = "Such copies beforehand that do not count (default: ${DEFAULT-VALUE}).",
      defaultValue = "2")
  private int warmUp = 2;

  @Option(
      names = "--directory",
      description = "Where the files go; twice the size is needed (default: a temporary one).")
  private Optional<Path> directory = Optional.empty();

  @Override
  public Integer call() throws Exception {
    if (!TestLun.installed() || rounds < 1 || warmUp < 0 || size < BLOCK || size % BLOCK != 0) {
      System.err.println(
          TestLun.installed()
              ? "at least one round, and a size in blocks of 64 KiB"
              : "cannot run without tgtd (Debian: apt-get install tgt)");
      return CANNOT_RUN;
    }
    Path base =
        directory.isPresent()
            ? Files.createTempDirectory(Files.createDirectories(directory.get()), "bench")
            : Files.createTempDirectory("xenferry-bench");
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
    List<Double> without = new ArrayList<>();
    List<Double> with = new ArrayList<>();
    List<Double> again = new ArrayList<>();
    long sentAgain = 0;
    for (int round = -warmUp; round < rounds; round++) {
      Timed first = once(lun, source, round % 2 == 0 ? plain : verified, false);
      Timed second = once(lun, source, round % 2 == 0 ? verified : plain, false);
      Timed third = once(lun, source, based, true);
      Timed alone = round % 2 == 0 ? first : second;
      Timed full = round % 2 == 0 ? second : first;
      System.out.printf(
          Locale.ROOT,
          "%s: none %.2f s; full %.2f s (%s); on a base %.2f s (%s)%n",
          round < 0 ? "warm-up" : "round " + (round + 1),
          alone.seconds(),
          full.seconds(),
          full.remark(),
          third.seconds(),
          third.remark());
      if (round >= 0) {
        without.add(alone.seconds());
        with.add(full.seconds());
        again.add(third.seconds());
        sentAgain += third.sent();
      }
    }
    double none = CopyBench.median(without);
    System.out.printf(Locale.ROOT, "ratio time verify=full: %.2f%n", CopyBench.median(with) / none);
    System.out.printf(Locale.ROOT, "ratio time base: %.2f%n", CopyBench.median(again) / none);
    System.out.printf(Locale.ROOT, "ratio bytes base: %.4f%n", (double) sentAgain / rounds / size);
  }

  private static EngineCopy engine(Verify verify, boolean comparing) {
    return new EngineCopy(DEPTH, CopyEngine.DEFAULT_REQUEST_SIZE, 1, verify, comparing);
  }

  /**
   * @param onBase whether the LUN begins as it was left, but for some blocks
   */
  private Timed once(TestLun lun, Path source, EngineCopy copy, boolean onBase) throws Exception {
    if (onBase) {
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
      for (long at = 0; at < size; at += (long) BLOCK * ONE_CHANGED_OF) {
        disk.seek(at + random.nextInt(BLOCK - Integer.BYTES));
        disk.writeInt(random.nextInt());
      }
      disk.getFD().sync();
    }
  }
}
