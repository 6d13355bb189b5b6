package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockException;
import io.xenferry.copy.CopyOptions.Verify;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/**
 * A whole copy over links of known figures, on simulated time. A byte here stands for a KiB: blocks
 * of 64 bytes, requests of 512 at the most.
 */
class CopyOverLinksTest {
  private static final int BLOCK = 64;
  private static final int LARGEST = 512;
  private static final double MBIT = 1e6 / 8 / 1024;

  private final SimulatedScheduler scheduler = new SimulatedScheduler(5);
  private final CopyEngine engine = new CopyEngine(LARGEST, 128L * LARGEST);
  private final List<String> lost = new ArrayList<>();
  private SimulatedDisk source;
  private SimulatedDisk target;

  private CopyJob start(int size, double mbits, Duration roundTrip) {
    source = new SimulatedDisk(scheduler, size, 1);
    target = new SimulatedDisk(scheduler, size, 1);
    scheduler.random().nextBytes(source.content);
    target.writtenPerSecond = mbits * MBIT;
    target.roundTripNanos = roundTrip.toNanos();
    BlockMap map = new BlockMap(size, BLOCK);
    DestinationOpener opener =
        new DestinationOpener() {
          private long generation;

          @Override
          public CompletableFuture<Destination> open() {
            return CompletableFuture.completedFuture(
                new Destination(target.connect(), ++generation));
          }

          @Override
          public CompletableFuture<Void> fence(Destination destination) {
            destination.backend().close();
            return CompletableFuture.completedFuture(null);
          }
        };
    DiskPlan plan =
        new DiskPlan(
            new NotedDisk(source, scheduler, map),
            opener,
            true,
            MemoryDirtyLog.immediate(map, scheduler));
    return engine.start(
        List.of(plan),
        CopyOptions.DEFAULT.withVerify(Verify.NOTHING),
        scheduler,
        new CopyListener() {
          @Override
          public void onDestinationLost(String disk, BlockException cause) {
            lost.add(cause.getMessage());
          }
        });
  }

  private double seconds(CopyJob job) {
    long began = scheduler.nanoTime();
    CompletableFuture<CopySnapshot> drained = job.drain();
    assertThat(scheduler.runUntil(drained::isDone, Duration.ofMinutes(10)))
        .as(job.snapshot().toString())
        .isTrue();
    assertThat(target.durable()).isEqualTo(source.content);
    assertThat(lost).isEmpty();
    return (scheduler.nanoTime() - began) / 1e9;
  }

  /** 18 MB are on the way: more than sixteen requests. */
  @Test
  void aGigabitOverHalfTheWorldIsFilled() {
    CopyJob job = start(1_220_704, 1000, Duration.ofMillis(150));

    assertThat(seconds(job)).as("10 s is what the link takes").isBetween(10.0, 11.7);
  }

  /** Sixteen requests of the largest size would take longer than one may take. */
  @Test
  void aLinkOfThreeMegabitsCopiesAndIsNotTakenForDead() {
    CopyJob job = start(64 << 10, 3, Duration.ofMillis(30));

    assertThat(seconds(job)).as("179 s is what the link takes").isBetween(178.0, 190.0);
  }

  @Test
  void whereTheLinkBecomesSlowFewerAreUnderWay() {
    CopyJob job = start(600_000, 1000, Duration.ofMillis(2));
    scheduler.runFor(Duration.ofSeconds(2));
    int before = underWay(job);
    target.writtenPerSecond = 40 * MBIT;
    scheduler.runFor(Duration.ofSeconds(20));

    assertThat(before).isGreaterThanOrEqualTo(4 * LARGEST / 2);
    assertThat(underWay(job)).as("a tenth of a second's").isLessThan((int) (4 * MBIT));

    target.writtenPerSecond = 1000 * MBIT;
    seconds(job);
  }

  private static int underWay(CopyJob job) {
    CopySnapshot.Disk disk = job.snapshot().disks().getFirst();
    return disk.depth() * disk.requestSize();
  }
}
