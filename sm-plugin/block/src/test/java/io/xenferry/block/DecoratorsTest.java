package io.xenferry.block;

import static io.xenferry.block.BlockBackendContract.MIB;
import static io.xenferry.block.BlockBackendContract.assertFails;
import static io.xenferry.block.BlockBackendContract.await;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.FaultBackend.Fault;
import io.xenferry.block.FaultBackend.Plan;
import io.xenferry.time.RealScheduler;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

class DecoratorsTest {
  private final MemoryBackend disk = new MemoryBackend("disk", 4L * MIB);

  /** Time that moves only when told. */
  static final class ManualScheduler implements Scheduler {
    private record Entry(long at, long order, Runnable task) {}

    private final PriorityQueue<Entry> queue =
        new PriorityQueue<>(
            java.util.Comparator.comparingLong(Entry::at).thenComparingLong(Entry::order));
    private long now;
    private long order;

    @Override
    public long nanoTime() {
      return now;
    }

    @Override
    public Instant now() {
      return Instant.EPOCH.plusNanos(now);
    }

    @Override
    public void execute(Runnable task) {
      schedule(Duration.ZERO, task);
    }

    @Override
    public Cancellable schedule(Duration delay, Runnable task) {
      Entry entry = new Entry(now + delay.toNanos(), order++, task);
      queue.add(entry);
      return () -> queue.remove(entry);
    }

    void advance(Duration duration) {
      long until = now + duration.toNanos();
      while (!queue.isEmpty() && queue.peek().at <= until) {
        Entry next = queue.remove();
        now = Math.max(now, next.at);
        next.task.run();
      }
      now = until;
    }
  }

  @Nested
  class StackedDecoratorsKeepTheContract extends BlockBackendContract {
    private final RealScheduler scheduler = new RealScheduler("test");

    @Override
    protected BlockBackend open(long size) {
      return decorate(new MemoryBackend("memory", size));
    }

    @Override
    protected BlockBackend openReadOnly(long size) {
      return decorate(ForwardingBackend.readOnly(new MemoryBackend("memory", size)));
    }

    private BlockBackend decorate(BlockBackend inner) {
      RateLimit limit = new RateLimit(scheduler, 2_000L * MIB);
      return new StatisticsBackend(
          new RateLimitedBackend(
              new ChecksumBackend(
                  new FaultBackend(
                      new DelayBackend(
                          inner,
                          scheduler,
                          (op, n) -> op == BlockOp.WRITE ? Duration.ofNanos(1000) : Duration.ZERO)),
                  new BlockDigests(4096)),
              limit),
          System::nanoTime);
    }
  }

  @Test
  void rateLimitLetsThroughWhatItSays() throws Exception {
    ManualScheduler time = new ManualScheduler();
    RateLimit limit = new RateLimit(time, 10L * MIB);
    BlockBackend limited = new RateLimitedBackend(disk, limit);
    List<CompletableFuture<Void>> writes = new ArrayList<>();
    for (int i = 0; i < 300; i++) {
      writes.add(limited.write(0, ByteBuffer.allocate(MIB / 10)));
    }

    time.advance(Duration.ofSeconds(1));
    long afterOne = writes.stream().filter(CompletableFuture::isDone).count();
    assertThat(afterOne).isBetween(100L, 113L);

    limit.setBytesPerSecond(5L * MIB);
    time.advance(Duration.ofSeconds(1));
    long afterTwo = writes.stream().filter(CompletableFuture::isDone).count();
    assertThat(afterTwo - afterOne).isBetween(48L, 53L);

    limit.setBytesPerSecond(RateLimit.UNLIMITED);
    assertThat(writes).allMatch(CompletableFuture::isDone);
  }

  @Test
  void closingALimitedBackendFailsThoseWhoWait() throws Exception {
    ManualScheduler time = new ManualScheduler();
    BlockBackend limited = new RateLimitedBackend(disk, new RateLimit(time, 1));
    await(limited.write(0, ByteBuffer.allocate(4096)));
    CompletableFuture<Void> waiting = limited.write(0, ByteBuffer.allocate(4096));
    assertThat(waiting).isNotDone();

    limited.close();

    assertFails(waiting, Kind.CLOSED);
  }

