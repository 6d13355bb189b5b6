package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Extent;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.LinkMeter;
import io.xenferry.block.LinkTimes;
import io.xenferry.block.MemoryBackend;
import io.xenferry.copy.CopySnapshot.Bottleneck;
import io.xenferry.copy.CopySnapshot.Waits;
import io.xenferry.time.RealScheduler;
import io.xenferry.time.Scheduler;
import io.xenferry.time.SimulatedScheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** That a copy names what held it up: each of the names where that is so. */
class BottleneckTest {
  private static final int BLOCK = 64;
  private static final int SIZE = 256 * BLOCK;
  private static final long QUICK = Duration.ofMillis(1).toNanos();
  private static final long SLOW = Duration.ofMillis(40).toNanos();

  private final SimulatedScheduler scheduler = new SimulatedScheduler(7);
  private final SimulatedDisk source = new SimulatedDisk(scheduler, SIZE, 1);
  private final SimulatedDisk target = new SimulatedDisk(scheduler, SIZE, 1);
  private final Way way = new Way();
  private CopyOptions options = CopyOptions.DEFAULT.withDepth(4);
  private CopyEngine engine = new CopyEngine(4 * BLOCK, 64 * BLOCK);
  private boolean told = true;

  /** What data goes through before it is at the disk: a thread, a cipher, a network. */
  private static final class Way {
    long processor;
    long encryption;
    long network;

    long all() {
      return processor + encryption + network;
    }
  }

  /** A disk at the end of a way; looks at its writes as the transports do. */
  private final class Remote extends ForwardingBackend {
    private final LinkMeter meter = new LinkMeter(scheduler.nanoTime());

    Remote(BlockBackend disk) {
      super(disk);
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      LinkMeter.Sample sample =
          meter.isDue(scheduler.nanoTime()) ? meter.begin(scheduler.nanoTime(), 0, 0) : null;
      CompletableFuture<Void> done = new CompletableFuture<>();
      scheduler.schedule(
          Duration.ofNanos(way.all()),
          () -> {
            if (sample != null) {
              sample.answered(scheduler.nanoTime(), way.processor, way.encryption);
            }
            delegate()
                .write(offset, from)
                .whenComplete((ok, failure) -> {
                  if (sample != null) {
                    sample.ended(scheduler.nanoTime());
                  }
                  done.complete(ok);
                });
          });
      return done;
    }

    @Override
    public LinkTimes linkTimes() {
      return told ? meter.times() : super.linkTimes();
    }
  }

  private CopySnapshot.Disk copied() {
    Arrays.fill(source.content, (byte) 7);
    CopyJob job = start(scheduler, source.connect(), new Remote(target.connect()));
    CompletableFuture<CopySnapshot> drain = job.drain();
    assertThat(scheduler.runUntil(drain::isDone, Duration.ofMinutes(5))).isTrue();
    assertThat(target.content).isEqualTo(source.content);
    CompletableFuture<Void> closed = job.close();
    assertThat(scheduler.runUntil(closed::isDone, Duration.ofMinutes(5))).isTrue();
    // What a closed destination has told is still known.
    return job.snapshot().disks().getFirst();
  }

  private CopyJob start(Scheduler on, BlockBackend from, BlockBackend to) {
    return start(on, from, to, new BlockMap(from.size(), BLOCK));
  }

  private CopyJob start(Scheduler on, BlockBackend from, BlockBackend to, BlockMap map) {
    return engine.start(
        List.of(
            new DiskPlan(
                new LiveDisk("disk", from),
                () -> CompletableFuture.completedFuture(new Destination(to, 1)),
                true,
                MemoryDirtyLog.immediate(map, on))),
        options,
        on,
        new CopyListener() {});
  }

  @Test
  void aSlowSource() {
    source.latencyNanos = SLOW;
    way.network = QUICK;

    assertThat(copied().bottleneck()).isEqualTo(Bottleneck.SOURCE_READ);
  }

