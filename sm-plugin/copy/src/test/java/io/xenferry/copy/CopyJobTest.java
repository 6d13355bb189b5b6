package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.CopySnapshot.Bottleneck;
import io.xenferry.copy.CopySnapshot.Phase;
import io.xenferry.time.SimulatedScheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a job promises its owner, on simulated time, so that figures and deadlines are exact. */
class CopyJobTest {
  private static final int BLOCK = 64;
  private static final int SIZE = 256 * BLOCK;

  private final SimulatedScheduler scheduler = new SimulatedScheduler(11);
  private final List<String> told = new ArrayList<>();
  private final List<Long> suggested = new ArrayList<>();
  private final CopyEngine engine = new CopyEngine(4 * BLOCK, 64 * BLOCK);
  private CopyOptions options =
      CopyOptions.DEFAULT.withDepth(4).withVerify(CopyOptions.Verify.EVERYTHING);

  private final CopyListener listener =
      new CopyListener() {
        @Override
        public void onConverged(Duration predicted, boolean fits) {
          told.add(fits ? "fits" : "does not fit");
        }

        @Override
        public void onNotConverging(String disk, long dirty, long limit) {
          suggested.add(limit);
        }
      };

  /** A source with a destination that may be told not to answer when it is fenced. */
  private final class Disk {
    final SimulatedDisk source = new SimulatedDisk(scheduler, SIZE, 1);
    final SimulatedDisk target = new SimulatedDisk(scheduler, SIZE, 1);
    final String name;
    boolean fences = true;
    boolean knownZero = true;
    private long generation;

    Disk(String name) {
      this.name = name;
    }

    Disk filled(int blocks) {
      Arrays.fill(source.content, 0, blocks * BLOCK, (byte) 7);
      return this;
    }

    DiskPlan plan() {
      return plan(new LiveDisk(name, source.connect()));
    }

    DiskPlan plan(SourceDisk disk) {
      DestinationOpener opener =
          new DestinationOpener() {
            @Override
            public CompletableFuture<Destination> open() {
              return CompletableFuture.completedFuture(
                  new Destination(target.connect(), ++generation));
            }

            @Override
            public CompletableFuture<Void> fence(Destination destination) {
              destination.backend().close();
              return fences ? CompletableFuture.completedFuture(null) : new CompletableFuture<>();
            }
          };
      return new DiskPlan(
          disk, opener, knownZero, MemoryDirtyLog.immediate(new BlockMap(SIZE, BLOCK), scheduler));
    }

    /** Bytes of what it is filled with. */
    long arrived() {
      long bytes = 0;
      for (byte one : target.content) {
        bytes += one == 7 ? 1 : 0;
      }
      return bytes;
    }

    void assertCopied() {
      assertThat(target.content).isEqualTo(source.content);
      assertThat(target.durable()).isEqualTo(source.content);
    }
  }

  private CopyJob start(DiskPlan... plans) {
    return engine.start(List.of(plans), options, scheduler, listener);
  }

  private CopySnapshot drained(CopyJob job, Duration limit) {
    CompletableFuture<CopySnapshot> drain = job.drain();
    assertThat(scheduler.runUntil(drain::isDone, limit)).as(job.snapshot().toString()).isTrue();
    return drain.join();
  }

  @Test
  void sendsWhatIsAllocatedAndNoZeroesToADiskOfZeroes() {
    Disk disk = new Disk("a").filled(100);
    Arrays.fill(disk.source.content, 50 * BLOCK, 60 * BLOCK, (byte) 0);

    CopySnapshot end = drained(start(disk.plan()), Duration.ofSeconds(10));

    CopySnapshot.Disk figures = end.disks().getFirst();
    assertThat(figures.logical()).isEqualTo(SIZE);
    assertThat(figures.sent()).isEqualTo(90 * BLOCK);
    assertThat(figures.zeroed()).isZero();
    assertThat(figures.allocated()).isLessThanOrEqualTo(101 * BLOCK);
    disk.assertCopied();
  }

