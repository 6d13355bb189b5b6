package io.xenferry.packaging;

import io.xenferry.migration.state.Deadlines;
import io.xenferry.server.ServerMain;
import io.xenferry.server.migration.Decorators;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * The server itself, but for a ledger and ports that let a {@link Fault} come about at each record
 * and each effect.
 */
final class FaultyServer {
  private FaultyServer() {}

  public static void main(String[] arguments) {
    List<String> words = List.of(arguments);
    Path state = Path.of(words.get(words.indexOf("--state-dir") + 1));
    System.exit(ServerMain.run(new ServerMain(faults(state, UnaryOperator.identity())), arguments));
  }

  static Decorators faults(Path state, UnaryOperator<Deadlines> deadlines) {
    return new Decorators(
        real -> new FatalLedger(real, state),
        real -> FatalPorts.source(real, state),
        real -> FatalPorts.destination(real, state),
        real -> FatalPorts.peers(real, state),
        deadlines);
  }
}