  @Test
  void aSlowDiskBehindAQuickLink() {
    target.latencyNanos = SLOW;
    way.network = QUICK;

    CopySnapshot.Disk disk = copied();

    assertThat(disk.bottleneck()).isEqualTo(Bottleneck.DESTINATION_WRITE);
    assertThat(disk.waits().network()).isPositive();
  }

  @Test
  void aSlowLinkToAQuickDisk() {
    way.network = SLOW;
    way.encryption = QUICK;
    way.processor = QUICK;

    CopySnapshot.Disk disk = copied();

    assertThat(disk.bottleneck()).isEqualTo(Bottleneck.NETWORK);
    Waits waits = disk.waits();
    assertThat(waits.encryption()).isPositive();
    assertThat(waits.processor()).isPositive();
    assertThat(waits.network()).isGreaterThan(waits.destinationWrite().multipliedBy(2));
  }

  @Test
  void aSlowCipher() {
    way.encryption = SLOW;
    way.network = QUICK;

    assertThat(copied().bottleneck()).isEqualTo(Bottleneck.ENCRYPTION);
  }

  @Test
  void aThreadOfTheTransportThatCannotDoMore() {
    way.processor = SLOW;
    way.network = QUICK;

    assertThat(copied().bottleneck()).isEqualTo(Bottleneck.CPU);
  }

  /** Where nobody tells them apart it is not guessed. */
  @Test
  void aLinkThatTellsNothingIsTheDestination() {
    told = false;
    way.network = SLOW;

    CopySnapshot.Disk disk = copied();

    assertThat(disk.bottleneck()).isEqualTo(Bottleneck.DESTINATION_WRITE);
    assertThat(disk.waits().network()).isZero();
  }

  @Test
  void aLimit() {
    options = options.withBytesPerSecond(8 * BLOCK);
    way.network = QUICK;

    assertThat(copied().bottleneck()).isEqualTo(Bottleneck.RATE_LIMIT);
  }

  /** Another copy has all of them for a while, and does nothing with them. */
  @Test
  void buffersThatOthersHave() {
    engine = new CopyEngine(4 * BLOCK, 4 * 4 * BLOCK);
    SimulatedDisk stuck = new SimulatedDisk(scheduler, SIZE, 1);
    Arrays.fill(stuck.content, (byte) 1);
    SimulatedDisk nowhere = new SimulatedDisk(scheduler, SIZE, 1);
    nowhere.latencyNanos = Duration.ofSeconds(8).toNanos();
    start(scheduler, stuck.connect(), nowhere.connect());
    scheduler.runFor(Duration.ofMillis(50));

    assertThat(copied().bottleneck()).isEqualTo(Bottleneck.BUFFERS);
  }

  /** A source that is always there, and a destination that forgets: nobody else is waited for. */
  @Test
  @Timeout(60)
  void theCopysOwnThread() throws Exception {
    engine = new CopyEngine();
    try (RealScheduler real = new RealScheduler("copy");
        MemoryBackend memory = new MemoryBackend("memory", 1L << 30)) {
      BlockBackend disk = new AtOnce(memory);
      CopyJob job = start(real, disk, disk, BlockMap.of(disk.size()));
      CopySnapshot end = job.drain().get(50, TimeUnit.SECONDS);

      assertThat(end.disks().getFirst().bottleneck()).as(end.toString()).isEqualTo(Bottleneck.CPU);
    }
  }

  private static final class AtOnce extends ForwardingBackend {
    private static final byte[] CONTENT = new byte[64 << 10];

    static {
      Arrays.fill(CONTENT, (byte) 7);
    }

    AtOnce(BlockBackend disk) {
      super(disk);
    }

    @Override
    public CompletableFuture<List<Extent>> extents(long offset, long length) {
      return CompletableFuture.completedFuture(List.of(new Extent(offset, length, false)));
    }

    @Override
    public CompletableFuture<Void> read(long offset, ByteBuffer into) {
      while (into.hasRemaining()) {
        into.put(CONTENT, 0, Math.min(CONTENT.length, into.remaining()));
      }
      return CompletableFuture.completedFuture(null);
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      return CompletableFuture.completedFuture(null);
    }
  }
}