  @Test
  void writesZeroesToADiskThatMayHoldSomething() {
    Disk disk = new Disk("a").filled(100);
    Arrays.fill(disk.target.content, (byte) 9);
    disk.knownZero = false;

    CopySnapshot end = drained(start(disk.plan()), Duration.ofSeconds(10));

    assertThat(end.disks().getFirst().sent()).isEqualTo(100 * BLOCK);
    assertThat(end.disks().getFirst().zeroed()).isEqualTo(SIZE - 100 * BLOCK);
    disk.assertCopied();
  }

  @Test
  void allDisksGoAtOnce() {
    List<Disk> disks = List.of(new Disk("a").filled(256), new Disk("b").filled(256));
    CopyJob job = start(disks.get(0).plan(), disks.get(1).plan());
    assertThat(
            scheduler.runUntil(
                () -> job.snapshot().disks().stream().anyMatch(d -> d.sent() > SIZE / 4),
                Duration.ofSeconds(10)))
        .isTrue();
    assertThat(job.snapshot().disks())
        .allSatisfy(d -> assertThat(d.sent()).isBetween((long) SIZE / 8, (long) SIZE));

    drained(job, Duration.ofSeconds(10));

    disks.forEach(Disk::assertCopied);
  }

  /** However few there are, and although the first could use them all. */
  @Test
  void noDiskKeepsTheBuffersFromTheOthers() {
    CopyEngine narrow = new CopyEngine(4 * BLOCK, 6 * 4 * BLOCK);
    List<Disk> disks =
        List.of(new Disk("a").filled(256), new Disk("b").filled(256), new Disk("c").filled(256));
    List<CopyJob> jobs = new ArrayList<>();
    for (Disk disk : disks) {
      disk.target.latencyNanos = Duration.ofMillis(20).toNanos();
      jobs.add(narrow.start(List.of(disk.plan()), options, scheduler, listener));
    }

    assertInStep(disks);

    jobs.forEach(job -> drained(job, Duration.ofSeconds(10)));
    disks.forEach(Disk::assertCopied);
  }

  @Test
  void noDiskKeepsTheLimitOfAJobFromTheOthers() {
    options = options.withBytesPerSecond(64 * BLOCK);
    List<Disk> disks =
        List.of(new Disk("a").filled(256), new Disk("b").filled(256), new Disk("c").filled(256));
    start(disks.get(0).plan(), disks.get(1).plan(), disks.get(2).plan());

    assertInStep(disks);
  }

  @Test
  void noJobKeepsTheLimitOfAllFromTheOthers() {
    engine.totalRate().set(64 * BLOCK);
    List<Disk> disks =
        List.of(new Disk("a").filled(256), new Disk("b").filled(256), new Disk("c").filled(256));
    disks.forEach(disk -> start(disk.plan()));

    assertInStep(disks);
  }

  @Test
  void aJobThatIsHeldOrEndedKeepsNothingFromTheOthers() {
    engine.totalRate().set(64 * BLOCK);
    SimulatedScheduler.Process dies = scheduler.process("dies");
    engine.start(List.of(new Disk("a").filled(256).plan()), options, dies, listener);
    CopyJob held = start(new Disk("b").filled(256).plan());
    CopyJob cancelled = start(new Disk("c").filled(256).plan());
    Disk disk = new Disk("d").filled(256);
    CopyJob alone = start(disk.plan());
    scheduler.runFor(Duration.ofSeconds(1));

    dies.kill();
    held.pause();
    cancelled.cancel();

    drained(alone, Duration.ofSeconds(10));
    disk.assertCopied();
  }

  /** When one disk is at its half, no other one is much behind. */
  private void assertInStep(List<Disk> disks) {
    assertThat(
            scheduler.runUntil(
                () -> disks.stream().anyMatch(disk -> disk.arrived() > SIZE / 2),
                Duration.ofSeconds(60)))
        .isTrue();
    assertThat(disks).allSatisfy(disk -> assertThat(disk.arrived()).isGreaterThan(SIZE / 3L));
  }

