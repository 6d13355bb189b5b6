package io.xenferry.packaging;

import io.xenferry.server.ServerMain;
import io.xenferry.server.migration.Decorators;
import java.nio.file.Path;
import java.util.List;

/** The server itself, but for a ledger that ends it when a {@link Fault} says so. */
final class FaultyServer {
  private FaultyServer() {}

  public static void main(String[] arguments) {
    List<String> words = List.of(arguments);
    Path state = Path.of(words.get(words.indexOf("--state-dir") + 1));
    Decorators none = Decorators.none();
    Decorators faults =
        new Decorators(
            real -> new FatalLedger(real, state),
            none.source(),
            none.destination(),
            none.peers(),
            none.deadlines());
    System.exit(ServerMain.run(new ServerMain(faults), arguments));
  }
}
