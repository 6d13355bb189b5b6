package io.xenferry.server.http;

import java.io.IOException;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import org.eclipse.jetty.io.SelectorManager;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Lets no remote address have more than its share of the connections: one more is closed before
 * anything is read from it. Of IPv6 addresses a network of 64 bits counts as one, since that is
 * what one host is given.
 */
final class RemoteShares implements SelectorManager.AcceptListener {
  private static final Logger LOG = LoggerFactory.getLogger(RemoteShares.class);

  private final int share;
  private final Map<SelectableChannel, InetAddress> connections = new IdentityHashMap<>();
  private final Map<InetAddress, Integer> counts = new HashMap<>();

  RemoteShares(int share) {
    this.share = share;
  }

  @Override
  public synchronized void onAccepting(SelectableChannel channel) {
    try {
      if (!(channel instanceof SocketChannel socket)
          || !(socket.getRemoteAddress() instanceof InetSocketAddress remote)) {
        return;
      }
      InetAddress from = network(remote.getAddress());
      if (counts.getOrDefault(from, 0) >= share) {
        LOG.debug("{} has all the {} connections that it may have", from, share);
        channel.close(); // which makes Jetty's accepting fail
        return;
      }
      connections.put(channel, from);
      counts.merge(from, 1, Integer::sum);
    } catch (IOException e) {
      LOG.debug("a connection that was gone before it was looked at", e);
    }
  }

  @Override
  public void onAcceptFailed(SelectableChannel channel, Throwable cause) {
    gone(channel);
  }

  @Override
  public void onClosed(SelectableChannel channel) {
    gone(channel);
  }

  private synchronized void gone(SelectableChannel channel) {
    InetAddress from = connections.remove(channel);
    if (from != null) {
      counts.computeIfPresent(from, (address, n) -> n == 1 ? null : n - 1);
    }
  }

  private static InetAddress network(InetAddress address) throws UnknownHostException {
    if (!(address instanceof Inet6Address)) {
      return address;
    }
    byte[] bits = address.getAddress();
    Arrays.fill(bits, 8, 16, (byte) 0);
    return InetAddress.getByAddress(bits);
  }
}