  @Test
  void keepsTheLimitOfADiskAndThatOfAllTogether() {
    options = options.withBytesPerSecond(8 * BLOCK);
    Disk slow = new Disk("slow").filled(40);
    long began = scheduler.nanoTime();
    CopySnapshot end = drained(start(slow.plan()), Duration.ofSeconds(60));
    // 40 blocks at 8 a second, less what may go at once.
    assertThat(Duration.ofNanos(scheduler.nanoTime() - began))
        .isBetween(Duration.ofMillis(4400), Duration.ofSeconds(7));
    assertThat(end.disks().getFirst().bottleneck()).isEqualTo(Bottleneck.RATE_LIMIT);

    options = options.withBytesPerSecond(0);
    engine.totalRate().set(8 * BLOCK);
    began = scheduler.nanoTime();
    drained(
        start(new Disk("a").filled(20).plan(), new Disk("b").filled(20).plan()),
        Duration.ofSeconds(60));
    assertThat(Duration.ofNanos(scheduler.nanoTime() - began))
        .isBetween(Duration.ofMillis(4000), Duration.ofSeconds(7));
  }

  /** Two disks of which each may have half of what both have together. */
  @Test
  void keepsTheLimitOfEachDiskByItself() {
    options = options.withBytesPerSecondOfEach(8 * BLOCK);
    Disk small = new Disk("small").filled(8);
    Disk large = new Disk("large").filled(40);
    CopyJob job = start(small.plan(), large.plan());
    long began = scheduler.nanoTime();
    scheduler.runFor(Duration.ofSeconds(3));
    assertThat(small.arrived()).isEqualTo(8L * BLOCK);
    assertThat(large.arrived()).isBetween(16L * BLOCK, 32L * BLOCK);
    CopySnapshot end = drained(job, Duration.ofSeconds(60));
    assertThat(Duration.ofNanos(scheduler.nanoTime() - began))
        .isBetween(Duration.ofMillis(4400), Duration.ofSeconds(7));
    assertThat(end.disks().getLast().bottleneck()).isEqualTo(Bottleneck.RATE_LIMIT);
  }

  @Test
  void theLimitOfEachDiskIsChangedWhileItHolds() {
    options = options.withBytesPerSecondOfEach(1);
    Disk disk = new Disk("a").filled(40);
    CopyJob job = start(disk.plan());
    scheduler.runFor(Duration.ofSeconds(5));
    assertThat(job.snapshot().phase()).isEqualTo(Phase.COPYING);

    job.bytesPerSecondOfEach(0);

    drained(job, Duration.ofSeconds(5));
    disk.assertCopied();
  }

  @Test
  void aLimitIsChangedWhileItHolds() {
    options = options.withBytesPerSecond(1);
    Disk disk = new Disk("a").filled(40);
    CopyJob job = start(disk.plan());
    scheduler.runFor(Duration.ofSeconds(5));
    assertThat(job.snapshot().phase()).isEqualTo(Phase.COPYING);

    job.bytesPerSecond(0);

    drained(job, Duration.ofSeconds(5));
    disk.assertCopied();
  }

  @Test
  void cancelEndsWithinTwoSecondsThoughTheDestinationDoesNotAnswer() {
    Disk disk = new Disk("a").filled(256);
    disk.fences = false;
    options = options.withBytesPerSecond(8 * BLOCK);
    CopyJob job = start(disk.plan());
    scheduler.runFor(Duration.ofSeconds(3));
    disk.target.stall(Duration.ofSeconds(3600));

    CompletableFuture<Void> cancelled = job.cancel();

    assertThat(scheduler.runUntil(cancelled::isDone, Duration.ofSeconds(2))).isTrue();
    assertThat(job.snapshot().phase()).isEqualTo(Phase.CANCELLED);
    assertThat(job.ended()).isCompletedExceptionally();
    byte[] now = disk.target.content.clone();
    scheduler.runFor(Duration.ofSeconds(7200));
    assertThat(disk.target.content).as("nothing is written any more").isEqualTo(now);
  }

