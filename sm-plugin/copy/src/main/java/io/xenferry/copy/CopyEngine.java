package io.xenferry.copy;

import io.xenferry.block.ByteRate;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.IntFunction;

/**
 * Starts copy jobs that share one memory limit and one rate limit. Thread-safe; each job lives on
 * the scheduler that it is given.
 */
public final class CopyEngine {
  /**
   * Amid 256 KiB to 1 MiB, between which the copy benchmark sees no difference towards a tuned tgtd
   * (1 GiB of random data on tmpfs, two busy cores, medians of six: 64 KiB 3.9 s, 128 KiB 3.1, 256
   * KiB 2.4, 512 KiB 2.6, 1 MiB 2.7, 2 MiB 3.2, 4 MiB 4.4; ±40 %).
   */
  public static final int DEFAULT_REQUEST_SIZE = 512 << 10;

  /** Two disks at full depth, which all share; eight as a fast network nearby needs. */
  public static final long DEFAULT_MEMORY = 64L << 20;

  private final BufferPool buffers;
  private final ByteRate total = ByteRate.unlimited();
  private final SharedRate shared = new SharedRate(total);

  public CopyEngine() {
    this(DEFAULT_REQUEST_SIZE, DEFAULT_MEMORY);
  }

  /**
   * @param requestSize bytes of the largest request, a power of two; no disk's block may be larger
   * @param memory bytes for the buffers of all jobs together
   */
  public CopyEngine(int requestSize, long memory) {
    this(requestSize, memory, ByteBuffer::allocateDirect);
  }

  /**
   * @param buffers makes one of so many bytes: a direct one, unless all disks are arrays
   */
  public CopyEngine(int requestSize, long memory, IntFunction<ByteBuffer> buffers) {
    this.buffers = new BufferPool(requestSize, memory, buffers);
  }

  /** The limit for all jobs together; may be changed at any time. */
  public ByteRate totalRate() {
    return total;
  }

  /**
   * Starts to copy the disks, in parallel.
   *
   * @throws IllegalArgumentException when a disk's log has another size, or too large blocks
   */
  public CopyJob start(
      List<DiskPlan> disks, CopyOptions options, Scheduler scheduler, CopyListener listener) {
    for (DiskPlan disk : disks) {
      if (disk.log().map().size() != disk.source().size()
          || disk.log().map().blockSize() > buffers.bufferSize()) {
        throw new IllegalArgumentException(disk.source().name() + ": " + disk.log().map());
      }
    }
    CopyJob job = new CopyJob(disks, options, buffers, shared, scheduler, listener);
    scheduler.execute(job::start);
    return job;
  }
}
