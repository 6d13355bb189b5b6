package io.xenferry.sr;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;

/**
 * The uses of all VDIs, each under its own lock. An entry exists only while somebody uses the VDI
 * or asks for it, so that questions after VDIs that do not exist leave nothing behind.
 */
final class VdiUses {
  private final Map<List<String>, VdiUse> uses = new ConcurrentHashMap<>();

  interface Body<T> {
    T run(VdiUse use) throws SmapiException;
  }

  /** Runs the body with the VDI's lock held. */
  <T> T locked(String sr, String vdi, Body<T> body) throws SmapiException {
    List<String> key = List.of(sr, vdi);
    while (true) {
      VdiUse use = uses.computeIfAbsent(key, k -> new VdiUse());
      use.lock.lock();
      try {
        if (!use.retired) {
          return body.run(use);
        }
      } finally {
        if (use.isIdle() && use.lock.getHoldCount() == 1) {
          use.retired = true; // whoever waits for the lock takes a new one
          uses.remove(key, use);
        }
        use.lock.unlock();
      }
    }
  }

  /** A copy of a VDI has ended. */
  void endCopy(String sr, String vdi) {
    try {
      locked(
          sr,
          vdi,
          use -> {
            use.endCopy();
            return use;
          });
    } catch (SmapiException e) {
      throw new IllegalStateException(e); // the body throws none
    }
  }

  /** What this server wrote is written. */
  void endFilling(String sr, String vdi) {
    try {
      locked(
          sr,
          vdi,
          use -> {
            use.setFilled(false);
            return use;
          });
    } catch (SmapiException e) {
      throw new IllegalStateException(e); // the body throws none
    }
  }

  /** The VDIs, as SR and location, that a datapath or a copy uses now. */
  List<List<String>> inUse() {
    return uses.entrySet().stream()
        .filter(e -> isUsed(e.getValue()))
        .map(Map.Entry::getKey)
        .toList();
  }

  private static boolean isUsed(VdiUse use) {
    use.lock.lock();
    try {
      return !use.isIdle();
    } finally {
      use.lock.unlock();
    }
  }

  /** One of the VDIs of an SR that are used. */
  Optional<String> anyInUse(String sr) {
    Predicate<List<String>> ofSr = key -> key.getFirst().equals(sr);
    return inUse().stream().filter(ofSr).map(key -> key.get(1)).findFirst();
  }
}
