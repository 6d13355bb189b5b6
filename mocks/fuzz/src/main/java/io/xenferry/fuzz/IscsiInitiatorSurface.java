package io.xenferry.fuzz;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import java.time.Duration;
import java.util.List;

/** Targets of our initiator: a real one, and changes to what it says (see {@link Relay}). */
final class IscsiInitiatorSurface implements Surface {
  private final IscsiTargetSurface.IscsiServer server = new IscsiTargetSurface.IscsiServer();
  private final Relay relay = new Relay(server.port());
  private final IscsiUrl url =
      new IscsiUrl(
          server.url().credentials(),
          "127.0.0.1",
          relay.port(),
          server.url().iqn(),
          server.url().lun());

  IscsiInitiatorSurface() throws Exception {}

  @Override
  public List<byte[]> seeds() {
    return Requests.changes(400);
  }

  @Override
  public void take(byte[] input) throws Exception {
    relay.change(input);
    try (BlockBackend disk =
        IscsiInitiator.connect(
            url,
            IscsiOptions.defaults()
                .withInitiatorName(IscsiTargetSurface.IscsiServer.INITIATOR)
                .withLoginTimeout(Duration.ofMillis(500))
                .withCommandTimeout(Duration.ofMillis(500))
                .withBusyPatience(Duration.ofMillis(100))
                .withCloseTimeout(Duration.ofMillis(500)))) {
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
