package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.scsi.Sense;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** One SCSI command at the target, from its arrival to its status. Confined to the loop. */
final class Task {
  final Pdu.ScsiCommand command;

  /** Completes when nothing of this task can touch the backend any more. */
  final CompletableFuture<Void> quiet = new CompletableFuture<>();

  /** Data of the initiator, or for it; from the pool. */
  @Nullable ByteBuffer buffer;

  /** What is on the medium, where the command looks at it itself; from the pool. */
  @Nullable ByteBuffer scratch;

  int received;

  /** Where the sequence that was asked for, or that comes unasked, ends. */
  int burstEnd;

  int ttt = Pdu.NO_TAG;
  int r2tSn;
  int dataSn;
  boolean unsolicited;
  boolean executing;
  boolean aborted;

  /** Decided before all data came: what is still to come is thrown away. */
  @Nullable Sense refused;

  int refusedStatus;

  Task(Pdu.ScsiCommand command) {
    this.command = command;
  }

  int opcode() {
    return command.cdb()[0] & 0xFF;
  }

  ByteBuffer cdb() {
    return ByteBuffer.wrap(command.cdb());
  }

  ByteBuffer data() {
    ByteBuffer b = buffer;
    if (b == null) {
      throw new IllegalStateException("a task without data");
    }
    return b;
  }

  /** Gives its buffers back, if it still has some. */
  void giveBack(BufferPool pool) {
    ByteBuffer s = scratch;
    if (s != null) {
      scratch = null;
      pool.give(s);
    }
    ByteBuffer b = buffer;
    if (b != null) {
      buffer = null;
      pool.give(b);
    }
  }
}
