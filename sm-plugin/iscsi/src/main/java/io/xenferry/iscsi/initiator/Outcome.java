package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.iscsi.initiator.Command.Direction;
import io.xenferry.iscsi.scsi.Sense;
import io.xenferry.iscsi.scsi.Status;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a command's status means for the command, and for the session. */
sealed interface Outcome {
  record Good() implements Outcome {}

  /** The one that nearly every command has. */
  Good GOOD = new Good();

  /** The target did not take the command: it has no effect and may be sent again. */
  record Refused(boolean busy, String why) implements Outcome {}

  /** The command failed, the session lives. */
  record Failed(Kind kind, String why, Optional<Sense> sense) implements Outcome {
    BlockException exception(String name) {
      return sense.isPresent()
          ? new BlockException(kind, name + ": " + why, new Illegal(sense.get()))
          : new BlockException(kind, name + ": " + why);
    }
  }

  /** Earlier writes are in doubt, or there is nothing left to talk to. */
  record Dead(Kind kind, String why) implements Outcome {}

  /** The cause of an error that ILLEGAL REQUEST brought. */
  final class Illegal extends Exception {
    private static final long serialVersionUID = 1L;
    private final int code;

    Illegal(Sense sense) {
      super(sense.toString(), null, false, false);
      code = sense.code();
    }
  }

  /** Whether a request failed because the target does not know the command or a field of it. */
  static boolean isUnsupported(@Nullable Throwable failure) {
    return failure != null
        && failure.getCause() instanceof Illegal illegal
        && (illegal.code == Sense.INVALID_OPCODE.code()
            || illegal.code == Sense.INVALID_FIELD_IN_CDB.code()
            || illegal.code == Sense.INVALID_PARAMETER.code());
  }

  /** Sense data as a SCSI response carries it: two bytes of length, then the data. */
  static Sense sense(ByteBuffer data) {
    if (data.remaining() < 2) {
      return new Sense(Sense.NO_SENSE, 0);
    }
    int length = Math.min(data.getShort(data.position()) & 0xFFFF, data.remaining() - 2);
    return Sense.parse(data.slice(data.position() + 2, length));
  }

  /**
   * The status byte decides; sense data beside GOOD is stale.
   *
   * @param data of the response, where sense data is
   * @param probing whether a power-on attention is the login's own
   */
  static Outcome of(int response, int status, ByteBuffer data, Command command, boolean probing) {
    if (response != 0) {
      return failed(Kind.IO, "the target failed, response " + response);
    }
    return switch (status) {
      case Status.GOOD, Status.CONDITION_MET -> {
        boolean cut =
            command.direction == Direction.READ
                && command.whole
                && command.received != command.length;
        yield cut
            ? failed(Kind.IO, "read " + command.received + " of " + command.length + " bytes")
            : GOOD;
      }
      case Status.CHECK_CONDITION -> check(sense(data), command, probing);
      case Status.BUSY -> new Refused(true, "busy");
      case Status.TASK_SET_FULL -> new Refused(true, "task set full");
      case Status.RESERVATION_CONFLICT -> failed(Kind.ACCESS, "reserved by another initiator");
      case Status.TASK_ABORTED -> new Dead(Kind.RESET, "another initiator aborted our commands");
      default -> failed(Kind.IO, String.format("status %02x", status));
    };
  }

  private static Outcome check(Sense sense, Command command, boolean probing) {
    String what = String.format("%s for %02x", sense, command.cdb[0] & 0xFF);
    return switch (sense.key()) {
      case Sense.UNIT_ATTENTION ->
          sense.isReset() && !probing
              ? new Dead(Kind.RESET, "the target was reset: " + what)
              : new Refused(false, what);
      case Sense.ILLEGAL_REQUEST ->
          switch (sense.code() >>> 8) {
            case 0x25 ->
                command.onlyUnit
                    ? new Dead(Kind.LOST, "the logical unit is gone: " + what)
                    : failed(Kind.LOST, "the logical unit is gone: " + what);
            case 0x21 -> failed(Kind.OUT_OF_RANGE, what);
            default -> new Failed(Kind.IO, what, Optional.of(sense));
          };
      case Sense.DATA_PROTECT ->
          failed(
              sense.code() == Sense.SPACE_ALLOCATION_FAILED.code() ? Kind.NO_SPACE : Kind.READ_ONLY,
              what);
      default -> failed(Kind.IO, what);
    };
  }

  private static Outcome failed(Kind kind, String why) {
    return new Failed(kind, why, Optional.empty());
  }
}
