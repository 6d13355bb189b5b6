package io.xenferry.server.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.eclipse.jetty.io.ByteArrayEndPoint;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.server.LocalConnector;
import org.eclipse.jetty.server.Server;
import org.junit.jupiter.api.Test;

class HeadDeadlineTest {
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  /** Tells of one connection: from a look on, and what happens during the one before. */
  private static final class Connector extends LocalConnector {
    private final EndPoint endPoint;
    private final Runnable meanwhile;
    private final AtomicInteger looks = new AtomicInteger();

    Connector(Server server, EndPoint endPoint, Runnable meanwhile) {
      super(server);
      this.endPoint = endPoint;
      this.meanwhile = meanwhile;
    }

    @Override
    public Collection<EndPoint> getConnectedEndPoints() {
      if (looks.incrementAndGet() == 1) {
        meanwhile.run();
        return List.of();
      }
      return List.of(endPoint);
    }
  }

  private static EndPoint after(int looks, boolean begins) throws Exception {
    Server server = new Server();
    HeadDeadline deadline = new HeadDeadline(Duration.ZERO, Duration.ZERO);
    EndPoint endPoint = new ByteArrayEndPoint();
    endPoint.onOpen();
    Connector connector =
        new Connector(
            server,
            endPoint,
            () -> {
              if (begins) {
                deadline.release(endPoint);
              }
            });
    server.addConnector(connector);
    server.setHandler(deadline);
    server.start();
    try {
      await().atMost(PATIENCE).until(() -> connector.looks.get() > looks);
      return endPoint;
    } finally {
      server.stop();
    }
  }

  @Test
  void aConnectionThatIsPutToUseDuringTheSweepKeepsItsMark() throws Exception {
    assertThat(after(3, true).isOpen()).isTrue();
  }

  @Test
  void aConnectionWithoutARequestIsEnded() throws Exception {
    assertThat(after(3, false).isOpen()).isFalse();
  }
}
