package io.xenferry.cli;

import io.xenferry.model.XenApiException;
import io.xenferry.spi.XenApi;
import java.util.Optional;

/**
 * What a command needs of the server that it runs in. One per connection; used from its thread
 * alone.
 */
public interface CliEnvironment {

  /** This server's calls; the session is the first parameter. */
  XenApi api();

  /**
   * Whether the operating system has vouched for the caller: it came over the Unix socket, which
   * only the administrator can open. Such a caller may be root without a password.
   */
  boolean preAuthenticated();

  /**
   * Opens a session of root for a caller that is {@link #preAuthenticated}; the command closes it
   * with {@code session.logout}.
   */
  String openLocalSession() throws XenApiException;

  /** Address of the pool's coordinator when this host is not it. */
  default Optional<String> coordinatorAddress() {
    return Optional.empty();
  }

  /** How other servers are reached. */
  RemoteServers remoteServers();

  /** The migrations that this server takes part in. */
  Migrations migrations();
}
