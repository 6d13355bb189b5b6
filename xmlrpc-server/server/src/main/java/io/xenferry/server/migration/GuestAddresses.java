package io.xenferry.server.migration;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMGuestMetrics;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import java.net.InetAddress;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;

/** Whether somebody speaks from within a guest, by the addresses that the guest has told. */
final class GuestAddresses {
  private GuestAddresses() {}

  /** Those of a VM, which are of its VIFs. */
  static Set<InetAddress> of(Snapshot db, Ref<VM> vm) throws XenApiException {
    Set<InetAddress> addresses = new LinkedHashSet<>();
    Ref<VMGuestMetrics> metrics = db.get(vm, VM.GUEST_METRICS);
    if (db.row("VM_guest_metrics", metrics.opaque()).isPresent()) {
      for (String text : db.get(metrics, VMGuestMetrics.NETWORKS).values()) {
        literal(text).ifPresent(addresses::add);
      }
    }
    return addresses;
  }

  /** A literal address, also in brackets; names are not looked up, which could take long. */
  static Optional<InetAddress> literal(String text) {
    String bare =
        text.startsWith("[") && text.endsWith("]") ? text.substring(1, text.length() - 1) : text;
    try {
      return Optional.of(InetAddress.ofLiteral(bare));
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  /** The address of a peer as sockets show it: {@code name/address:port}; empty for others. */
  static Optional<InetAddress> peer(String socket) {
    String rest = socket.substring(socket.lastIndexOf('/') + 1);
    int colon = rest.lastIndexOf(':');
    return colon < 0 ? Optional.empty() : literal(rest.substring(0, colon));
  }
}
