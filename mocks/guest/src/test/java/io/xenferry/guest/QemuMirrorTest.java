package io.xenferry.guest;

import io.xenferry.qemu.GuestLauncher;
import java.nio.file.Path;
import java.util.List;

class QemuMirrorTest extends MirrorContract {
  @Override
  GuestLauncher launcher() {
    return QemuHypervisorTest.installed();
  }

  @Override
  List<String> monitor(Path socket) {
    return List.of("-qmp", "unix:" + socket + ",server=on,wait=off");
  }
}
