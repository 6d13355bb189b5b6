package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.net.PduChannel;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.scsi.Sense;
import io.xenferry.iscsi.scsi.Status;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.Set;
import java.util.function.BooleanSupplier;

/**
 * What goes back to the initiator for its commands. While too much of it waits for the socket,
 * nothing is read: the initiator must take its answers. Confined to the loop.
 */
final class Answers {
  private static final long MAX_UNSENT = 16L << 20;
  private static final ByteBuffer EMPTY = ByteBuffer.allocate(0);

  private final PduChannel channel;
  private final BufferPool pool;
  private final TargetLogin login;
  private final Numbers numbers;

  private final BooleanSupplier descriptors;

  /** Their buffers are in the hands of the channel. */
  private final Set<Task> sending = new HashSet<>();

  private long unsent;

  /** Numbers an answer; see {@link SequenceNumbers#next}. */
  interface Numbers {
    Pdu.Sn next(boolean answer);
  }

  /**
   * @param descriptors whether sense data is in the format of descriptors
   */
  Answers(
      PduChannel channel,
      BufferPool pool,
      TargetLogin login,
      Numbers numbers,
      BooleanSupplier descriptors) {
    this.channel = channel;
    this.pool = pool;
    this.login = login;
    this.numbers = numbers;
    this.descriptors = descriptors;
  }

  /**
   * Status without data.
   *
   * @param used bytes of the initiator's data that the command is about; with a status other than
   *     GOOD, 0 where no residual count is told
   */
  void status(Task task, int status, Sense sense, int used) {
    task.giveBack(pool);
    boolean told = status == Status.GOOD || used > 0;
    long residual = told ? (task.command.length() & 0xFFFFFFFFL) - used : 0;
    ByteBuffer data = EMPTY;
    if (status == Status.CHECK_CONDITION) {
      byte[] bytes = sense.toBytes(descriptors.getAsBoolean());
      data = ByteBuffer.allocate(2 + bytes.length).putShort((short) bytes.length).put(bytes).flip();
    }
    channel.send(
        new Pdu.ScsiResponse(task.command.itt(), numbers.next(true), 0, status, residual),
        data,
        null);
  }

  /**
   * GOOD with the first bytes of the task's buffer.
   *
   * @param full what the command would give; the initiator takes what it has room for
   */
  void data(Task task, int full) {
    int expected = task.command.read() ? task.command.length() : 0;
    int length = Math.min(expected, full);
    long residual = (long) expected - full;
    int itt = task.command.itt();
    if (length == 0) {
      task.giveBack(pool);
      channel.send(new Pdu.ScsiResponse(itt, numbers.next(true), 0, Status.GOOD, residual));
      return;
    }
    ByteBuffer data = task.data();
    unsent += length;
    sending.add(task);
    int dataSn = 0;
    for (int at = 0; at < length; ) {
      int n = Math.min(length - at, login.peerSegment);
      boolean last = at + n == length;
      channel.send(
          new Pdu.DataIn(
              last, last, Status.GOOD, itt, numbers.next(last), dataSn++, at, last ? residual : 0),
          data.slice(at, n),
          last ? () -> sent(task, length) : null);
      at += n;
    }
    if (unsent > MAX_UNSENT) {
      channel.pause();
    }
  }

  private void sent(Task task, int length) {
    sending.remove(task);
    task.giveBack(pool);
    unsent -= length;
    if (unsent <= MAX_UNSENT / 2) {
      channel.resume();
    }
  }

  /** The connection is gone, and the channel has let go of all buffers. */
  void closed() {
    sending.forEach(task -> task.giveBack(pool));
  }
}