  /** Ends a job while something is on its way, and with it whoever ran its tasks. */
  private void endWhileWaiting(DiskPlan plan) {
    SimulatedScheduler.Process process = scheduler.process("job");
    CopyJob job = engine.start(List.of(plan), options, process, listener);
    scheduler.runFor(Duration.ofSeconds(1));
    CompletableFuture<Void> cancelled = job.cancel();
    assertThat(scheduler.runUntil(cancelled::isDone, Duration.ofSeconds(2))).isTrue();
    process.kill();
  }

  @Test
  void aPassThatBeginsWhenTheJobHasEndedIsGivenBack() {
    Disk disk = new Disk("late").filled(100);
    LateDisk late = new LateDisk();
    endWhileWaiting(disk.plan(late));
    assertThat(late.closed).isTrue();

    late.begins.complete(late.new Begun());

    assertThat(late.ended).containsExactly(false);
  }

  /** The scheduler has yet to hear of it when the job ends. */
  @Test
  void aPassThatBeginsJustBeforeTheJobEndsIsGivenBackOnce() {
    Disk disk = new Disk("late").filled(100);
    LateDisk late = new LateDisk();
    CopyJob job = start(disk.plan(late));
    scheduler.runFor(Duration.ofSeconds(1));
    CompletableFuture<Void> cancelled = job.cancel();
    late.begins.complete(late.new Begun());

    assertThat(scheduler.runUntil(cancelled::isDone, Duration.ofSeconds(2))).isTrue();
    scheduler.runFor(Duration.ofSeconds(5));

    assertThat(late.ended).containsExactly(false);
  }

  /** A disk whose first pass begins when the test says so. */
  private static final class LateDisk implements SourceDisk {
    final CompletableFuture<Pass> begins = new CompletableFuture<>();
    final List<Boolean> ended = new ArrayList<>();
    boolean closed;

    @Override
    public String name() {
      return "late";
    }

    @Override
    public long size() {
      return SIZE;
    }

    @Override
    public CompletableFuture<Pass> beginPass() {
      return begins;
    }

    @Override
    public CompletableFuture<Long> dirtyBytes() {
      return CompletableFuture.completedFuture(0L);
    }

    @Override
    public void close() {
      closed = true;
    }

    final class Begun implements Pass {
      @Override
      public BlockBackend content() {
        throw new AssertionError("nobody reads it");
      }

      @Override
      public List<Range> ranges() {
        return List.of(new Range(0, SIZE));
      }

      @Override
      public CompletableFuture<Void> end(boolean done) {
        ended.add(done);
        return CompletableFuture.completedFuture(null);
      }
    }
  }

  @Test
  void aDestinationThatOpensWhenTheJobHasEndedIsFenced() {
    Disk disk = new Disk("a").filled(100);
    CompletableFuture<Destination> opens = new CompletableFuture<>();
    List<Destination> fenced = new ArrayList<>();
    DestinationOpener opener =
        new DestinationOpener() {
          @Override
          public CompletableFuture<Destination> open() {
            return opens;
          }

          @Override
          public CompletableFuture<Void> fence(Destination destination) {
            fenced.add(destination);
            return CompletableFuture.completedFuture(null);
          }
        };
    DiskPlan plan = disk.plan();
    endWhileWaiting(new DiskPlan(plan.source(), opener, true, plan.log()));
    Destination late = new Destination(disk.target.connect(), 1);

    opens.complete(late);

    assertThat(fenced).containsExactly(late);
  }

  private CopyException.Kind failureOf(CompletableFuture<?> future) {
    assertThat(scheduler.runUntil(future::isDone, Duration.ofSeconds(60))).isTrue();
    assertThat(future).isCompletedExceptionally();
    return ((CopyException) future.exceptionNow()).kind();
  }

  private void converge() {
    assertThat(scheduler.runUntil(() -> !told.isEmpty(), Duration.ofSeconds(60))).isTrue();
  }

