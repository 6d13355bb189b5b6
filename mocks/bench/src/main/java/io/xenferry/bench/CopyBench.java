package io.xenferry.bench;

import io.xenferry.bench.TestLun.Timed;
import io.xenferry.bench.measure.ByteCount;
import io.xenferry.bench.measure.Disks;
import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.bench.measure.Usage;
import io.xenferry.bench.measure.Workspace;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyOptions;
import io.xenferry.iscsi.IscsiUrl;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Copies a file to a LUN of tgtd, by the engine and by {@code qemu-img convert}, in turn.
 *
 * <p>Before each copy the LUN's file is overwritten, so that neither side finds it empty, or made
 * anew, so that both do; both read a source that is in the page cache; both times end with a flush
 * of the LUN; after each copy the contents are compared, and what the target received is printed.
 * How long the overwriting took, with its flush, says what the disk alone allows: where a copy
 * takes as long, the disk is what is measured.
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
  private static final double GIB = 1 << 30;

  @Mixin private final Rounds rounds = new Rounds(5, 2);
  @Mixin private final Workspace workspace = new Workspace(2L << 30);

  @Option(
      names = "--depth",
      description =
          "Requests in flight at the most; how many there are the engine finds by measuring"
              + " (default: ${DEFAULT-VALUE}).")
  private int depth = CopyOptions.DEFAULT.depth();

  @Option(
      names = "--request-size",
      description =
          "Bytes of a request at the most, a power of two (default: those of the engine).",
      converter = ByteCount.class)
  private Optional<Long> requestSize = Optional.empty();

  @Option(
      names = "--sessions",
      description = "The engine's iSCSI sessions to the LUN (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  private int sessions = 1;

  @Option(
      names = "--digests",
      description =
          "Let the engine alone send checksums of headers and data (CRC32C), to see what they"
              + " cost.")
  private boolean digests;

  @Option(
      names = "--limits",
      description =
          "Measure, too, what the machine lets anybody do: copying in memory, sending through the"
              + " loopback interface, and the engine with a tgtd that forgets what is written.")
  private boolean limits;

  @Option(
      names = "--round-trip",
      paramLabel = "MS",
      description =
          "Copy over a link with such a round trip, which this program plays, in milliseconds"
              + " (default: none; straight to the target).")
  private double roundTrip;

  @Option(
      names = "--link",
      paramLabel = "SIZE",
      description =
          "What that link carries in a second, in bytes as in 125M (default: ${DEFAULT-VALUE},"
              + " about a gigabit).",
      defaultValue = "119M",
      converter = ByteCount.class)
  private long link = 119L << 20;

  @Override
  public Integer call() throws Exception {
    List<String> missing = missingTools();
    if (!missing.isEmpty() || !rounds.any() || workspace.size() % 512 != 0) {
      System.err.println(
          missing.isEmpty()
              ? "at least one round, and a size in sectors of 512 bytes"
              : "cannot run without "
                  + String.join(" and ", missing)
                  + " (Debian: apt-get install tgt qemu-utils qemu-block-extra)");
      return CANNOT_RUN;
    }
    Path base = workspace.create();
    try (TestLun lun = TestLun.create(base, workspace.size());
        LongLink far = new LongLink(lun.url().port(), roundTrip, link)) {
      if (roundTrip > 0) {
        lun.through(far.port());
      }
      Path full = Disks.random(base.resolve("random"), workspace.size());
      double random = measure(lun, "random", full, TestLun::overwrite);
      double fresh = measure(lun, "fresh", full, TestLun::clear);
      if (limits) {
        limits(lun, full);
      }
      Files.delete(full);
      Path holes = Disks.sparse(base.resolve("sparse"), workspace.size());
      double sparse = measure(lun, "sparse", holes, TestLun::overwrite);
      Medians.ratio("random", random);
      Medians.ratio("fresh", fresh);
      Medians.ratio("sparse", sparse);
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      Disks.deleteTree(base);
    }
  }

  private interface Copy {
    Timed copy(Path source, TestLun lun) throws Exception;
  }

  /** What is done with the LUN beforehand. */
  private interface Preparation {
    void prepare(TestLun lun) throws IOException;
  }

  /**
   * @param preparing seconds to fill the LUN's file, or to empty it, and flush it, just before
   * @param received bytes that tgtd read meanwhile, nearly all of them from the socket
   * @param processor seconds of it that the copy used, without tgtd's
   */
  private record Copied(Timed timed, double preparing, long received, double processor) {
    double seconds() {
      return timed.seconds();
    }
  }

  /** qemu-img's median over ours: above 1 the engine is faster. */
  private double measure(TestLun lun, String kind, Path source, Preparation preparation)
      throws Exception {
    EngineCopy engine = engine();
    List<Rounds.Kind<Copied>> kinds =
        List.of(
            () -> once(lun, source, preparation, engine::copy),
            () -> once(lun, source, preparation, QemuImgCopy::copy));
    List<List<Copied>> counted =
        rounds.measure(kinds, (round, both) -> tell(kind, round, both.getFirst(), both.getLast()));
    List<Copied> ours = counted.getFirst();
    List<Copied> theirs = counted.getLast();
    List<Copied> all = new ArrayList<>(ours);
    all.addAll(theirs);
    double our = median(ours, Copied::seconds);
    double their = median(theirs, Copied::seconds);
    double gib = workspace.size() / GIB;
    System.out.printf(
        Locale.ROOT,
        "%s median: engine %.2f s (%.0f MB/s, %.2f CPU s per GiB),"
            + " qemu-img %.2f s (%.0f MB/s, %.2f CPU s per GiB);"
            + " preparing and flushing the file without iSCSI %.2f s%n",
        kind,
        our,
        workspace.size() / our / 1e6,
        median(ours, Copied::processor) / gib,
        their,
        workspace.size() / their / 1e6,
        median(theirs, Copied::processor) / gib,
        median(all, Copied::preparing));
    return their / our;
  }

  private EngineCopy engine() {
    EngineCopy engine =
        new EngineCopy(
            depth,
            requestSize.map(Math::toIntExact).orElse(CopyEngine.DEFAULT_REQUEST_SIZE),
            sessions);
    if (digests) {
      engine.withDigests();
    }
    return engine;
  }

  private void limits(TestLun lun, Path source) throws Exception {
    EngineCopy engine = engine();
    IscsiUrl forgetful = Limits.forgetful(lun);
    List<Rounds.Kind<Double>> kinds =
        List.of(
            () -> Limits.memory(workspace.size()),
            () -> Limits.loopback(workspace.size()),
            () -> engine.copy(source, lun, forgetful).seconds());
    List<List<Double>> seconds = rounds.measure(kinds, (round, all) -> {});
    System.out.printf(
        Locale.ROOT,
        "limits median: memory %.0f MB/s, loopback %.0f MB/s, a tgtd that forgets %.0f MB/s%n",
        workspace.size() / Medians.of(seconds.get(0)) / 1e6,
        workspace.size() / Medians.of(seconds.get(1)) / 1e6,
        workspace.size() / Medians.of(seconds.get(2)) / 1e6);
  }

  private static void tell(String kind, String round, Copied our, Copied their) {
    System.out.printf(
        Locale.ROOT,
        "%s %s: engine %.2f s, target received %.1f MB (%s); qemu-img %.2f s, received %.1f MB%n",
        kind,
        round,
        our.seconds(),
        our.received() / 1e6,
        our.timed().remark(),
        their.seconds(),
        their.received() / 1e6);
  }

  private static double median(List<Copied> copies, ToDoubleFunction<Copied> figure) {
    return Medians.of(copies.stream().mapToDouble(figure).boxed().toList());
  }

  private static Copied once(TestLun lun, Path source, Preparation preparation, Copy copy)
      throws Exception {
    long began = System.nanoTime();
    preparation.prepare(lun);
    double preparing = (System.nanoTime() - began) / 1e9;
    Disks.readOnce(source);
    long before = lun.received();
    double used = Usage.seconds() + Usage.secondsOfChildren();
    Timed timed = copy.copy(source, lun);
    used = Usage.seconds() + Usage.secondsOfChildren() - used;
    long received = lun.received() - before;
    long differs = Files.mismatch(source, lun.file());
    if (differs >= 0) {
      throw new IOException("the copy is wrong at byte " + differs + " (" + timed.remark() + ")");
    }
    return new Copied(timed, preparing, received, used);
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