  @Test
  void statisticsCountBytesFailuresAndTimes() throws Exception {
    ManualScheduler time = new ManualScheduler();
    FaultBackend faulty = new FaultBackend(disk);
    StatisticsBackend counted =
        new StatisticsBackend(
            new DelayBackend(faulty, time, (op, n) -> Duration.ofMillis(3)), time::nanoTime);
    counted.write(0, ByteBuffer.allocate(8192));
    assertThat(counted.statistics().inFlight()).isEqualTo(1);
    time.advance(Duration.ofMillis(3));
    faulty.follow(Plan.every(BlockOp.WRITE, new Fault.Fail(Kind.IO)));
    counted.write(0, ByteBuffer.allocate(8192));
    time.advance(Duration.ofMillis(3));

    BlockStatistics.Operation writes = counted.statistics().of(BlockOp.WRITE);
    assertThat(writes.requests()).isEqualTo(2);
    assertThat(writes.failures()).isEqualTo(1);
    assertThat(writes.bytes()).isEqualTo(8192);
    assertThat(writes.longest()).isEqualTo(Duration.ofMillis(3));
    assertThat(writes.histogram().get(12)).as("2048 to 4096 us").isEqualTo(2);
    assertThat(counted.statistics().inFlight()).isZero();
  }

  @Test
  void faultsComeAsPlanned() throws Exception {
    FaultBackend faulty = new FaultBackend(disk);
    byte[] ones = {1, 1, 1, 1};

    faulty.follow(Plan.nth(BlockOp.WRITE, 2, new Fault.Short(2, Kind.LOST)));
    await(faulty.write(0, ByteBuffer.wrap(ones)));
    assertFails(faulty.write(8, ByteBuffer.wrap(ones)), Kind.LOST);
    assertThat(BlockBackendContract.read(disk, 8, 4)).containsExactly(1, 1, 0, 0);

    faulty.follow(Plan.every(BlockOp.WRITE, new Fault.FailAfter(Kind.TIMEOUT)));
    assertFails(faulty.write(16, ByteBuffer.wrap(ones)), Kind.TIMEOUT);
    assertThat(BlockBackendContract.read(disk, 16, 4)).containsExactly(1, 1, 1, 1);

    faulty.follow(Plan.touching(new Range(100, 10), new Fault.Fail(Kind.IO)));
    assertFails(faulty.read(105, ByteBuffer.allocate(1)), Kind.IO);
    await(faulty.read(110, ByteBuffer.allocate(1)));

    faulty.follow(Plan.every(BlockOp.FLUSH, new Fault.Hang()));
    CompletableFuture<Void> hanging = faulty.flush();
    assertThat(hanging).isNotDone();
    faulty.die(Kind.RESET);
    assertFails(faulty.read(0, ByteBuffer.allocate(1)), Kind.RESET);
    faulty.close();
    assertFails(hanging, Kind.CLOSED);
  }

  @Test
  void digestsTellWhereTwoDisksDiffer() throws Exception {
    ChecksumBackend source = new ChecksumBackend(disk, new BlockDigests(4096));
    ChecksumBackend copy =
        new ChecksumBackend(new MemoryBackend("copy", 4L * MIB), new BlockDigests(4096));
    byte[] content = new byte[MIB];
    new Random(1).nextBytes(content);
    await(disk.write(0, ByteBuffer.wrap(content)));
    await(source.read(0, ByteBuffer.allocate(MIB)));
    await(copy.write(0, ByteBuffer.wrap(content)));
    assertThat(source.digests().known()).isEqualTo(256);
    assertThat(source.digests().differences(copy.digests())).isEmpty();

    content[5000] ^= 1;
    await(copy.write(4096, ByteBuffer.wrap(content, 4096, 4096).slice()));
    assertThat(source.digests().differences(copy.digests())).containsExactly(new Range(4096, 4096));

    await(copy.write(4097, ByteBuffer.allocate(1)));
    assertThat(copy.digests().of(1)).isEmpty();
    assertThat(source.digests().differences(copy.digests())).isEmpty();
  }

  @Test
  void zeroScanFindsEverySingleByte() {
    for (ByteBuffer buffer :
        List.of(ByteBuffer.allocate(200_001), ByteBuffer.allocateDirect(200_001))) {
      assertThat(ZeroScan.isZero(buffer)).isTrue();
      for (int at : new int[] {0, 7, 8, 9, 65535, 65536, 65544, 199_999, 200_000}) {
        buffer.put(at, (byte) 1);
        assertThat(ZeroScan.isZero(buffer)).as("byte %d", at).isFalse();
        assertThat(ZeroScan.isZero(buffer.duplicate().position(at + 1))).isTrue();
        assertThat(ZeroScan.isZero(buffer.duplicate().limit(at))).isTrue();
        buffer.put(at, (byte) 0);
      }
    }
    assertThat(ZeroScan.isZero(ByteBuffer.allocate(0))).isTrue();
  }
}