  @Test
  void whatWasSentIsReadBackBeforeTheGuestPausesAndNothingElse() {
    Disk disk = new Disk("a").filled(100);
    CopyJob job = start(disk.plan());

    converge();

    assertThat(disk.target.bytesRead).isEqualTo(100 * BLOCK);
    drained(job, Duration.ofSeconds(10));
    assertThat(disk.target.bytesRead).as("during the pause").isEqualTo(100 * BLOCK);
    disk.assertCopied();
  }

  @Test
  void ofAPausedGuestTheBlocksSentSinceAreReadBack() {
    Disk disk = new Disk("noted").filled(100);
    NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
    CopyJob job = start(disk.plan(noted));
    converge();
    noted.write(7 * BLOCK, new byte[] {1});
    noted.write(200 * BLOCK, new byte[] {2});

    drained(job, Duration.ofSeconds(10));

    assertThat(disk.target.bytesRead).isEqualTo(102 * BLOCK);
    disk.assertCopied();
  }

  @Test
  void predictsNoLongerPauseThanIsAllowedWhileItMayStillGetThere() {
    options = options.withBytesPerSecond(8 * BLOCK);
    CopyJob job = start(new Disk("a").filled(100).plan());
    scheduler.runFor(Duration.ofSeconds(1));
    assertThat(job.snapshot().disks().getFirst().left()).isGreaterThan(80 * BLOCK);
    assertThat(job.snapshot().predictedDowntime()).hasValue(options.downtimeBudget());
  }

  /** However often it was gone through before, when there was little. */
  @Test
  void theGuestDoesNotPauseForADestinationThatIsSlowToTellWhatItHolds() {
    options = options.withBytesPerSecond(8 * BLOCK);
    Disk disk = new Disk("a").filled(100);
    boolean[] slow = {false};
    DestinationDigests digests =
        (range, block, digest) ->
            slow[0]
                ? later(
                    new LocalDigests(disk.target.connect(), block).digests(range, block, digest))
                : new LocalDigests(disk.target.connect()).digests(range, block, digest);
    CopyJob job = start(disk.plan().withDigests(digests, false));
    scheduler.runFor(Duration.ofSeconds(3));
    assertThat(job.snapshot().disks().getFirst().proof().verified()).isPositive();
    slow[0] = true;
    job.bytesPerSecond(0);

    converge();

    assertThat(job.snapshot().disks().getFirst().proof().left()).isZero();
    drained(job, Duration.ofSeconds(1));
    disk.assertCopied();
  }

  /** Nothing else is sent that would set the comparison off. */
  @Test
  void aSwitchThatWaitsForWhatWasMirroredHearsWhenThatIsCompared() {
    Disk disk = new Disk("a").filled(4);
    DiskPlan plan = disk.plan();
    BlockBackend guest = disk.source.connect();
    CopyJob job =
        start(new DiskPlan(plan.source(), plan.opener(), true, plan.log(), Optional.of(guest)));
    converge();
    WriteOrderingPoint point = job.orderingPoint("a");
    point.policy(WriteOrderingPoint.Policy.MIRROR);
    CompletableFuture<Void> written = point.guestWrite(9 * BLOCK, ByteBuffer.wrap(new byte[] {1}));
    assertThat(scheduler.runUntil(written::isDone, Duration.ofSeconds(1))).isTrue();

    CompletableFuture<Void> prepared = job.prepareSwitch();

    assertThat(prepared).as("before it was compared").isNotDone();
    assertThat(scheduler.runUntil(prepared::isDone, Duration.ofSeconds(10))).isTrue();
    drained(job, Duration.ofSeconds(10));
    disk.assertCopied();
  }

  private CompletableFuture<BlockHashes> later(CompletableFuture<BlockHashes> told) {
    CompletableFuture<BlockHashes> result = new CompletableFuture<>();
    scheduler.schedule(
        Duration.ofMillis(300), () -> told.thenAccept(hashes -> result.complete(hashes)));
    return result;
  }

