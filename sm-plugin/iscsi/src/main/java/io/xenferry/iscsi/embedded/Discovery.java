package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.pdu.TextKeys;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;

/**
 * SendTargets (RFC 7143 appendix C) on one connection: the targets that the initiator may log in
 * to; a long list goes out in several PDUs. Confined to the loop.
 */
final class Discovery {
  private final EmbeddedTargetService service;
  private byte[] pending = {};

  Discovery(EmbeddedTargetService service) {
    this.service = service;
  }

  /**
   * Takes a question; what is left of the answer to an earlier one is forgotten.
   *
   * @param session the target of the session; empty in a discovery session
   */
  void ask(TextKeys keys, String initiator, InetAddress from, Optional<ServedTarget> session) {
    StringBuilder list = new StringBuilder();
    for (Map.Entry<String, String> pair : keys.asMap().entrySet()) {
      if (!pair.getKey().equals("SendTargets")) {
        list.append(pair.getKey()).append("=NotUnderstood\0");
        continue;
      }
      for (ServedTarget served : service.served()) {
        if (isAskedFor(served, pair.getValue(), session) && served.admits(initiator, from)) {
          list.append("TargetName=").append(served.export.iqn()).append('\0');
          list.append("TargetAddress=").append(service.portal()).append(",1\0");
        }
      }
    }
    pending = list.toString().getBytes(StandardCharsets.UTF_8);
  }

  private static boolean isAskedFor(
      ServedTarget served, String whom, Optional<ServedTarget> session) {
    return switch (whom) {
      case "All" -> session.isEmpty();
      case "" -> session.filter(ours -> ours == served).isPresent();
      default -> whom.equals(served.export.iqn());
    };
  }

  /** The next piece of the answer. */
  byte[] next(int most) {
    int n = Math.min(pending.length, most);
    byte[] now = Arrays.copyOf(pending, n);
    pending = Arrays.copyOfRange(pending, n, pending.length);
    return now;
  }

  boolean isDone() {
    return pending.length == 0;
  }
}
