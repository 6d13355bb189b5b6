package io.xenferry.packaging;

import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Fault.Moment;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * An instant of a move: before or after a record in one side's ledger, or before or after an effect
 * of one side's, as {@link FatalLedger} and {@link FatalPorts} name them.
 *
 * @param cancelled whether the move is one that is cancelled while it copies
 */
record Point(Side side, Moment moment, String name, Stage stage, boolean cancelled) {

  /** How far a move is. What follows from it is in {@link #moves}, and nowhere else. */
  enum Stage {
    /** It is in no ledger. */
    ASKED,
    /** The source's ledger has it, and the destination has perhaps not heard of it. */
    OPENING,
    /** The destination makes what the VM needs; one that has not come to the exports gives up. */
    CREATING,
    /** The exports are open: whichever server is started anew goes on. */
    COPYING,
    /** The memory is sent: the guest may have been stopped for the switch, which ends the move. */
    SENDING_MEMORY,
    /** The source may take it back, and the destination is not ready. */
    SWITCHING,
    /** The destination is ready, and the source may have heard so. */
    READY,
    /** The source has noted that it asks for the commit. */
    DECIDED,
    /** It has been cancelled. */
    TAKEN_BACK
  }

  /** Whose servers are killed. */
  enum Victims {
    SOURCE,
    DESTINATION,
    BOTH;

    boolean include(Side side) {
      return this == BOTH || name().equals(side.name());
    }
  }

  /** The one place that says where the VM must be after a server was killed at a point. */
  Optional<Boolean> moves(Victims victims) {
    boolean destinationOnly = victims == Victims.DESTINATION;
    return switch (stage) {
      case ASKED, READY -> destinationOnly ? Optional.empty() : Optional.of(false);
      case OPENING -> victims == Victims.SOURCE ? Optional.of(true) : Optional.empty();
      case CREATING -> Optional.of(victims == Victims.SOURCE);
      case SENDING_MEMORY -> Optional.empty();
      case SWITCHING, TAKEN_BACK -> Optional.of(false);
      case COPYING, DECIDED -> Optional.of(true);
    };
  }

  private static final class Builder {
    private final List<Point> all = new ArrayList<>();

    /**
     * @param before stage before it
     * @param after stage after it
     */
    private Builder at(Side side, Stage before, Stage after, boolean cancelled, String name) {
      all.add(new Point(side, Moment.BEFORE, name, before, cancelled));
      all.add(new Point(side, Moment.AFTER, name, after, cancelled));
      return this;
    }

    Builder source(Stage before, Stage after, String name) {
      return at(Side.SOURCE, before, after, false, name);
    }

    Builder source(Stage during, String... names) {
      for (String name : names) {
        source(during, during, name);
      }
      return this;
    }

    Builder destination(Stage before, Stage after, String name) {
      return at(Side.DESTINATION, before, after, false, name);
    }

    Builder destination(Stage during, String... names) {
      for (String name : names) {
        destination(during, during, name);
      }
      return this;
    }

    Builder cancelled(Side side, String... names) {
      for (String name : names) {
        at(side, Stage.TAKEN_BACK, Stage.TAKEN_BACK, true, name);
      }
      return this;
    }
  }

  /** Every record and every effect, in the order in which a move comes to them. */
  static List<Point> all() {
    return List.copyOf(
        new Builder()
            .source(Stage.ASKED, "message check", "message turn")
            .source(Stage.ASKED, Stage.OPENING, "SENDING")
            .source(Stage.OPENING, Stage.COPYING, "message open")
            .destination(Stage.OPENING, Stage.CREATING, "RECEIVING")
            .destination(
                Stage.CREATING, "objects intended", "storage.createVdi", "metadata.importHidden")
            .destination(Stage.COPYING, "storage.export", "guest intended", "guests.startIncoming")
            .source(Stage.COPYING, "copies.start", "message guest")
            .source(Stage.SENDING_MEMORY, "guests.sendMemory", "job.prepareSwitch", "guests.pause")
            .source(Stage.SENDING_MEMORY, Stage.SWITCHING, "SWITCHING")
            .source(Stage.SWITCHING, "job.drain", "message close-exports")
            .source(Stage.SWITCHING, Stage.READY, "guests.finishMemory")
            .source(Stage.SWITCHING, Stage.READY, "message prepare")
            .destination(
                Stage.SWITCHING,
                "exports closed",
                "storage.closeExport",
                "storage.seal",
                "guests.activate")
            .destination(Stage.SWITCHING, Stage.READY, "READY")
            .source(Stage.READY, Stage.DECIDED, "COMMITTING")
            .source(Stage.DECIDED, "message commit")
            .destination(
                Stage.DECIDED,
                "COMMITTED",
                "STARTING",
                "guests.resume",
                "RUNNING",
                "guests.announce",
                "metadata.reveal",
                "storage.removeAccount",
                "object done")
            .source(
                Stage.DECIDED,
                "GIVEN",
                "guests.destroy",
                "job.close",
                "copies.cleanUp",
                "objects.removeVm",
                "objects.destroyDisk",
                "message acknowledge",
                "half ended",
                "ended")
            .destination(Stage.DECIDED, "half ended", "ended")
            .cancelled(
                Side.SOURCE,
                "OWNED",
                "job.close",
                "guests.cancelMemory",
                "copies.cleanUp",
                "message abort",
                "message acknowledge",
                "half ended",
                "ended")
            .cancelled(
                Side.DESTINATION,
                "ABORTED",
                "guests.giveUp",
                "storage.closeExport",
                "storage.removeAccount",
                "metadata.remove",
                "storage.destroyVdi",
                "object done",
                "half ended",
                "ended")
            .all);
  }

  /** Of a move that is not cancelled. */
  static Point of(Side side, Moment moment, String name) {
    return all().stream()
        .filter(p ->
            p.side() == side && p.moment() == moment && p.name().equals(name) && !p.cancelled())
        .findFirst()
        .orElseThrow();
  }

  Fault held() {
    return new Fault(moment, name, Fault.Signal.HOLD);
  }

  @Override
  public String toString() {
    return "%s %s %s%s"
        .formatted(
            side.name().toLowerCase(Locale.ROOT),
            moment.name().toLowerCase(Locale.ROOT),
            name,
            cancelled ? " of a cancelled move" : "");
  }
}
