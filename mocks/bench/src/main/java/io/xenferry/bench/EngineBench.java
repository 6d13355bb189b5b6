package io.xenferry.bench;

import io.xenferry.bench.measure.ByteCount;
import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.bench.measure.Usage;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyJob;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.LiveDisk;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.time.RealScheduler;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * The engine alone: from disks whose content is in memory to disks that take it and forget it, so
 * that what is measured is what the engine itself costs. Beside it, in turn, a loop does the least
 * that such a copy can: it copies the same bytes once.
 */
@Command(
    name = "engine",
    description = "The copy engine from memory to memory, against a bare loop that does the same.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
final class EngineBench implements Callable<Integer> {
  private static final int DEADLINE_MINUTES = 10;
  private static final int SLAB = 64 << 20;
  private static final double GIB = 1 << 30;

  /** One in so many MiB of the large disk is data. */
  private static final int HOLES = 10;

  /** Threads that read, as many as a file has here. */
  private static final int READERS = 4;

  @Mixin private final Rounds rounds = new Rounds(5, 2);

  @Option(
      names = "--size",
      description = "Bytes copied, of all disks together (default: ${DEFAULT-VALUE}).",
      defaultValue = "8G",
      converter = ByteCount.class)
  private long size = 8L << 30;

  @Option(
      names = "--sparse",
      description =
          "Size of a disk of which a tenth is allocated, to see whether memory grows with it"
              + " (default: ${DEFAULT-VALUE}).",
      defaultValue = "100G",
      converter = ByteCount.class)
  private long sparse = 100L << 30;

  private final ByteBuffer slab = ByteBuffer.allocateDirect(SLAB);

  @Override
  public Integer call() throws Exception {
    if (!rounds.any() || size % (16L << 20) != 0 || sparse % (16L << 20) != 0) {
      System.err.println("at least one round, and sizes in steps of 16M");
      return 2;
    }
    byte[] noise = new byte[1 << 20];
    Random random = new Random(1);
    while (slab.hasRemaining()) {
      random.nextBytes(noise);
      slab.put(noise);
    }
    slab.clear();
    List<String> labels =
        List.of("bare loop", "engine, 1 disk", "engine, 4 disks", "engine, 16 disks");
    List<Rounds.Kind<Copied>> kinds =
        List.of(
            () -> timed(this::loop),
            () -> timed(() -> engine(1, size, 1)),
            () -> timed(() -> engine(4, size, 1)),
            () -> timed(() -> engine(16, size, 1)));
    List<List<Copied>> counted = rounds.measure(kinds, (round, all) -> {});
    List<List<Double>> seconds =
        counted.stream().map(all -> all.stream().map(Copied::seconds).toList()).toList();
    System.out.printf("%-28s %8s %18s%n", "", "GB/s", "CPU s per GiB");
    for (int i = 0; i < kinds.size(); i++) {
      System.out.printf(
          Locale.ROOT,
          "%-28s %8.2f %18.3f%n",
          labels.get(i),
          size / Medians.of(seconds.get(i)) / 1e9,
          Medians.of(counted.get(i).stream().map(Copied::processor).toList()) / (size / GIB));
    }
    Medians.ratio("engine", seconds.get(0), seconds.get(1));
    Medians.ratio("4 disks", seconds.get(1), seconds.get(2));
    Medians.ratio("16 disks", seconds.get(1), seconds.get(3));
    memory();
    return 0;
  }

  /** One way to copy. */
  private interface Copy {
    void copy() throws Exception;
  }

  /**
   * @param processor seconds of it
   */
  private record Copied(double seconds, double processor) {}

  private static Copied timed(Copy copy) throws Exception {
    double before = Usage.seconds();
    long began = System.nanoTime();
    copy.copy();
    return new Copied((System.nanoTime() - began) / 1e9, Usage.seconds() - before);
  }

  /** What every copy must do at the least: read once, write once. */
  private void loop() {
    ByteBuffer into = ByteBuffer.allocateDirect(CopyEngine.DEFAULT_REQUEST_SIZE);
    for (long at = 0; at < size; at += into.capacity()) {
      into.clear().put(slab.slice((int) (at % SLAB), into.capacity()));
    }
  }

  /** Of each disk one byte in {@code every} is data, the rest holes. */
  private void engine(int disks, long bytes, int every) throws Exception {
    long each = bytes / disks;
    AtomicLong generations = new AtomicLong();
    try (RealScheduler scheduler = new RealScheduler("copy");
        ExecutorService readers = Executors.newFixedThreadPool(READERS)) {
      List<DiskPlan> plans = new ArrayList<>();
      for (int i = 0; i < disks; i++) {
        SlabDisk source = new SlabDisk("disk" + i, each, slab, every, readers);
        SlabDisk sink = new SlabDisk("copy" + i, each, slab, every, readers);
        plans.add(
            new DiskPlan(
                new LiveDisk(source.name(), source),
                () ->
                    CompletableFuture.completedFuture(
                        new Destination(sink, generations.incrementAndGet())),
                true,
                MemoryDirtyLog.immediate(BlockMap.of(each), scheduler)));
      }
      CopyJob job =
          new CopyEngine().start(plans, CopyOptions.DEFAULT, scheduler, new CopyListener() {});
      job.drain().get(DEADLINE_MINUTES, TimeUnit.MINUTES);
      job.close().get(DEADLINE_MINUTES, TimeUnit.MINUTES);
    }
  }

  /** The heap after a collection and all direct memory, at the most, while a disk is copied. */
  private void memory() throws Exception {
    long small = held(sparse / 16);
    long large = held(sparse);
    System.out.printf(
        Locale.ROOT,
        "memory: %.1f MB while %.1f GiB with holes are copied, %.1f MB with %.1f GiB%n",
        small / 1e6,
        sparse / GIB / 16,
        large / 1e6,
        sparse / GIB);
  }

  private long held(long bytes) throws Exception {
    long before = Usage.memory();
    long[] most = {0};
    Thread watch =
        Thread.ofPlatform()
            .daemon()
            .start(() -> {
              try {
                while (true) {
                  TimeUnit.MILLISECONDS.sleep(500);
                  most[0] = Math.max(most[0], Usage.memory() - before);
                }
              } catch (InterruptedException e) {
                // The copy is done.
              }
            });
    engine(1, bytes, HOLES);
    watch.interrupt();
    watch.join();
    return Math.max(most[0], Usage.memory() - before);
  }
}
