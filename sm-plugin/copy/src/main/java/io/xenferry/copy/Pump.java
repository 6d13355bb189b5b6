package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.ByteRate;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
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
  private final BufferPool buffers;
  private final ByteRate rate;
  private final ByteRate total;
  private final Scheduler scheduler;
  private final DiskCounters counters;
  private int cursor;
  private int inFlight;
  private boolean waitsForRate;
  private boolean waitsForBuffer;
  private boolean holdsOff;

  /**
   * @param rate the limit of this disk
   * @param total the limit of all
   */
  Pump(
      Owner owner,
      WriteOrderingPoint point,
      BufferPool buffers,
      ByteRate rate,
      ByteRate total,
      Scheduler scheduler,
      DiskCounters counters) {
    this.owner = owner;
    this.point = point;
    this.buffers = buffers;
    this.rate = rate;
    this.total = total;
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
    if (content == null || holdsOff || !point.attached() || waitsForRate || waitsForBuffer) {
      return;
    }
    while (inFlight < owner.depth() && !owner.sourceLost()) {
      if (waitForRate()) {
        return;
      }
      long asked = scheduler.nanoTime();
      ByteBuffer buffer = buffers.acquire(() -> scheduler.execute(() -> bufferFree(asked)));
      if (buffer == null) {
        waitsForBuffer = true;
        return;
      }
      BlockMap map = point.map();
      Transfer transfer =
          point.lockNext(
              cursor,
              buffers.bufferSize() / map.blockSize(),
              Math.max(1, LARGEST_ZERO / map.blockSize()));
      if (transfer == null) {
        buffers.release(buffer);
        break;
      }
      cursor = transfer.endBlock;
      inFlight++;
      long charged = transfer.hole ? 0 : transfer.length;
      rate.take(charged);
      total.take(charged);
      point.send(
          transfer, content, buffer, owner.skipZeroes(), () -> sent(transfer, buffer, charged));
    }
    if (inFlight == 0) {
      owner.idle();
    }
  }

  private boolean waitForRate() {
    long now = scheduler.nanoTime();
    long wait = Math.max(rate.delay(now), total.delay(now));
    if (wait == 0) {
      return false;
    }
    waitsForRate = true;
    long step = Math.min(wait, LONGEST_STEP);
    scheduler.schedule(
        Duration.ofNanos(step),
        () -> {
          waitsForRate = false;
          counters.rateNanos += step;
          run();
        });
    return true;
  }

  private void bufferFree(long asked) {
    waitsForBuffer = false;
    counters.bufferNanos += scheduler.nanoTime() - asked;
    run();
  }

  private void sent(Transfer transfer, ByteBuffer buffer, long charged) {
    inFlight--;
    if (transfer.lost) {
      buffers.discard();
    } else {
      buffers.release(buffer);
    }
    counters.count(transfer);
    rate.take(transfer.bytesSent - charged);
    total.take(transfer.bytesSent - charged);
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
