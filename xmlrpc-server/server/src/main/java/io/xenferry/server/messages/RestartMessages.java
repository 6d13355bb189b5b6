package io.xenferry.server.messages;

import io.xenferry.model.Host;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * {@code host.restart_agent}: the server begins anew; guests run on, and moves go on afterwards.
 */
public final class RestartMessages {
  /** In which whoever asked for it hears that it will be done. */
  private static final Duration PAUSE = Duration.ofSeconds(2);

  private final Supplier<Optional<Runnable>> restart;

  /**
   * @param restart what begins it, where there is such a thing; must not block
   */
  public RestartMessages(Supplier<Optional<Runnable>> restart) {
    this.restart = restart;
  }

  public void register(Registry r) {
    r.implement("host.restart_agent", this::restart, "ServerMainTest.aClientLetsItBeginAnew");
  }

  private Value restart(Call c) throws XenApiException {
    c.server().db().snapshot().get(c.<Host>ref(0), Host.UUID);
    Runnable how =
        restart
            .get()
            .orElseThrow(() -> new XenApiException("NOT_IMPLEMENTED", c.message().wireName()));
    Thread.ofVirtual()
        .name("restart")
        .start(() -> {
          try {
            Thread.sleep(PAUSE);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          how.run();
        });
    return Value.VOID;
  }
}
