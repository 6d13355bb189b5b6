package io.xenferry.guest;

import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.SimulatedLauncher;

class SimulatedHypervisorTest extends HypervisorContract {

  @Override
  GuestLauncher launcher() {
    return SimulatedLauncher.ofThisJvm();
  }
}
