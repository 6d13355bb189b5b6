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
}
