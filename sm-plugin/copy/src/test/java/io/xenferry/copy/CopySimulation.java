package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Range;
import io.xenferry.copy.WriteOrderingPoint.Defect;
import io.xenferry.copy.WriteOrderingPoint.Policy;
import io.xenferry.time.SimulatedScheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/**
 * One seeded run: a guest that writes at random, a copy of its disk, faults, a switch that may be
 * abandoned, a server that may be killed; and the invariants, looked at after every event.
 */
final class CopySimulation {
  private static final int BLOCK = 64;

  private final SimulatedScheduler scheduler;
  private final Random random;
  private final Set<Defect> defects;
  private final BlockMap map;
  private final SimulatedDisk source;
  private final SimulatedDisk target;
  private final boolean noted;
  private boolean knownZero;
  private final boolean layered;

  /** Whether the destination tells what it holds; whether that may be much of the disk. */
  private final boolean tells;

  private boolean based;
  private byte[] older = {};
  private final NotedDisk notedDisk;
  private final FreezingDisk freezingDisk;
  private final BlockBackend guestView;
  private CopyOptions options;
  private MemoryDirtyLog log;
  private CopyJob job;
  private SimulatedScheduler.Process process;
  private SimulatedDisk.Connection open;
  private long generation;
  private boolean begun;
  private boolean guestRuns = true;
  private boolean faults = true;
  private int guestInFlight;
  private int life;
  private double lastProgress;
  private final Strategy strategy;

  /** Whether the disk was last drained beneath a mirror; mirrors that died. */
  boolean mirroredToTheEnd;

  int mirrorsDied;

  /** Bytes that a destination with an older copy was not sent; that were compared. */
  long saved;

  long verified;

  /** Something is not what the copy made it. */
  private boolean spoiled;

  private boolean rots;

  /** The most snapshots that there were at once; how often one was lost while it was read. */
  int snapshots;

  int givenBack;
  String story = "";

  CopySimulation(long seed, Set<Defect> defects) {
    this(seed, defects, false);
  }

  /**
   * @param bySnapshots whether nobody notes the guest's writes
   */
  CopySimulation(long seed, Set<Defect> defects, boolean bySnapshots) {
    this.defects = defects;
    scheduler = new SimulatedScheduler(seed);
    random = scheduler.random();
    int alignment = random.nextBoolean() ? 1 : 8;
    int size = BLOCK * (8 + random.nextInt(40)) - 8 * random.nextInt(8);
    map = new BlockMap(size, BLOCK);
    source = new SimulatedDisk(scheduler, size, 1);
    int padded = (size + alignment - 1) / alignment * alignment;
    target = new SimulatedDisk(scheduler, padded + 16 * random.nextInt(2), alignment);
    target.latencyNanos = 50_000L << random.nextInt(5);
    for (int at = 0; at < size; at += 32) {
      if (random.nextInt(3) > 0) {
        byte[] chunk = new byte[Math.min(32, size - at)];
        random.nextBytes(chunk);
        System.arraycopy(chunk, 0, source.content, at, chunk.length);
      }
    }
    source.flushed();
    knownZero = random.nextBoolean();
    tells = random.nextInt(4) > 0;
    based = tells && !knownZero && random.nextBoolean();
    if (!knownZero) {
      random.nextBytes(target.content);
      if (based) {
        lookAlike();
      }
      older = target.content.clone();
      if (!based || random.nextBoolean()) {
        target.flushed(); // what a server before has written need not be
      }
    }
    boolean noting = random.nextBoolean();
    Strategy drawn =
        noting
            ? List.of(Strategy.LOG_DIRTY, Strategy.MIRROR, Strategy.AUTO).get(random.nextInt(3))
            : Strategy.LOG_DIRTY;
    noted = noting || bySnapshots;
    strategy = bySnapshots ? Strategy.SNAPSHOT : drawn;
    notedDisk = new NotedDisk(source, scheduler, map);
    freezingDisk = new FreezingDisk(source, scheduler, map);
    guestView = source.connect();
    options =
        new CopyOptions(
            1 + random.nextInt(6),
            Duration.ofMillis(1 + random.nextInt(5)),
            5 + random.nextInt(20),
            Duration.ofSeconds(30),
            Duration.ofMillis(1),
            Duration.ofMillis(20),
            Duration.ofMillis(200),
            Duration.ofMillis(2),
            Duration.ofMillis(1 + random.nextInt(20)),
            random.nextInt(4) == 0 ? 1 << 20 : 0,
            0,
            CopyOptions.Verify.values()[random.nextInt(CopyOptions.Verify.values().length)],
            new WriteOrderingPoint.Timing(
                Duration.ofMillis(2), Duration.ofMillis(20), Duration.ofMillis(8)));
    log = newLog();
    layered = noted && !bySnapshots && random.nextInt(3) == 0;
    if (layered) {
      lay();
    }
    story =
        "\n"
            + (noted ? "noted " + strategy : "passing")
            + (layered ? ", layered," : knownZero ? ", zero," : ",");
  }

