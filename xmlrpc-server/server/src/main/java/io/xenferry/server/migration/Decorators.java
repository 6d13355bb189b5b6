package io.xenferry.server.migration;

import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.peer.PeerTransport;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.Deadlines;
import java.util.function.UnaryOperator;

/**
 * What those who watch a server, or make it fail, put around its parts.
 *
 * @param ledger around everything that is decided
 * @param source around every effect of a move on its source
 * @param destination around every effect of a move on its destination
 * @param peers around every message to another server
 * @param deadlines other ones than usual
 */
public record Decorators(
    UnaryOperator<Ledger> ledger,
    UnaryOperator<SourcePorts> source,
    UnaryOperator<DestinationPorts> destination,
    UnaryOperator<PeerTransport> peers,
    UnaryOperator<Deadlines> deadlines) {

  /** The server as it is. */
  public static Decorators none() {
    return new Decorators(
        UnaryOperator.identity(),
        UnaryOperator.identity(),
        UnaryOperator.identity(),
        UnaryOperator.identity(),
        UnaryOperator.identity());
  }
}
