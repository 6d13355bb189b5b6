package io.xenferry.guest;

import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.SimulatedLauncher;
import java.nio.file.Path;
import java.util.List;

class SimulatedMirrorTest extends MirrorContract {
  @Override
  GuestLauncher launcher() {
    return SimulatedLauncher.ofThisJvm();
  }

  @Override
  List<String> monitor(Path socket) {
    return List.of("--monitor", socket.toString());
  }
}