  /** The destination has an older copy of the disk, or what is left of one. */
  private void lookAlike() {
    for (int block = 0; block < map.count(); block++) {
      int at = (int) map.offset(block);
      int length = (int) map.bytes(block, block + 1);
      switch (random.nextInt(8)) {
        case 0 -> {} // whatever was there
        case 1 -> Arrays.fill(target.content, at, at + length, (byte) 0);
        case 2 -> {
          System.arraycopy(source.content, at, target.content, at, length);
          target.content[at + random.nextInt(length)] ^= 1;
        }
        default -> System.arraycopy(source.content, at, target.content, at, length);
      }
    }
  }

  /** A byte does not arrive as it is sent, ever: for a copy that verifies everything. */
  CopySimulation damaging() {
    options =
        options.withVerify(
            random.nextBoolean() ? CopyOptions.Verify.EVERYTHING : CopyOptions.Verify.PAUSED);
    target.damaged = random.nextInt((int) map.size());
    spoiled = true;
    return this;
  }

  /** A byte changes past the copy while the guest stands still, on either side. */
  CopySimulation rotting() {
    options = options.withVerify(CopyOptions.Verify.PAUSED);
    rots = true;
    return this;
  }

  private void rot() {
    int at = random.nextInt((int) map.size());
    spoiled = true;
    if (random.nextBoolean()) {
      source.content[at] ^= 1;
    } else {
      target.content[at] ^= 1;
    }
  }

  /** What was to be found was. */
  static final class DamageFound extends RuntimeException {
    private static final long serialVersionUID = 1L;

    DamageFound(CopyException how) {
      super(how);
    }
  }

  /** The destination's own answer, of what is there at one instant; it may fail, or be short. */
  private CompletableFuture<BlockHashes> digests(Range range, int blockSize, Digest digest) {
    CompletableFuture<BlockHashes> answer = new CompletableFuture<>();
    scheduler.schedule(
        Duration.ofNanos(random.nextInt(400_000)),
        () -> {
          if (faults && random.nextInt(8) == 0) {
            answer.completeExceptionally(
                random.nextInt(8) == 0
                    ? new UnsupportedOperationException("an older server")
                    : new BlockException(BlockException.Kind.LOST, "no answer"));
            return;
          }
          int all = (int) ((range.length() + blockSize - 1) / blockSize);
          int blocks = random.nextBoolean() ? all : 1 + random.nextInt(all);
          Map<Integer, byte[]> data = new HashMap<>();
          for (int i = 0; i < blocks; i++) {
            int from = (int) range.offset() + i * blockSize;
            int block = i;
            digest
                .of(
                    ByteBuffer.wrap(target.content),
                    from,
                    (int) Math.min(blockSize, range.end() - from))
                .ifPresent(hash -> data.put(block, hash));
          }
          BlockHashes told = BlockHashes.read(BlockHashes.of(blocks, data).write(), all, digest);
          scheduler.schedule(
              Duration.ofNanos(random.nextInt(400_000)), () -> answer.complete(told));
        });
    return answer;
  }

