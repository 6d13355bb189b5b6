package io.xenferry.server.config;

import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Where the server listens. Port 0 lets the system choose.
 *
 * @param address an address of this host, or a name that resolves to one
 * @param port TLS
 * @param httpPort plain HTTP, absent when off
 * @param unixSocket callers there are root without a password, absent when off
 * @param files a directory for browsers, which need no session for it; absent when there is none
 */
public record ListenConfig(
    String address,
    int port,
    OptionalInt httpPort,
    Optional<Path> unixSocket,
    Optional<Path> files) {

  /** Without files for browsers. */
  public ListenConfig(String address, int port, OptionalInt httpPort, Optional<Path> unixSocket) {
    this(address, port, httpPort, unixSocket, Optional.empty());
  }

  public static ListenConfig defaults() {
    return new ListenConfig("127.0.0.1", 443, OptionalInt.empty(), Optional.empty());
  }
}
