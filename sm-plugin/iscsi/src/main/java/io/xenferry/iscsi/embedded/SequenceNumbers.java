package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.ProtocolException;

/**
 * The numbers of commands and answers on one connection, and the window of commands that the
 * initiator may send (RFC 7143 section 4.2.2). Confined to the loop.
 */
final class SequenceNumbers {
  /** Commands in progress; with 1 MiB each that is what one initiator may occupy. */
  static final int WINDOW = 64;

  private int statSn = 1;
  private int expCmdSn;
  private int maxCmdSn;
  private boolean started;

  /** Takes the number of the first login request as that of the first command. */
  void begin(int cmdSn) {
    if (!started) {
      started = true;
      expCmdSn = cmdSn;
      maxCmdSn = cmdSn - 1;
    }
  }

  /**
   * Takes a command in. They come in order, since there is one connection.
   *
   * @param immediate whether it is beside the order
   * @return false for a number outside of the window: the command must be ignored
   * @throws ProtocolException for one within it after a gap, which nothing can close
   */
  boolean take(boolean immediate, int cmdSn) throws ProtocolException {
    if (immediate) {
      return true;
    }
    if (cmdSn - expCmdSn < 0 || cmdSn - maxCmdSn > 0) {
      return false;
    }
    if (cmdSn != expCmdSn) {
      throw new ProtocolException("command number " + cmdSn + " instead of " + expCmdSn);
    }
    expCmdSn++;
    return true;
  }

  /**
   * The numbers of a PDU that goes out. The window never shrinks.
   *
   * @param answer whether it is one that the initiator counts
   * @param tasks commands in progress
   */
  Pdu.Sn next(boolean answer, int tasks) {
    int current = statSn;
    if (answer) {
      statSn++;
    }
    int most = expCmdSn - 1 + Math.max(0, WINDOW - tasks);
    if (most - maxCmdSn > 0) {
      maxCmdSn = most;
    }
    return new Pdu.Sn(current, expCmdSn, maxCmdSn);
  }

  /** Those of a refused login. */
  Pdu.Sn refusal() {
    return new Pdu.Sn(0, expCmdSn, maxCmdSn);
  }
}
