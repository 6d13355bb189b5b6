package io.xenferry.packaging;

import io.xenferry.guest.linux.HeartbeatObserver;
import io.xenferry.guest.linux.LinuxGuest;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * Linux in QEMU as a laboratory's VM: what its servers have to be told, what its record has to
 * hold, and the observer that keeps the ledger from outside.
 */
final class LinuxWorkload implements AutoCloseable {
  /** Enough for a kernel and a ramdisk of 3 MiB; its memory has to travel, too. */
  static final long MEMORY = 128L << 20;

  private final LinuxGuest guest;
  private @Nullable HeartbeatObserver observer;

  private LinuxWorkload(LinuxGuest guest) {
    this.guest = guest;
  }

  /**
   * Makes the guest's kernel and ramdisk, or finds them.
   *
   * @throws IOException when what they are made from is missing
   */
  static LinuxWorkload prepare() throws IOException, InterruptedException {
    return new LinuxWorkload(LinuxGuest.prepare());
  }

  /** The same, with the QEMU guest agent in it. */
  static LinuxWorkload prepareWithAgent() throws IOException, InterruptedException {
    return new LinuxWorkload(LinuxGuest.prepare().withAgent());
  }

  List<String> serverOptions() {
    return List.of(
        "--hypervisor", "qemu", "--boot-dir", String.valueOf(guest.kernel().getParent()));
  }

  /** PV_kernel, PV_ramdisk and PV_args, by their names in XenAPI. */
  Map<String, String> boot(long bytesPerSecond, long span) {
    return Map.of(
        "PV_kernel", guest.kernel().toString(),
        "PV_ramdisk", guest.ramdisk().toString(),
        "PV_args",
            LinuxGuest.ARGUMENTS + " xenferry.rate=" + bytesPerSecond + " xenferry.span=" + span);
  }

  Map<String, String> platform() {
    return Map.of("xenferry:serial-ports", LinuxGuest.SERIAL_PORTS, "xenferry:accel", "tcg");
  }

  /** Listens to the VM's heartbeat at both sites. */
  HeartbeatObserver observe(Laboratory lab, String vm) throws IOException {
    HeartbeatObserver listening = new HeartbeatObserver(UUID.fromString(vm), lab.ledger());
    observer = listening;
    for (Site site : List.of(lab.alpha(), lab.beta())) {
      Path guests = site.stateDirectory().resolve("guests");
      listening.listen(guests.resolve(vm).resolve("serial1.sock"));
    }
    return listening;
  }

  /** Listening; only after {@link #observe}. */
  HeartbeatObserver observer() {
    if (observer == null) {
      throw new IllegalStateException("nobody listens yet");
    }
    return observer;
  }

  @Override
  public void close() {
    if (observer != null) {
      observer.close();
    }
  }
}
