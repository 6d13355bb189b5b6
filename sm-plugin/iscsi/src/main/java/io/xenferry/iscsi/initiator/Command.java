package io.xenferry.iscsi.initiator;

import io.xenferry.iscsi.net.PduChannel;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** One SCSI command from submission to its end. Confined to the session's loop once submitted. */
final class Command implements Runnable, PduChannel.Sent {
  /** Which way data goes. */
  enum Direction {
    NONE,
    READ,
    WRITE
  }

  /** Which unit it is for, as headers have it (SAM-5 section 4.7). */
  final long lun;

  /** Whether the session serves this unit alone, and has no purpose without it. */
  final boolean onlyUnit;

  final byte[] cdb;
  final Direction direction;

  /** Position to limit is the data; null without. */
  final @Nullable ByteBuffer data;

  final int base;
  final int length;

  /** Whether it may change the medium: decides about fences. */
  final boolean changes;

  /** Whether a read must fill the whole buffer. */
  final boolean whole;

  /** The end; then {@link #moved} tells how many bytes went over. */
  final CompletableFuture<Void> done = new CompletableFuture<>();

  private final Session session;

  int itt;
  int slot = -1;
  int received;
  int attempts;
  int outstanding;
  int lastR2t = -1;
  boolean ended;
  @Nullable Throwable failure;
  long submitted;
  long started;
  long firstRefusal;

  Command(
      Session session,
      long lun,
      boolean onlyUnit,
      byte[] cdb,
      Direction direction,
      @Nullable ByteBuffer data,
      boolean changes,
      boolean whole) {
    this.session = session;
    this.lun = lun;
    this.onlyUnit = onlyUnit;
    this.cdb = cdb;
    this.direction = direction;
    this.data = data;
    this.base = data == null ? 0 : data.position();
    this.length = data == null ? 0 : data.remaining();
    this.changes = changes;
    this.whole = whole;
  }

  /** Its arrival on the loop. */
  @Override
  public void run() {
    session.enqueue(this);
  }

  /** A piece of its data has left. */
  @Override
  public void sent() {
    session.pieceSent(this);
  }

  /** Bytes that arrived, or that were sent. */
  int moved() {
    return direction == Direction.READ ? received : length;
  }

  /** A slice of the data. */
  ByteBuffer piece(int offset, int count) {
    ByteBuffer all = data;
    if (all == null) {
      throw new IllegalStateException("a command without data");
    }
    return all.slice(base + offset, count);
  }
}