  /** The destination has an older disk below, and the copy brings what differs. */
  private void lay() {
    BitSet differs = new BitSet();
    System.arraycopy(source.content, 0, target.content, 0, source.content.length);
    for (int block = 0; block < map.count(); block++) {
      if (random.nextInt(3) == 0) {
        differs.set(block);
        byte[] older = new byte[(int) map.bytes(block, block + 1)];
        random.nextBytes(older);
        System.arraycopy(older, 0, target.content, (int) map.offset(block), older.length);
      }
    }
    target.onLayers(BLOCK);
    notedDisk.differs = differs;
  }

  private MemoryDirtyLog newLog() {
    return new MemoryDirtyLog(
        map, scheduler, () -> Duration.ofNanos(1000 + random.nextInt(100_000)));
  }

  /** Runs to the end; throws an AssertionError when a promise is broken. */
  void run() {
    startJob();
    scheduler.afterEachTask(this::check);
    guestWrites();
    fault();
    scheduler.runFor(Duration.ofMillis(5 + random.nextInt(60)));
    if (random.nextInt(4) == 0 && strategy != Strategy.SNAPSHOT && !spoiled) {
      // With snapshots no copy outlives its server, and what one has sent only that one verifies.
      crash();
      scheduler.runFor(Duration.ofMillis(random.nextInt(40)));
    }
    int abandoned = random.nextInt(3);
    for (int i = 0; i < abandoned; i++) {
      freeze();
      CompletableFuture<CopySnapshot> drain = job.drain();
      scheduler.runFor(Duration.ofMillis(random.nextInt(20)));
      if (drain.isDone() && !drain.isCompletedExceptionally()) {
        assertSame("drained, then abandoned");
      }
      job.resumeCopying();
      scheduler.runFor(Duration.ofMillis(1));
      guestRuns = true;
      guestWrites();
      scheduler.runFor(Duration.ofMillis(random.nextInt(30)));
    }
    faults = random.nextBoolean();
    if (random.nextInt(3) > 0) {
      CompletableFuture<Void> prepared = job.prepareSwitch();
      scheduler.runFor(Duration.ofMillis(20));
      faults = false;
      if (!scheduler.runUntil(prepared::isDone, Duration.ofSeconds(120))) {
        throw new AssertionError("does not get ready for the switch" + story + job.snapshot());
      }
      prepared.join();
      faults = random.nextBoolean();
    }
    boolean mirrored = noted && notedDisk.mirrored();
    freeze();
    if (rots && !layered) {
      rot();
    }
    CompletableFuture<CopySnapshot> drain = job.drain();
    scheduler.runFor(Duration.ofMillis(50));
    faults = false;
    if (!scheduler.runUntil(drain::isDone, Duration.ofSeconds(120))) {
      throw new AssertionError("does not drain: " + point().books() + story + job.snapshot());
    }
    drain.join();
    assertSame("drained");
    if (noted && notedDisk.mirrored()) {
      throw new AssertionError("drained beneath a mirror" + story);
    }
    mirroredToTheEnd = mirrored;
    snapshots = freezingDisk.most;
    givenBack = freezingDisk.givenBack;
    CopySnapshot.Disk figures = job.snapshot().disks().getFirst();
    saved = based ? figures.saved() : 0;
    verified = figures.proof().verified();
    mirrorsDied = job.snapshot().disks().getFirst().mirror().fallbacks();
    if (!Arrays.equals(head(target.durable()), source.content)) {
      throw new AssertionError("drained, and not durable" + story);
    }
    CompletableFuture<Void> close = job.close();
    if (!scheduler.runUntil(close::isDone, Duration.ofSeconds(10))) {
      throw new AssertionError("does not close" + story);
    }
    close.join();
    scheduler.runFor(Duration.ofSeconds(1));
    assertSame("closed");
    if (freezingDisk.left() > 1) {
      throw new AssertionError(freezingDisk.left() + " snapshots are left" + story);
    }
    if (job.snapshot().progress() != 1) {
      throw new AssertionError("progress " + job.snapshot().progress());
    }
  }

  long fingerprint() {
    return scheduler.fingerprint();
  }

