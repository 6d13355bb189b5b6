package io.xenferry.guest;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** What migrate-set-capabilities and migrate-set-parameters have set. Thread-safe. */
final class MigrationSettings {
  private static final Set<String> KNOWN =
      Set.of("events", "pause-before-switchover", "auto-converge", "late-block-activate");

  private final Set<String> on = ConcurrentHashMap.newKeySet();
  // QEMU's defaults.
  private volatile long bandwidth = 128 << 20;
  private volatile long downtimeMillis = 300;

  void set(String capability, boolean state) throws QmpError {
    if (!KNOWN.contains(capability)) {
      throw new QmpError("Parameter 'capability' does not accept value '" + capability + "'");
    }
    if (state) {
      on.add(capability);
    } else {
      on.remove(capability);
    }
  }

  boolean pauseBeforeSwitchover() {
    return on.contains("pause-before-switchover");
  }

  boolean lateBlockActivate() {
    return on.contains("late-block-activate");
  }

  boolean events() {
    return on.contains("events");
  }

  long bandwidth() {
    return bandwidth;
  }

  void bandwidth(long bytesPerSecond) {
    bandwidth = bytesPerSecond;
  }

  long downtimeMillis() {
    return downtimeMillis;
  }

  void downtimeMillis(long millis) {
    downtimeMillis = millis;
  }
}
