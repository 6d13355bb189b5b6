package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Registry;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * Keeps disks as they are while they move: what changes one and what moves one exclude each other.
 * Thread-safe; nothing waits here.
 */
final class DiskClaims {
  private final Map<String, Integer> users = new HashMap<>();
  private final Set<String> moving = new HashSet<>();

  private static XenApiException busy(Ref<VDI> vdi, String operation) {
    return new XenApiException(
        "OTHER_OPERATION_IN_PROGRESS", "VDI", vdi.opaque(), operation, "OpaqueRef:NULL");
  }

  /** A message is about to change a disk. */
  synchronized Registry.Guard.Closeable enter(Ref<VDI> vdi) throws XenApiException {
    if (moving.contains(vdi.opaque())) {
      throw busy(vdi, "mirror");
    }
    users.merge(vdi.opaque(), 1, Integer::sum);
    return () -> leave(vdi);
  }

  private synchronized void leave(Ref<VDI> vdi) {
    users.computeIfPresent(vdi.opaque(), (ref, count) -> count == 1 ? null : count - 1);
  }

  /** A disk is to move, or is one that another moves to. */
  synchronized AutoCloseable claim(Ref<VDI> vdi) throws XenApiException {
    if (users.containsKey(vdi.opaque())) {
      throw busy(vdi, "update");
    }
    if (!moving.add(vdi.opaque())) {
      throw busy(vdi, "mirror");
    }
    return () -> release(vdi);
  }

  private synchronized void release(Ref<VDI> vdi) {
    moving.remove(vdi.opaque());
  }
}