  private void startJob() {
    life++;
    process = scheduler.process("life " + life);
    SourceDisk disk =
        strategy == Strategy.SNAPSHOT
            ? new SnapshotSource(freezingDisk)
            : noted ? notedDisk : new LiveDisk("live", guestView, log.begun());
    DestinationOpener opener =
        new DestinationOpener() {
          @Override
          public CompletableFuture<Destination> open() {
            CompletableFuture<Destination> result = new CompletableFuture<>();
            scheduler.schedule(
                Duration.ofNanos(random.nextInt(400_000)),
                () -> {
                  if (faults && random.nextInt(5) == 0) {
                    result.completeExceptionally(
                        new BlockException(BlockException.Kind.LOST, "no answer"));
                    return;
                  }
                  SimulatedDisk.Connection connection = target.connect();
                  open = connection;
                  result.complete(new Destination(connection, ++generation));
                });
            return result;
          }

          @Override
          public CompletableFuture<Void> fence(Destination destination) {
            CompletableFuture<Void> result = new CompletableFuture<>();
            ((SimulatedDisk.Connection) destination.backend()).abandon();
            scheduler.schedule(
                Duration.ofNanos(random.nextInt(400_000)),
                () -> {
                  destination.backend().close();
                  result.complete(null);
                });
            return result;
          }
        };
    DiskPlan plan =
        new DiskPlan(
                disk,
                opener,
                knownZero && !layered,
                log,
                noted ? Optional.empty() : Optional.of(guestView))
            .withStrategy(strategy);
    if (tells) {
      plan = plan.withDigests(this::digests, based || random.nextInt(4) == 0);
    }
    CopyListener listener =
        new CopyListener() {
          @Override
          public void onConverged(Duration predicted, boolean fits) {
            if (!noted && random.nextBoolean()) {
              point().policy(Policy.MIRROR);
            }
          }

          @Override
          public void onFailed(CopyException cause) {
            if (spoiled && cause.kind() == CopyException.Kind.VERIFY) {
              throw new DamageFound(cause);
            }
            throw new AssertionError("the job failed" + story, cause);
          }
        };
    CopyEngine engine = new CopyEngine(BLOCK * 4, BLOCK * 4 * 6);
    job = engine.start(List.of(plan), options, process, listener);
    point().defects = defects.isEmpty() ? Set.of() : EnumSet.copyOf(defects);
    if (!noted && random.nextBoolean()) {
      point().policy(Policy.MIRROR);
    }
    lastProgress = 0;
  }

  private WriteOrderingPoint point() {
    return job.orderingPoint(noted ? "noted" : "live");
  }

  /** The server dies with SIGKILL; another one takes over with the log that is on disk. */
  private void crash() {
    story += " crash@" + scheduler.nanoTime() / 1000;
    process.kill();
    notedDisk.crash();
    guestRuns = false;
    log = log.afterCrash();
    if (tells && !layered && random.nextInt(4) == 0) {
      // What is left of the log cannot be trusted: all is compared.
      log = newLog();
      notedDisk.forget();
      knownZero = false;
      based = true;
      older = target.content.clone();
    }
    begun = log.begun();
    if (open != null) {
      open.close(); // the new server's opener fences what it finds
    }
    scheduler.runFor(Duration.ofMillis(2)); // writes to the source that were under way
    guestInFlight = 0;
    startJob();
    guestRuns = true;
    guestWrites();
  }

  private void freeze() {
    guestRuns = false;
    if (!scheduler.runUntil(() -> guestInFlight == 0, Duration.ofSeconds(5))) {
      throw new AssertionError("the guest waits for ever" + story);
    }
  }