  @Test
  void aBlockThatDidNotArriveAsItWasSentIsFoundWhileTheGuestRuns() {
    Disk disk = new Disk("a").filled(100);
    disk.target.damaged = 70 * BLOCK + 5;

    CopyJob job = start(disk.plan());

    assertThat(failureOf(job.ended())).isEqualTo(CopyException.Kind.VERIFY);
    assertThat(told).as("converged").isEmpty();
  }

  @Test
  void aBlockOfTheLastSetThatDidNotArriveAsItWasSentIsFoundInThePause() {
    for (CopyOptions.Verify what :
        List.of(CopyOptions.Verify.EVERYTHING, CopyOptions.Verify.SAMPLED)) {
      told.clear();
      options = options.withVerify(what);
      Disk disk = new Disk("noted").filled(100);
      NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
      CopyJob job = start(disk.plan(noted));
      converge();
      disk.target.damaged = 7 * BLOCK;
      noted.write(7 * BLOCK, new byte[] {1});

      assertThat(failureOf(job.drain())).isEqualTo(CopyException.Kind.VERIFY);
    }
  }

  /** A write that the hypervisor does not note, and a disk that does not keep what it was given. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whatChangedPastTheCopyIsFoundInThePauseWhereThatIsWanted(boolean atTheSource) {
    for (CopyOptions.Verify what :
        List.of(CopyOptions.Verify.EVERYTHING, CopyOptions.Verify.PAUSED)) {
      told.clear();
      options = options.withVerify(what);
      Disk disk = new Disk("noted").filled(100);
      NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
      CopyJob job = start(disk.plan(noted));
      converge();
      (atTheSource ? disk.source : disk.target).content[200 * BLOCK + 3] = 1;

      if (what == CopyOptions.Verify.PAUSED) {
        assertThat(failureOf(job.drain())).isEqualTo(CopyException.Kind.VERIFY);
      } else {
        drained(job, Duration.ofSeconds(10));
      }
    }
  }

  @Test
  void aPauseThatAllIsReadInMayBeGivenUpAndComeAgain() {
    options = options.withVerify(CopyOptions.Verify.PAUSED);
    Disk disk = new Disk("noted").filled(100);
    NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
    CopyJob job = start(disk.plan(noted));
    converge();
    noted.write(7 * BLOCK, new byte[] {1});
    drained(job, Duration.ofSeconds(10));
    long once = job.snapshot().disks().getFirst().proof().verified();
    job.resumeCopying();
    scheduler.runFor(Duration.ofSeconds(1));
    noted.write(8 * BLOCK, new byte[] {2});

    drained(job, Duration.ofSeconds(10));

    assertThat(job.snapshot().disks().getFirst().proof().verified())
        .isGreaterThanOrEqualTo(once + SIZE);
    disk.assertCopied();
  }

  @Test
  void aGuestThatWritesForEverMeetsThePassLimitAndIsToBeThrottled() {
    options = options.withPassLimit(8).withDowntimeBudget(Duration.ofNanos(1));
    Disk disk = new Disk("noted").filled(256);
    NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
    boolean[] runs = {true};
    writer(noted, runs).run();
    CopyJob job = start(disk.plan(noted));

    assertThat(scheduler.runUntil(() -> !told.isEmpty(), Duration.ofSeconds(60))).isTrue();

    assertThat(told).containsExactly("does not fit");
    CopySnapshot now = job.snapshot();
    assertThat(now.phase()).isEqualTo(Phase.CONVERGED);
    assertThat(now.disks().getFirst().passes()).hasSizeGreaterThanOrEqualTo(8);
    assertThat(suggested).isNotEmpty();
    runs[0] = false;
    drained(job, Duration.ofSeconds(60));
    disk.assertCopied();
  }

  /** Writes much more, all the time, than fits any downtime. */
  private Runnable writer(NotedDisk noted, boolean[] runs) {
    return writer(noted, runs, 128, Duration.ofNanos(500_000));
  }

