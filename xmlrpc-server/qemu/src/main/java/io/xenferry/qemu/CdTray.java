package io.xenferry.qemu;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Opens and closes CD drives. A guest that has mounted a CD locks the tray. */
final class CdTray {
  /** A guest that is asked to unlock does so in milliseconds, or not at all. */
  private static final Duration UNLOCK = Duration.ofSeconds(5);

  private final Monitor monitor;

  CdTray(Monitor monitor) {
    this.monitor = monitor;
  }

  void insert(String device, GuestSpec.Medium medium)
      throws HypervisorException, InterruptedException {
    monitor.execute("blockdev-add", QemuDevices.blockNode(device, medium));
    // Nothing is in it that the guest could have locked.
    monitor.execute("blockdev-open-tray", Map.of("id", device, "force", true));
    monitor.execute(
        "blockdev-insert-medium",
        Map.of("id", device, "node-name", GuestLauncher.nodeName(device)));
    monitor.execute("blockdev-close-tray", Map.of("id", device));
  }

  /** Empties the drive; the image is still open. */
  void eject(String device) throws HypervisorException, InterruptedException {
    open(device);
    monitor.execute("blockdev-remove-medium", Map.of("id", device));
    monitor.execute("blockdev-close-tray", Map.of("id", device));
  }

  private void open(String device) throws HypervisorException, InterruptedException {
    CompletableFuture<Void> opened = new CompletableFuture<>();
    AutoCloseable listening =
        monitor.listen(event -> {
          if (event.name().equals("DEVICE_TRAY_MOVED")
              && event.payload().path("id").asText().equals(device)
              && event.payload().path("tray-open").asBoolean()) {
            opened.complete(null);
          }
        });
    try {
      // Of a locked drive it only asks the guest, and fails.
      monitor.execute("blockdev-open-tray", Map.of("id", device));
    } catch (HypervisorException e) {
      if (e.kind() != Kind.REFUSED || !String.valueOf(e.getMessage()).contains("locked")) {
        throw e;
      }
      try {
        opened.get(UNLOCK.toNanos(), TimeUnit.NANOSECONDS);
      } catch (TimeoutException | ExecutionException late) {
        throw new HypervisorException(
            Kind.REFUSED, "the guest has locked the tray of " + device, e);
      }
    } finally {
      Closing.quietly(listening);
    }
  }
}
