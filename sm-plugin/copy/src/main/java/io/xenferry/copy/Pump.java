package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Keeps as many transfers of a disk going as depth, buffers and rates allow. Confined to the job's
 * scheduler.
 */
final class Pump {
  /** One zero request may cover so much; tgtd answers it as fast as a write of a few blocks. */
  private static final int LARGEST_ZERO = 32 << 20;

  /**
   * A limit that is changed while one waits for it shall not be noticed only after a long sleep.
   */
  private static final long LONGEST_STEP = Duration.ofMillis(100).toNanos();

  /** What the pump asks of the disk's copy, and tells it. */
  interface Owner {
    /** Where to read; null while nothing may be sent. */
    @Nullable BlockBackend content();

    /** How many transfers may be under way. */
    int depth();

    /**
     * Bytes of the largest of them, of zeroes apart; a block or more, and no more than a buffer.
     */
    int requestSize();

    /** Fewer are under way than may be: there is a limit, no buffer, or nothing to send. */
    void hindered();

    /** Whether no more is to be begun of this pass. */
    boolean sourceLost();

    /** Whether blocks of zeroes that were never written need not be sent. */
    boolean skipZeroes();

    /** A transfer has ended, well or not. */
    void sent(Transfer transfer);

    /** All that the pass had was sent. */
    void idle();
  }

  private final Owner owner;
  private final WriteOrderingPoint point;
  private final BufferPool.Share buffers;
  private final List<SharedRate.Turn> limits;
  private final Scheduler scheduler;
  private final DiskCounters counters;
  private int cursor;
  private int inFlight;
  private Scheduler.@Nullable Cancellable rateTimer;
  private long rateAsked;
  private boolean waitsForBuffer;
  private boolean holdsOff;

  /**
   * @param limits that hold for it: its own, and those that it shares
   */
  Pump(
      Owner owner,
      WriteOrderingPoint point,
      BufferPool buffers,
      List<SharedRate> limits,
      Scheduler scheduler,
      DiskCounters counters) {
    this.owner = owner;
    this.point = point;
    this.buffers = buffers.share();
    this.limits =
        limits.stream().map(limit -> limit.turn(() -> scheduler.execute(this::rateDue))).toList();
    this.scheduler = scheduler;
    this.counters = counters;
  }

  /** Goes through the disk from its start again. */
  void restart() {
    cursor = 0;
    run();
  }

  /** Begins what may be begun now. */
  void run() {
    BlockBackend content = owner.content();
    if (content == null || holdsOff || !point.attached()) {
      standStill();
      return;
    }
    if (rateTimer != null || waitsForBuffer) {
      owner.hindered();
      return;
    }
    while (inFlight < owner.depth() && !owner.sourceLost()) {
      if (waitForRate()) {
        owner.hindered();
        return;
      }
      long asked = scheduler.nanoTime();
      ByteBuffer buffer = buffers.acquire(() -> scheduler.execute(() -> bufferKept(asked)));
      if (buffer == null) {
        waitsForBuffer = true;
        leaveTurns();
        owner.hindered();
        return;
      }
      int blockSize = point.map().blockSize();
      Transfer transfer =
          point.lockNext(
              cursor, owner.requestSize() / blockSize, Math.max(1, LARGEST_ZERO / blockSize));
      if (transfer == null) {
        buffers.release(buffer);
        leaveTurns();
        owner.hindered();
        break;
      }
      cursor = transfer.endBlock;
      inFlight++;
      long charged = transfer.hole ? 0 : transfer.length;
      limits.forEach(limit -> limit.take(charged));
      point.send(
          transfer, content, buffer, owner.skipZeroes(), () -> sent(transfer, buffer, charged));
    }
    if (inFlight == 0) {
      owner.idle();
    }
  }

  /** Nothing may be sent now: what others wait for is not kept from them. */
  private void standStill() {
    owner.hindered();
    leaveTurns();
    if (waitsForBuffer) {
      waitsForBuffer = false;
      buffers.waitNoMore();
    }
  }

  private void leaveTurns() {
    limits.forEach(SharedRate.Turn::leave);
  }

  private boolean waitForRate() {
    long now = scheduler.nanoTime();
    long wait = 0;
    for (int i = 0; i < limits.size() && wait == 0; i++) {
      wait = limits.get(i).delay(now);
    }
    if (wait == 0) {
      return false;
    }
    rateAsked = now;
    rateTimer = scheduler.schedule(Duration.ofNanos(Math.min(wait, LONGEST_STEP)), this::rateDue);
    return true;
  }

  /** It is time to ask again, or its turn. */
  private void rateDue() {
    Scheduler.Cancellable timer = rateTimer;
    if (timer != null) {
      rateTimer = null;
      timer.cancel();
      counters.rateNanos += scheduler.nanoTime() - rateAsked;
      run();
    }
  }

  private void bufferKept(long asked) {
    if (waitsForBuffer) {
      waitsForBuffer = false;
      counters.bufferNanos += scheduler.nanoTime() - asked;
      run();
    }
    if (!waitsForBuffer) {
      buffers.waitNoMore(); // nothing was there to be sent after all
    }
  }

  private void sent(Transfer transfer, ByteBuffer buffer, long charged) {
    inFlight--;
    if (transfer.lost) {
      buffers.discard();
    } else {
      buffers.release(buffer);
    }
    counters.count(transfer);
    limits.forEach(limit -> limit.correct(transfer.bytesSent - charged));
    owner.sent(transfer);
    run();
  }

  /** Begins nothing for a moment, since a request was refused. */
  void holdOff(Duration pause) {
    if (!holdsOff) {
      holdsOff = true;
      scheduler.schedule(
          pause,
          () -> {
            holdsOff = false;
            run();
          });
    }
  }
}