  private void guestWrites() {
    if (!guestRuns) {
      return;
    }
    int offset = random.nextInt((int) map.size());
    if (random.nextInt(3) == 0) {
      offset = Math.min((int) map.size() - 1, random.nextInt(BLOCK * 2));
    }
    int length = Math.min(1 + random.nextInt(BLOCK * 2), (int) map.size() - offset);
    if (target.alignment > 1 && random.nextInt(4) > 0) {
      offset -= offset % 8;
      length = Math.max(8, length - length % 8);
      length = Math.min(length, (int) map.size() - offset);
    }
    if (based && random.nextBoolean()) {
      // Away from what the destination has told of, and back to it.
      offset = BLOCK * random.nextInt(4);
      length = BLOCK;
    }
    byte[] bytes = new byte[length];
    if (based && random.nextBoolean()) {
      System.arraycopy(older, offset, bytes, 0, length);
    } else if (random.nextInt(4) > 0) {
      random.nextBytes(bytes);
    }
    if (guestInFlight < 4) {
      int at = offset;
      SimulatedScheduler.Process issuer = process;
      WriteOrderingPoint to = point();
      guestInFlight++;
      long asked = scheduler.nanoTime();
      CompletableFuture<Void> answer =
          noted
              ? write(offset, bytes)
              : switch (random.nextInt(8)) {
                case 0 -> to.guestZero(at, length);
                case 1 -> to.guestTrim(at, length);
                default -> to.guestWrite(at, ByteBuffer.wrap(bytes));
              };
      answer.whenComplete((done, failure) -> {
        if (issuer == process) {
          guestInFlight--;
          if (failure != null) {
            throw new AssertionError("a guest's write failed" + story, failure);
          }
          // Four at most before it, each held up by the mirror's deadline at the most.
          if (scheduler.nanoTime() - asked > Duration.ofMillis(12).toNanos()) {
            throw new AssertionError("the guest was stalled" + story);
          }
        }
      });
    }
    scheduler.schedule(Duration.ofNanos(1000 + random.nextInt(1_500_000)), this::guestWrites);
  }

  private CompletableFuture<Void> write(int offset, byte[] bytes) {
    if (strategy == Strategy.SNAPSHOT) {
      freezingDisk.write(offset, bytes);
      return CompletableFuture.completedFuture(null);
    }
    return notedDisk.write(offset, bytes);
  }

  /** Whether the hypervisor, or the storage, still answers for the block. */
  private boolean sourceAnswersFor(int block) {
    return strategy == Strategy.SNAPSHOT
        ? freezingDisk.answersFor(block)
        : noted && notedDisk.answersFor(block);
  }

  private void fault() {
    scheduler.schedule(
        Duration.ofMillis(1 + random.nextInt(25)),
        () -> {
          if (faults) {
            switch (random.nextInt(5)) {
              case 0 -> {
                story += " reset@" + scheduler.nanoTime() / 1000;
                target.reset();
              }
              case 1 -> {
                story += " break@" + scheduler.nanoTime() / 1000;
                target.breakConnections();
              }
              case 2 -> {
                story += " stall@" + scheduler.nanoTime() / 1000;
                target.stall(Duration.ofMillis(random.nextInt(40)));
              }
              case 3 -> {
                if (open != null) {
                  open.failing = 1 + random.nextInt(3);
                  open.failNext =
                      random.nextBoolean() ? BlockException.Kind.IO : BlockException.Kind.BUSY;
                }
              }
              default -> {
                if (notedDisk.mirrored()) {
                  story += " yank@" + scheduler.nanoTime() / 1000;
                  notedDisk.breakMirror();
                }
              }
            }
          }
          fault();
        });
  }

  /** After every event: no difference that the log does not know of. */
  private void check() {
    begun |= log.begun();
    double progress = job.snapshot().progress();
    if (progress < lastProgress) {
      throw new AssertionError("progress went back from " + lastProgress + " to " + progress);
    }
    lastProgress = progress;
    if (!begun || spoiled) {
      return;
    }
    int size = (int) map.size();
    for (int at = 0; at < size; ) {
      int next = Arrays.mismatch(source.content, at, size, target.content, at, size);
      if (next < 0) {
        return;
      }
      int block = map.blockOf(at + next);
      boolean known = log.isDurable(block, block + 1) || sourceAnswersFor(block);
      if (!known) {
        throw new AssertionError(
            "block %d differs, and the log does not know%s".formatted(block, story));
      }
      at = (block + 1) * BLOCK;
    }
  }

  private void assertSame(String when) {
    if (!Arrays.equals(head(target.content), source.content)) {
      throw new AssertionError(
          when + ": byte " + Arrays.mismatch(head(target.content), source.content) + story);
    }
  }

  private byte[] head(byte[] bytes) {
    return Arrays.copyOf(bytes, source.content.length);
  }
}
