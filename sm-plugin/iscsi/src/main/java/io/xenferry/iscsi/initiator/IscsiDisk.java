package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.Extent;
import io.xenferry.block.LinkTimes;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.Command.Direction;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.scsi.Identity;
import io.xenferry.iscsi.scsi.LbaStatus;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A logical unit on an iSCSI target as a block device with many requests in flight.
 *
 * <p>A lost connection, a deadline that passed, a reset by the target (unit attention 29/xx) or a
 * broken protocol kills the disk, of whichever of its sessions: every request fails with that
 * reason, nothing is sent again. {@link #close} fences, and {@link #fenced} tells whether that is
 * certain.
 */
public final class IscsiDisk implements BlockBackend {
  private static final Logger log = LoggerFactory.getLogger(IscsiDisk.class);

  /** One WRITE SAME that may unmap: tgtd punches one hole, but counts bytes in 32 bits. */
  private static final long ZERO_UNMAP_BYTES = 1L << 30;

  /** One WRITE SAME that really writes must fit well into the deadline. */
  private static final long ZERO_WRITE_BYTES = 4L << 20;

  private final IscsiUrl url;
  private final Sessions sessions;
  private final DiskProbe.Findings findings;
  private final int blockSize;
  private final int maxTransfer;

  /**
   * What one command carries at most: a segment, which goes out as immediate data. Larger requests
   * become several commands, measured two to four times as fast as waiting for R2Ts.
   */
  private final int commandBytes;

  private final ByteBuffer zeroes;
  private final CompletableFuture<Boolean> fenced = new CompletableFuture<>();
  private final AtomicBoolean closing = new AtomicBoolean();
  private volatile boolean writeSame = true;
  private volatile boolean lbaStatus = true;

  private IscsiDisk(IscsiUrl url, IscsiOptions options, Sessions sessions) {
    this.url = url;
    this.sessions = sessions;
    this.findings = sessions.findings();
    this.blockSize = findings.capacity().blockSize();
    long limit = findings.maxTransferBlocks() * blockSize;
    long most = limit > 0 ? Math.min(limit, options.maxTransfer()) : options.maxTransfer();
    this.maxTransfer = (int) Math.max(blockSize, most - most % blockSize);
    this.commandBytes =
        Math.max(blockSize, Math.min(maxTransfer, options.maxSegment()) & -blockSize);
    this.zeroes = ByteBuffer.allocateDirect(Math.max(maxTransfer, blockSize));
  }

  static IscsiDisk open(IscsiUrl url, IscsiOptions options) throws BlockException {
    return new IscsiDisk(url, options, Sessions.open(url, options));
  }

  @Override
  public String name() {
    return url.toString();
  }

  @Override
  public long size() {
    return findings.capacity().bytes();
  }

  @Override
  public int alignment() {
    return blockSize;
  }

  @Override
  public int maxTransfer() {
    return maxTransfer;
  }

  @Override
  public boolean readOnly() {
    return findings.readOnly();
  }

  /** Vendor and product of INQUIRY, and the serial number of VPD page 80. */
  public String identity() {
    Identity its = findings.identity();
    return its.vendor() + " " + its.product() + " " + its.serial();
  }

  /** Whether zero() deallocates and trimmed blocks read as zeroes. */
  public boolean thin() {
    return findings.capacity().unmappedAreZeroes();
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    BlockException wrong = check(offset, into.remaining(), maxTransfer, false);
    if (wrong != null) {
      return CompletableFuture.failedFuture(wrong);
    }
    if (!into.hasRemaining()) {
      return CompletableFuture.completedFuture(null);
    }
    return transfer(offset, into, Direction.READ);
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    BlockException wrong = check(offset, from.remaining(), maxTransfer, true);
    if (wrong != null) {
      return CompletableFuture.failedFuture(wrong);
    }
    if (!from.hasRemaining()) {
      return CompletableFuture.completedFuture(null);
    }
    return transfer(offset, from, Direction.WRITE);
  }

  /** One command, or for a large request several at once. */
  private CompletableFuture<Void> transfer(long offset, ByteBuffer data, Direction direction) {
    int length = data.remaining();
    if (length <= commandBytes) {
      return command(offset, data, direction);
    }
    List<CompletableFuture<Void>> pieces = new ArrayList<>();
    for (int at = 0; at < length; at += commandBytes) {
      int n = Math.min(commandBytes, length - at);
      pieces.add(command(offset + at, data.slice(data.position() + at, n), direction));
    }
    return CompletableFuture.allOf(pieces.toArray(CompletableFuture[]::new));
  }

  private CompletableFuture<Void> command(long offset, ByteBuffer data, Direction direction) {
    int size = blockSize;
    int blocks = data.remaining() / size;
    boolean write = direction == Direction.WRITE;
    return sessions.transfer(
        write ? Cdb.write(offset / size, blocks) : Cdb.read(offset / size, blocks),
        direction,
        data,
        write,
        true);
  }

  /**
   * WRITE SAME(16), deallocating where the target can and reads zeroes then; where the target does
   * not know the command, plain writes.
   */
  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    BlockException wrong = check(offset, length, Long.MAX_VALUE, true);
    return wrong != null ? CompletableFuture.failedFuture(wrong) : zeroFrom(offset, length);
  }

  private CompletableFuture<Void> zeroFrom(long offset, long length) {
    if (length == 0) {
      return CompletableFuture.completedFuture(null);
    }
    int size = blockSize;
    if (!writeSame) {
      int n = (int) Math.min(length, maxTransfer);
      return write(offset, zeroes.slice(0, n)).thenCompose(ok -> zeroFrom(offset + n, length - n));
    }
    boolean unmap = findings.writeSameUnmap() && findings.capacity().unmappedAreZeroes();
    long most = unmap ? ZERO_UNMAP_BYTES : ZERO_WRITE_BYTES;
    if (findings.maxWriteSameBlocks() > 0) {
      most = Math.min(most, Math.max(1, Math.min(findings.maxWriteSameBlocks(), 1L << 30)) * size);
    }
    long n = Math.min(length, most);
    return sessions
        .submit(
            Cdb.writeSame16(offset / size, (int) (n / size), unmap),
            Direction.WRITE,
            zeroes.slice(0, size),
            true,
            true)
        .handle((ok, failure) -> {
          if (failure == null) {
            return zeroFrom(offset + n, length - n);
          }
          if (Outcome.isUnsupported(failure)) {
            writeSame = false;
            return zeroFrom(offset, length);
          }
          return CompletableFuture.<Void>failedFuture(failure);
        })
        .thenCompose(next -> next);
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    BlockException wrong = check(offset, length, Long.MAX_VALUE, true);
    if (wrong != null) {
      return CompletableFuture.failedFuture(wrong);
    }
    if (length == 0 || findings.maxUnmapBlocks() == 0) {
      return CompletableFuture.completedFuture(null);
    }
    int size = blockSize;
    long n = Math.min(length, Math.min(findings.maxUnmapBlocks() * size, ZERO_UNMAP_BYTES));
    ByteBuffer list = Cdb.unmapList(offset / size, (int) (n / size));
    return sessions
        .submit(Cdb.unmap(list.remaining()), Direction.WRITE, list, true, true)
        .thenCompose(ok -> trim(offset + n, length - n));
  }

  @Override
  public CompletableFuture<Void> flush() {
    return sessions.transfer(Cdb.synchronizeCache(), Direction.NONE, null, false, false);
  }

  /** GET LBA STATUS where the target knows it and deallocated blocks read as zeroes. */
  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    BlockException wrong = check(offset, length, Long.MAX_VALUE, false);
    if (wrong != null) {
      return CompletableFuture.failedFuture(wrong);
    }
    if (length == 0) {
      return CompletableFuture.completedFuture(List.of());
    }
    List<Extent> unknown = List.of(new Extent(offset, length, false));
    if (!lbaStatus || !findings.capacity().unmappedAreZeroes()) {
      BlockException dead =
          closing.get()
              ? new BlockException(Kind.CLOSED, name() + " is closed")
              : sessions.failure();
      return dead == null
          ? CompletableFuture.completedFuture(unknown)
          : CompletableFuture.failedFuture(dead);
    }
    ByteBuffer answer = ByteBuffer.allocate(LbaStatus.HEADER + 256 * LbaStatus.DESCRIPTOR);
    return sessions
        .submit(
            Cdb.getLbaStatus(offset / blockSize, answer.remaining()),
            Direction.READ,
            answer,
            false,
            false)
        .handle((got, failure) -> {
          if (failure == null) {
            List<Extent> known =
                LbaStatus.read(
                    answer, got, offset, length, blockSize, findings.capacity().blocks());
            return CompletableFuture.completedFuture(known.isEmpty() ? unknown : known);
          }
          if (Outcome.isUnsupported(failure)) {
            lbaStatus = false;
            return CompletableFuture.completedFuture(unknown);
          }
          return CompletableFuture.<List<Extent>>failedFuture(failure);
        })
        .thenCompose(next -> next);
  }

  private @org.jspecify.annotations.Nullable BlockException check(
      long offset, long length, long most, boolean change) {
    int size = blockSize;
    if (offset < 0 || length < 0 || length > most || offset > size() - length) {
      return new BlockException(
          Kind.OUT_OF_RANGE, name() + ": " + offset + "+" + length + " of " + size());
    }
    if (offset % size != 0 || length % size != 0) {
      return new BlockException(
          Kind.OUT_OF_RANGE, name() + ": " + offset + "+" + length + " is not aligned to " + size);
    }
    if (change && findings.readOnly()) {
      return new BlockException(Kind.READ_ONLY, name() + " is write-protected");
    }
    return null;
  }

  /**
   * Whether it is certain that no request of this disk can change the medium any more. Completes
   * with the end of {@link #close}: true if every request had its answer, or if the target has
   * acknowledged a reset of the unit since; false if nobody could be asked, and a stale write may
   * still be under way.
   */
  public CompletableFuture<Boolean> fenced() {
    return fenced.copy();
  }

  /**
   * Waits for requests in flight, logs out; where that is not possible resets the unit on this
   * connection or on a new one that takes the session's place. Blocks up to four times the close
   * timeout plus that of a login; on the disk's own threads it returns at once.
   */
  @Override
  public void close() {
    if (closing.compareAndSet(false, true)) {
      Thread.ofVirtual().name("iscsi close").start(this::end);
    }
    if (!sessions.inLoop()) {
      try {
        fenced.join();
      } catch (java.util.concurrent.CompletionException e) {
        log.error("{}: close failed", name(), e);
      }
    }
  }

  private void end() {
    boolean safe = false;
    try {
      safe = sessions.end();
    } catch (RuntimeException e) {
      log.error("{}: close failed", name(), e);
    } finally {
      if (!safe) {
        log.warn("{}: closed, but the target has not confirmed that no write is under way", name());
      }
      fenced.complete(safe);
    }
  }

  /**
   * Tries once more to become certain, after {@link #fenced} has said false because the target
   * could not be asked. Blocks for a login and three close timeouts at the most.
   *
   * @return whether it is certain now that no request of this disk can change the medium any more
   */
  public boolean fenceAgain() {
    return fenced.getNow(false) || sessions.fenceAgain();
  }

  @Override
  public LinkTimes linkTimes() {
    return sessions.linkTimes();
  }

  /** How many sessions there are: as many as the options ask for, or as the target admits. */
  public int sessions() {
    return sessions.count();
  }

  /** Why the disk is dead; empty while it lives, and after an orderly close. */
  public java.util.Optional<Kind> failureKind() {
    return java.util.Optional.ofNullable(sessions.failure()).map(BlockException::kind);
  }

  /** Waits at most that long for a future of this disk's; for callers without callbacks. */
  public static <T> T await(CompletableFuture<T> future, Duration limit) throws BlockException {
    try {
      return future.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw new BlockException(Kind.TIMEOUT, "no answer within " + limit, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new BlockException(Kind.CLOSED, "interrupted", e);
    } catch (java.util.concurrent.ExecutionException e) {
      throw e.getCause() instanceof BlockException block
          ? block
          : new BlockException(Kind.IO, String.valueOf(e.getCause()), e);
    }
  }
}
