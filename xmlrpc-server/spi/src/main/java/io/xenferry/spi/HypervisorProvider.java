package io.xenferry.spi;

import java.io.IOException;
import java.nio.file.Path;

/** How a server finds its hypervisor: with {@link java.util.ServiceLoader}, by name. */
public interface HypervisorProvider {
  /** For example {@code qemu}, {@code simulated}. */
  String name();

  /**
   * Opens the hypervisor.
   *
   * @param runDirectory where sockets, logs and notes of its guests lie; the same after a restart
   */
  Hypervisor open(Path runDirectory) throws IOException;

  /**
   * The same, with guests that run as somebody else.
   *
   * @param guestUser as the server's option {@code --guest-user} has it
   * @throws IOException also when this server cannot start processes as such a user
   */
  default Hypervisor open(Path runDirectory, String guestUser) throws IOException {
    return open(runDirectory);
  }
}
