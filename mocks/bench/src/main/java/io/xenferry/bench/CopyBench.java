package io.xenferry.bench;

import io.xenferry.bench.TestLun.Timed;
import io.xenferry.copy.CopyEngine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Copies a file to a LUN of tgtd, by the engine and by {@code qemu-img convert}, in turn.
 *
 * <p>Before each copy the LUN's file is overwritten, so that neither side finds it empty; both read
 * a source that is in the page cache; both times end with a flush of the LUN; after each copy the
 * contents are compared, and what the target received is printed. How long the overwriting took,
 * with its flush, says what the disk alone allows: where a copy takes as long, the disk is what is
 * measured.
 *
 * <p>The engine runs in this process, as in a server, and qemu-img is started for each copy, as
 * always. The first rounds, in which this process compiles its code, are printed and do not count.
 */
@Command(
    name = "copy",
    description = "Copies a file to an iSCSI LUN: the engine against qemu-img convert.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
final class CopyBench implements Callable<Integer> {
  private static final int CANNOT_RUN = 3;

  @Option(
      names = "--size",
      description = "Size of the disk (default: ${DEFAULT-VALUE}).",
      defaultValue = "2G",
      converter = ByteCount.class)
  private long size = 2L << 30;

  @Option(
      names = "--rounds",
      description = "Copies by each side and kind of disk (default: ${DEFAULT-VALUE}).",
      defaultValue = "5")
  private int rounds = 5;

  @Option(
      names = "--warm-up",
      description =
          "Such copies beforehand that do not count, for each side (default: ${DEFAULT-VALUE}).",
      defaultValue = "2")
  private int warmUp = 2;

  @Option(
      names = "--directory",
      description =
          "Where the files go; three times the size is needed (default: a temporary one).")
  private Optional<Path> directory = Optional.empty();

  @Option(
      names = "--depth",
      description = "Requests in flight (default: ${DEFAULT-VALUE}).",
      defaultValue = "16")
  private int depth = 16;

  @Option(
      names = "--request-size",
      description = "Bytes of a request, a power of two (default: that of the engine).",
      converter = ByteCount.class)
  private Optional<Long> requestSize = Optional.empty();

  @Option(
      names = "--sessions",
      description = "The engine's iSCSI sessions to the LUN (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  private int sessions = 1;

  @Override
  public Integer call() throws Exception {
    List<String> missing = missingTools();
    if (!missing.isEmpty() || rounds < 1 || warmUp < 0 || size % 512 != 0) {
      System.err.println(
          missing.isEmpty()
              ? "at least one round, and a size in sectors of 512 bytes"
              : "cannot run without "
                  + String.join(" and ", missing)
                  + " (Debian: apt-get install tgt qemu-utils qemu-block-extra)");
      return CANNOT_RUN;
    }
    Path base =
        directory.isPresent()
            ? Files.createTempDirectory(Files.createDirectories(directory.get()), "bench")
            : Files.createTempDirectory("xenferry-bench");
    try (TestLun lun = TestLun.create(base, size)) {
      double random = measure(lun, "random", Disks.random(base.resolve("random"), size));
      Files.delete(base.resolve("random"));
      double sparse = measure(lun, "sparse", Disks.sparse(base.resolve("sparse"), size));
      System.out.printf(Locale.ROOT, "ratio random: %.2f%n", random);
      System.out.printf(Locale.ROOT, "ratio sparse: %.2f%n", sparse);
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      Disks.deleteTree(base);
    }
  }

  /** qemu-img's median over ours: above 1 the engine is faster. */
  private double measure(TestLun lun, String kind, Path source) throws Exception {
    EngineCopy engine =
        new EngineCopy(
            depth,
            requestSize.map(Math::toIntExact).orElse(CopyEngine.DEFAULT_REQUEST_SIZE),
            sessions);
    List<Double> ours = new ArrayList<>();
    List<Double> theirs = new ArrayList<>();
    List<Double> alone = new ArrayList<>();
    for (int round = -warmUp; round < rounds; round++) {
      boolean oursFirst = round % 2 == 0;
      Copied first = once(lun, source, oursFirst ? engine::copy : QemuImgCopy::copy);
      Copied second = once(lun, source, oursFirst ? QemuImgCopy::copy : engine::copy);
      Copied our = oursFirst ? first : second;
      Copied their = oursFirst ? second : first;
      System.out.printf(
          Locale.ROOT,
          "%s %s: engine %.2f s, target received %.1f MB (%s); qemu-img %.2f s, received %.1f MB%n",
          kind,
          round < 0 ? "warm-up" : "round " + (round + 1),
          our.timed().seconds(),
          our.received() / 1e6,
          our.timed().remark(),
          their.timed().seconds(),
          their.received() / 1e6);
      if (round >= 0) {
        ours.add(our.timed().seconds());
        theirs.add(their.timed().seconds());
        alone.add(our.overwriting());
        alone.add(their.overwriting());
      }
    }
    double our = median(ours);
    double their = median(theirs);
    System.out.printf(
        Locale.ROOT,
        "%s median: engine %.2f s (%.0f MB/s), qemu-img %.2f s (%.0f MB/s);"
            + " filling and flushing the file without iSCSI %.2f s%n",
        kind,
        our,
        size / our / 1e6,
        their,
        size / their / 1e6,
        median(alone));
    return their / our;
  }

  private interface Copy {
    Timed copy(Path source, TestLun lun) throws Exception;
  }

  /**
   * @param overwriting seconds to fill the LUN's file and flush it, just before
   * @param received bytes that tgtd read meanwhile, nearly all of them from the socket
   */
  private record Copied(Timed timed, double overwriting, long received) {}

  private static Copied once(TestLun lun, Path source, Copy copy) throws Exception {
    long began = System.nanoTime();
    lun.overwrite();
    double overwriting = (System.nanoTime() - began) / 1e9;
    Disks.readOnce(source);
    long before = lun.received();
    Timed timed = copy.copy(source, lun);
    long received = lun.received() - before;
    long differs = Files.mismatch(source, lun.file());
    if (differs >= 0) {
      throw new IOException("the copy is wrong at byte " + differs + " (" + timed.remark() + ")");
    }
    return new Copied(timed, overwriting, received);
  }

  static double median(List<Double> values) {
    List<Double> sorted = values.stream().sorted().toList();
    int middle = sorted.size() / 2;
    return sorted.size() % 2 == 1
        ? sorted.get(middle)
        : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
  }

  private static List<String> missingTools() {
    List<String> missing = new ArrayList<>();
    if (!TestLun.installed()) {
      missing.add("tgtd");
    }
    if (!QemuImgCopy.installed()) {
      missing.add("qemu-img with its iSCSI driver");
    }
    return missing;
  }
}
