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
 */
public record ListenConfig(
    String address, int port, OptionalInt httpPort, Optional<Path> unixSocket) {

  public static ListenConfig defaults() {
    return new ListenConfig("127.0.0.1", 443, OptionalInt.empty(), Optional.empty());
  }
}
