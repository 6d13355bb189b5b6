package io.xenferry.packaging;

import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** A server that ends as it writes a record during a move, and where the VM must be afterwards. */
record Death(Side side, Fault fault) {
  private static final List<String> SOURCE =
      List.of("SENDING", "SWITCHING", "COMMITTING", "GIVEN", "half ended", "ended");

  private static final List<String> DESTINATION =
      List.of(
          "RECEIVING",
          "objects intended",
          "guest intended",
          "exports closed",
          "READY",
          "COMMITTED",
          "STARTING",
          "RUNNING",
          "object done",
          "half ended",
          "ended");

  enum Side {
    SOURCE,
    DESTINATION
  }

  /** At each record of both sides; {@code -Dcase=REGEX} chooses among them. */
  static Stream<Death> all(Signal... signals) {
    List<Death> all = new ArrayList<>();
    for (Signal signal : signals) {
      for (Side side : Side.values()) {
        for (String record : side == Side.SOURCE ? SOURCE : DESTINATION) {
          for (Moment moment : Moment.values()) {
            all.add(new Death(side, new Fault(moment, record, signal)));
          }
        }
      }
    }
    return all.stream().filter(c -> c.toString().matches(System.getProperty("case", ".*")));
  }

  /** Whether the VM must have moved in the end; empty where either is right. */
  Optional<Boolean> moves() {
    List<String> records = side == Side.SOURCE ? SOURCE : DESTINATION;
    int at = 2 * records.indexOf(fault.record()) + (fault.moment() == Moment.BEFORE ? 0 : 1);
    String pointOfNoReturn = side == Side.SOURCE ? "COMMITTING" : "COMMITTED";
    if (at > 2 * records.indexOf(pointOfNoReturn)) {
      return Optional.of(true);
    }
    if (fault.record().equals("RECEIVING") && fault.moment() == Moment.BEFORE) {
      // A destination that knows nothing of it is asked to open again.
      return Optional.empty();
    }
    if (fault.signal() == Signal.KILL && fault.record().equals("guest intended")) {
      return Optional.of(true); // the server that is started next goes on
    }
    boolean sending =
        side == Side.SOURCE
            && (at == 2 * records.indexOf("SENDING") + 1 || at == 2 * records.indexOf("SWITCHING"));
    if (sending) {
      // The next server goes on, unless the guest was about to be stopped, or by snapshots.
      return Optional.empty();
    }
    String lastHope = side == Side.SOURCE ? "COMMITTING" : "READY";
    return fault.signal() == Signal.KILL && at <= 2 * records.indexOf(lastHope)
        ? Optional.of(false)
        : Optional.empty();
  }

  @Override
  public String toString() {
    return (side == Side.SOURCE ? "source: " : "destination: ") + fault;
  }
}