  private Runnable writer(NotedDisk noted, boolean[] runs, int blocks, Duration pause) {
    return new Runnable() {
      private byte value;

      @Override
      public void run() {
        if (runs[0]) {
          for (int block = 0; block < blocks; block++) {
            noted.write(block * BLOCK, new byte[] {++value});
          }
          scheduler.schedule(pause, this);
        }
      }
    };
  }

  @Test
  void whileTheSwitchIsHeldNoGuestIsSlowedAndNoPassCounts() {
    options = options.withPassLimit(8).withDowntimeBudget(Duration.ofNanos(1));
    Disk disk = new Disk("noted").filled(256);
    NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
    boolean[] runs = {true};
    writer(noted, runs).run();
    CopyJob job = start(disk.plan(noted));
    job.holdSwitch(true);
    scheduler.runFor(Duration.ofSeconds(120));
    assertThat(suggested).isEmpty();
    List<CopySnapshot.Pass> passes = job.snapshot().disks().getFirst().passes();
    assertThat(passes).hasSizeLessThanOrEqualTo(64);
    assertThat(passes.getFirst().number()).isEqualTo(1);
    int last = passes.getLast().number();
    assertThat(last).isGreaterThan(100);

    job.holdSwitch(false);
    CompletableFuture<Void> prepared = job.prepareSwitch();

    assertThat(scheduler.runUntil(prepared::isDone, Duration.ofSeconds(60))).isTrue();
    assertThat(job.snapshot().disks().getFirst().passes().getLast().number())
        .as("eight more passes before it is taken as it is")
        .isGreaterThanOrEqualTo(last + 8);
    runs[0] = false;
    drained(job, Duration.ofSeconds(60));
    disk.assertCopied();
  }

  @Test
  void aLongerDowntimeIsEnoughForAGuestThatWritesForEver() {
    options = options.withDowntimeBudget(Duration.ofNanos(1));
    Disk disk = new Disk("noted").filled(256);
    NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
    boolean[] runs = {true};
    writer(noted, runs).run();
    CopyJob job = start(disk.plan(noted));
    scheduler.runUntil(
        () -> job.snapshot().disks().stream().anyMatch(d -> d.passes().size() > 2),
        Duration.ofSeconds(60));
    assertThat(told).isEmpty();

    job.downtimeBudget(Duration.ofSeconds(15));

    converge();
    assertThat(told).containsExactly("fits");
    assertThat(job.snapshot().disks().getFirst().passes()).hasSizeLessThan(8);
    runs[0] = false;
    drained(job, Duration.ofSeconds(60));
    disk.assertCopied();
  }

  @Test
  void aMirrorComesAndGoesAsTheStrategyIsChanged() {
    Disk disk = new Disk("noted").filled(100);
    NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
    CopyJob job = start(disk.plan(noted).withStrategy(Strategy.LOG_DIRTY));
    converge();
    assertThat(noted.mirrored()).isFalse();

    job.strategy(0, Strategy.MIRROR);
    assertThat(scheduler.runUntil(noted::mirrored, Duration.ofSeconds(10))).isTrue();
    noted.write(7 * BLOCK, new byte[] {1});
    scheduler.runFor(Duration.ofSeconds(2));
    assertThat(job.snapshot().disks().getFirst().mirror().up()).isTrue();

    job.strategy(0, Strategy.LOG_DIRTY);
    noted.write(8 * BLOCK, new byte[] {2});
    scheduler.runFor(Duration.ofSeconds(2));
    assertThat(noted.mirrored()).isFalse();
    noted.write(9 * BLOCK, new byte[] {3});
    scheduler.runFor(Duration.ofSeconds(2));
    assertThat(job.snapshot().disks().getFirst().mirror().fallbacks()).isZero();

    drained(job, Duration.ofSeconds(10));
    disk.assertCopied();
  }

