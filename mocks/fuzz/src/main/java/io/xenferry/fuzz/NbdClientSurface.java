package io.xenferry.fuzz;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.nbd.NbdClient;
import java.time.Duration;
import java.util.List;

/** Servers of our NBD client: a real one, and changes to what it says (see {@link Relay}). */
final class NbdClientSurface implements Surface {
  private static final NbdClient.Options HASTY =
      NbdClient.Options.DEFAULT
          .withConnectTimeout(Duration.ofMillis(500))
          .withRequestTimeout(Duration.ofMillis(500));

  private final NbdServerSurface.NbdServer server = new NbdServerSurface.NbdServer();
  private final Relay relay = new Relay(server.port());

  NbdClientSurface() throws Exception {}

  @Override
  public List<byte[]> seeds() {
    return Requests.changes(400);
  }

  @Override
  public void take(byte[] input) throws Exception {
    relay.change(input);
    try (BlockBackend disk = NbdServerSurface.NbdServer.connect(relay.port(), HASTY)) {
      Requests.everyKind(disk);
    } catch (BlockException refused) {
      // A failure that says what it is.
    }
  }

  @Override
  public void close() throws Exception {
    relay.close();
    server.close();
  }
}
