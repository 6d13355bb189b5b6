package io.xenferry.server.http;

import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.server.AbstractConnector;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.HttpStream;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Ends connections whose next request does not become whole. Bytes that drip in do not put this
 * off, as they do the idle timeout: from accepting the connection to the end of the first request's
 * head, the TLS handshake included, all in all the deadline; between two requests the idle timeout
 * and the deadline. While a request is served it has no say, nor over connections that speak
 * something other than HTTP.
 */
final class HeadDeadline extends Handler.Wrapper {
  private static final Logger LOG = LoggerFactory.getLogger(HeadDeadline.class);

  // How late the end may come.
  private static final Duration SWEEP = Duration.ofMillis(500);

  private final Duration first;
  private final Duration next;
  private final Map<EndPoint, Due> due = new ConcurrentHashMap<>();

  /**
   * @param head for the head of the first request
   * @param idle how long a connection may rest between requests
   */
  HeadDeadline(Duration head, Duration idle) {
    this.first = head;
    this.next = idle.plus(head);
  }

  /**
   * @param at System.nanoTime()
   * @param busyWith what is under way, for whose time there is no deadline
   */
  private record Due(long at, @Nullable Object busyWith) {
    static Due in(Duration time) {
      return new Due(System.nanoTime() + time.toNanos(), null);
    }

    boolean passed() {
      return busyWith == null && System.nanoTime() - at > 0;
    }
  }

  @Override
  protected void doStart() throws Exception {
    super.doStart();
    plan();
  }

  private void plan() {
    getServer().getScheduler().schedule(this::sweep, SWEEP.toMillis(), TimeUnit.MILLISECONDS);
  }

  private void sweep() {
    if (!isRunning()) {
      return;
    }
    try {
      // Before the connections: one that begins a request meanwhile must not lose its mark.
      Set<EndPoint> known = Set.copyOf(due.keySet());
      Set<EndPoint> connected = ConcurrentHashMap.newKeySet();
      for (var connector : getServer().getConnectors()) {
        connected.addAll(((AbstractConnector) connector).getConnectedEndPoints());
      }
      for (EndPoint endPoint : known) {
        if (!connected.contains(endPoint)) {
          due.remove(endPoint);
        }
      }
      for (EndPoint endPoint : connected) {
        if (due.computeIfAbsent(endPoint, e -> Due.in(first)).passed()) {
          LOG.debug("{} has not sent a whole request in time", endPoint.getRemoteSocketAddress());
          endPoint.close();
        }
      }
    } finally {
      plan();
    }
  }

  /** Leaves a connection to somebody else's deadlines, for good. */
  void release(EndPoint endPoint) {
    due.put(network(endPoint), new Due(0, this));
  }

  @Override
  public boolean handle(Request request, Response response, Callback callback) throws Exception {
    EndPoint endPoint = network(request.getConnectionMetaData().getConnection().getEndPoint());
    due.put(endPoint, new Due(0, request));
    Request.addCompletionListener(
        request,
        failure -> {
          boolean upgraded = request.getAttribute(HttpStream.UPGRADE_CONNECTION_ATTRIBUTE) != null;
          due.computeIfPresent(
              endPoint, (e, now) -> upgraded || now.busyWith() != request ? now : Due.in(next));
        });
    return super.handle(request, response, callback);
  }

  /** That of the connection itself: TLS has one of its own above it. */
  private static EndPoint network(EndPoint endPoint) {
    EndPoint e = endPoint;
    while (e.getTransport() instanceof EndPoint below) {
      e = below;
    }
    return e;
  }
}