  /** As without one: the switch takes longer then, but comes, whether or not the guest writes. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aMirrorMeetsThePassLimitWhereEachFlushTakesLongerThanTheDowntime(boolean writes) {
    options = options.withVerify(CopyOptions.Verify.NOTHING);
    Disk disk = new Disk("noted").filled(100);
    disk.target.flushNanos = Duration.ofMillis(400).toNanos();
    NotedDisk noted = new NotedDisk(disk.source, scheduler, new BlockMap(SIZE, BLOCK));
    CopyJob job = start(disk.plan(noted).withStrategy(Strategy.MIRROR));
    assertThat(scheduler.runUntil(noted::mirrored, Duration.ofSeconds(60))).isTrue();
    boolean[] runs = {writes};
    writer(noted, runs, 1, Duration.ofMillis(100)).run();

    CompletableFuture<Void> prepared = job.prepareSwitch();

    assertThat(scheduler.runUntil(prepared::isDone, Duration.ofSeconds(120))).isTrue();
    runs[0] = false;
    drained(job, Duration.ofSeconds(60));
    disk.assertCopied();
  }

  @Test
  void itYieldsWhileReadingTheSourceTakesLongAndOnlyThen() {
    options = options.withBytesPerSecond(40 * BLOCK);
    Disk disk = new Disk("a").filled(256);
    CopyJob job = start(disk.plan());
    scheduler.runFor(Duration.ofSeconds(2));
    assertThat(job.snapshot().disks().getFirst().depth()).isEqualTo(4);
    disk.source.latencyNanos = Duration.ofMillis(400).toNanos();
    job.bytesPerSecond(0);
    assertThat(
            scheduler.runUntil(
                () -> job.snapshot().disks().getFirst().depth() == 2, Duration.ofSeconds(30)))
        .isTrue();
    disk.source.latencyNanos = 200_000;
    drained(job, Duration.ofSeconds(60));
    disk.assertCopied();
  }

  @Test
  void pausedItSendsNothing() {
    options = options.withBytesPerSecond(8 * BLOCK);
    Disk disk = new Disk("a").filled(80);
    CopyJob job = start(disk.plan());
    scheduler.runFor(Duration.ofSeconds(2));
    job.pause();
    scheduler.runFor(Duration.ofSeconds(2));
    assertThat(job.snapshot().phase()).isEqualTo(Phase.PAUSED);
    long sent = job.snapshot().disks().getFirst().sent();
    assertThat(sent).isBetween(1L, 40L * BLOCK);

    scheduler.runFor(Duration.ofSeconds(60));
    assertThat(job.snapshot().disks().getFirst().sent()).isEqualTo(sent);

    job.resume();
    drained(job, Duration.ofSeconds(60));
    disk.assertCopied();
  }

  @Test
  void tellsHowLongEachPhaseTookAndWhatWasWaitedFor() {
    options = options.withBytesPerSecond(8 * BLOCK);
    Disk disk = new Disk("a").filled(40);
    CopyJob job = start(disk.plan());
    scheduler.runUntil(() -> !told.isEmpty(), Duration.ofSeconds(60));
    scheduler.runFor(Duration.ofSeconds(3));

    CopySnapshot end = drained(job, Duration.ofSeconds(10));

    assertThat(end.phases().get(Phase.COPYING))
        .isBetween(Duration.ofSeconds(4), Duration.ofSeconds(7));
    assertThat(end.phases().get(Phase.CONVERGED))
        .isBetween(Duration.ofSeconds(3), Duration.ofMillis(3100));
    assertThat(end.phases().get(Phase.DRAINING)).isPositive().isLessThan(Duration.ofSeconds(1));
    assertThat(end.phases().values().stream().reduce(Duration.ZERO, Duration::plus))
        .isEqualTo(end.elapsed());
    CopySnapshot.Waits waits = end.disks().getFirst().waits();
    assertThat(waits.rateLimit()).isBetween(Duration.ofSeconds(4), Duration.ofSeconds(7));
    assertThat(waits.sourceRead()).isPositive();
    assertThat(waits.destinationWrite()).isPositive();
    assertThat(waits.flush()).isPositive();
  }
}
