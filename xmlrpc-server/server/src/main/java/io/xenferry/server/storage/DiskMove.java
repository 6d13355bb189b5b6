package io.xenferry.server.storage;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

/**
 * A disk that moves between SRs of this host, as its note tells.
 *
 * @param from uuid of the VDI as it was
 * @param to uuid of the VDI that takes its place
 * @param sr uuid of the SR where that is
 * @param guest whose guest has the disk; empty when none has
 */
record DiskMove(UUID from, UUID to, UUID sr, Optional<Running> guest) {

  /** Before the new disk's uuid in its tag: no migration's id, so that none is asked about it. */
  static final String TAG = "move-";

  /**
   * @param vm its uuid
   * @param device the VBD's device
   * @param paused whether this server may have paused the guest
   */
  record Running(UUID vm, String device, boolean paused) {}

  String tag() {
    return TAG + to;
  }

  /** The same, with the guest about to be paused. */
  DiskMove pausing() {
    return new DiskMove(from, to, sr, guest.map(g -> new Running(g.vm(), g.device(), true)));
  }

  Map<String, String> note() {
    Map<String, String> note = new LinkedHashMap<>();
    note.put("from", from.toString());
    note.put("to", to.toString());
    note.put("sr", sr.toString());
    guest.ifPresent(g -> {
      note.put("vm", g.vm().toString());
      note.put("device", g.device());
      note.put("paused", Boolean.toString(g.paused()));
    });
    return note;
  }

  /**
   * @throws IllegalArgumentException when it is no such note
   */
  static DiskMove of(Map<String, String> note) {
    Optional<Running> guest =
        note.containsKey("vm")
            ? Optional.of(
                new Running(
                    uuid(note, "vm"),
                    note.getOrDefault("device", ""),
                    Boolean.parseBoolean(note.get("paused"))))
            : Optional.empty();
    return new DiskMove(uuid(note, "from"), uuid(note, "to"), uuid(note, "sr"), guest);
  }

  private static UUID uuid(Map<String, String> note, String key) {
    return UUID.fromString(note.getOrDefault(key, ""));
  }
}
