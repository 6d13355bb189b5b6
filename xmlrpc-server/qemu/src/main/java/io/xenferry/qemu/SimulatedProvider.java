package io.xenferry.qemu;

import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorProvider;
import java.nio.file.Path;

/** The hypervisor {@code simulated}: guests are small JVMs that only write to their disks. */
public final class SimulatedProvider implements HypervisorProvider {
  @Override
  public String name() {
    return "simulated";
  }

  @Override
  public Hypervisor open(Path runDirectory) {
    return new QemuHypervisor(SimulatedLauncher.ofThisJvm(), runDirectory);
  }
}
