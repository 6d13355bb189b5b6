package io.xenferry.bench;

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
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
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

  @Option(
      names = "--size",
      description = "Bytes copied, of all disks together (default: ${DEFAULT-VALUE}).",
      defaultValue = "8G",
      converter = ByteCount.class)
  private long size = 8L << 30;

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
      names = "--sparse",
      description =
          "Size of a disk of which a tenth is allocated, to see whether memory grows with it"
              + " (default: ${DEFAULT-VALUE}).",
      defaultValue = "100G",
      converter = ByteCount.class)
  private long sparse = 100L << 30;

  private final ByteBuffer slab = ByteBuffer.allocateDirect(SLAB);

  /** One way to copy. */
  private interface Kind {
    void copy() throws Exception;
  }

  @Override
  public Integer call() throws Exception {
    if (rounds < 1 || warmUp < 0 || size % (16L << 20) != 0 || sparse % (16L << 20) != 0) {
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
    List<Kind> kinds =
        List.of(
            this::loop,
            () -> engine(1, size, 1),
            () -> engine(4, size, 1),
            () -> engine(16, size, 1));
    List<List<Double>> seconds = new ArrayList<>();
    List<List<Double>> processor = new ArrayList<>();
    kinds.forEach(kind -> {
      seconds.add(new ArrayList<>());
      processor.add(new ArrayList<>());
    });
    for (int round = -warmUp; round < rounds; round++) {
      for (int i = 0; i < kinds.size(); i++) {
        // Each round begins with another one.
        int which = Math.floorMod(i + round, kinds.size());
        double before = processorSeconds();
        long began = System.nanoTime();
        kinds.get(which).copy();
        double took = (System.nanoTime() - began) / 1e9;
        if (round >= 0) {
          seconds.get(which).add(took);
          processor.get(which).add(processorSeconds() - before);
        }
      }
    }
    System.out.printf("%-28s %8s %18s%n", "", "GB/s", "CPU s per GiB");
    List<String> labels =
        List.of("bare loop", "engine, 1 disk", "engine, 4 disks", "engine, 16 disks");
    for (int i = 0; i < kinds.size(); i++) {
      System.out.printf(
          Locale.ROOT,
          "%-28s %8.2f %18.3f%n",
          labels.get(i),
          size / CopyBench.median(seconds.get(i)) / 1e9,
          CopyBench.median(processor.get(i)) / (size / GIB));
    }
    ratio("engine", seconds.get(0), seconds.get(1), "the bare loop's time over the engine's");
    ratio("4 disks", seconds.get(1), seconds.get(2), "one disk's time over that of four");
    ratio("16 disks", seconds.get(1), seconds.get(3), "one disk's time over that of sixteen");
    memory();
    return 0;
  }

  private static void ratio(String name, List<Double> theirs, List<Double> ours, String meaning) {
    System.out.printf(
        Locale.ROOT,
        "ratio %s: %.2f  %s%n",
        name,
        CopyBench.median(theirs) / CopyBench.median(ours),
        meaning);
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
    long before = used();
    long[] most = {0};
    Thread watch =
        Thread.ofPlatform()
            .daemon()
            .start(() -> {
              try {
                while (true) {
                  TimeUnit.MILLISECONDS.sleep(500);
                  most[0] = Math.max(most[0], used() - before);
                }
              } catch (InterruptedException e) {
                // The copy is done.
              }
            });
    engine(1, bytes, HOLES);
    watch.interrupt();
    watch.join();
    return Math.max(most[0], used() - before);
  }

  private static long used() {
    System.gc();
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed() + direct();
  }

  private static long direct() {
    return ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
        .filter(pool -> pool.getName().equals("direct"))
        .mapToLong(BufferPoolMXBean::getMemoryUsed)
        .sum();
  }

  private static double processorSeconds() {
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        ? system.getProcessCpuTime() / 1e9
        : Double.NaN;
  }
}
