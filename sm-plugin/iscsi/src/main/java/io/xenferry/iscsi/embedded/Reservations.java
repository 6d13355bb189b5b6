package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.embedded.SupportedCommands.Access;
import io.xenferry.iscsi.scsi.Sense;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Who may use a disk: RESERVE and RELEASE (SPC-2 §7.21), and persistent reservations (SPC-4 §5.13).
 *
 * <p>All of it is in memory and ends with the target, as REPORT CAPABILITIES says (no activation
 * through power loss). Persistent ones survive the sessions of those who made them, and resets.
 * Confined to the loop.
 */
final class Reservations {
  private static final int MAX_REGISTRATIONS = 256;
  private static final int PARAMETERS = 24;

  /** Types of persistent reservations; the code is that of the wire. */
  enum Type {
    WRITE_EXCLUSIVE(1),
    EXCLUSIVE_ACCESS(3),
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY(5),
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY(6),
    WRITE_EXCLUSIVE_ALL_REGISTRANTS(7),
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS(8);

    final int code;

    Type(int code) {
      this.code = code;
    }

    boolean ofAllRegistrants() {
      return this == WRITE_EXCLUSIVE_ALL_REGISTRANTS || this == EXCLUSIVE_ACCESS_ALL_REGISTRANTS;
    }

    boolean forRegistrants() {
      return code >= WRITE_EXCLUSIVE_REGISTRANTS_ONLY.code;
    }

    boolean allowsReading() {
      return this == WRITE_EXCLUSIVE
          || this == WRITE_EXCLUSIVE_REGISTRANTS_ONLY
          || this == WRITE_EXCLUSIVE_ALL_REGISTRANTS;
    }

    static Optional<Type> of(int code) {
      for (Type type : values()) {
        if (type.code == code) {
          return Optional.of(type);
        }
      }
      return Optional.empty();
    }
  }

  /** RESERVATION CONFLICT. */
  static final class Conflict extends Exception {
    private static final long serialVersionUID = 1L;

    Conflict() {
      super("reservation conflict", null, false, false);
    }
  }

  /** The sessions of the disk, which hear of what others did. */
  interface Others {
    void tell(Nexus whom, Sense attention);
  }

  private final Others others;
  private final Map<Nexus, Long> keys = new LinkedHashMap<>();
  private @Nullable Type type;

  /** Of a reservation that is not of all registrants. */
  private @Nullable Nexus holder;

  private int generation;

  /** Who has the disk by RESERVE. */
  private @Nullable Nexus reserver;

  Reservations(Others others) {
    this.others = others;
  }

  // ---- what others may do

  /** Refuses what a reservation keeps this initiator from. */
  void check(Nexus who, Access access) throws Conflict {
    if (access == Access.NONE || access == Access.RESERVATION) {
      return;
    }
    if (reserver != null && !reserver.equals(who)) {
      throw new Conflict();
    }
    Type held = type;
    if (held == null || mayUse(held, who) || (access == Access.READ && held.allowsReading())) {
      return;
    }
    throw new Conflict();
  }

  private boolean mayUse(Type held, Nexus who) {
    return held.forRegistrants() ? keys.containsKey(who) : who.equals(holder);
  }

  private boolean isHolder(Nexus who) {
    Type held = type;
    return held != null && (held.ofAllRegistrants() ? keys.containsKey(who) : who.equals(holder));
  }

  // ---- RESERVE and RELEASE

  void reserve(Nexus who) throws Conflict {
    if (!keys.isEmpty() || (reserver != null && !reserver.equals(who))) {
      throw new Conflict();
    }
    reserver = who;
  }

  /** Somebody else's stays as it is. */
  void release(Nexus who) throws Conflict {
    if (!keys.isEmpty()) {
      throw new Conflict();
    }
    if (who.equals(reserver)) {
      reserver = null;
    }
  }

  /** The session is gone. */
  void lost(Nexus who) {
    if (who.equals(reserver)) {
      reserver = null;
    }
  }

  /** The unit was reset: persistent reservations stay. */
  void reset() {
    reserver = null;
  }

  // ---- PERSISTENT RESERVE IN

  byte[] in(Nexus who, int action) throws Check, Conflict {
    requireNotReserved(who);
    return switch (action) {
      case 0 -> {
        ByteBuffer list = ByteBuffer.allocate(8 + 8 * keys.size());
        list.putInt(generation).putInt(8 * keys.size());
        keys.values().forEach(list::putLong);
        yield list.array();
      }
      case 1 -> {
        Type held = type;
        if (held == null) {
          yield ByteBuffer.allocate(8).putInt(0, generation).array();
        }
        long key = holder == null ? 0 : keys.getOrDefault(holder, 0L);
        ByteBuffer one = ByteBuffer.allocate(24).putInt(generation).putInt(16).putLong(key);
        yield one.put(21, (byte) held.code).array();
      }
      // Type mask valid, all types; nothing else (SPC-4 §6.15.4).
      case 2 -> new byte[] {0, 8, 0, (byte) 0x80, (byte) 0xEA, 1, 0, 0};
      case 3 -> fullStatus();
      default -> throw new Check(Sense.INVALID_FIELD_IN_CDB);
    };
  }

  private byte[] fullStatus() {
    List<byte[]> all = new ArrayList<>();
    int length = 0;
    for (Map.Entry<Nexus, Long> registered : keys.entrySet()) {
      byte[] name = registered.getKey().portName().getBytes(StandardCharsets.UTF_8);
      int padded = (name.length + 4) & ~3;
      ByteBuffer one = ByteBuffer.allocate(24 + 4 + padded).putLong(registered.getValue());
      Type held = type;
      if (held != null && isHolder(registered.getKey())) {
        one.put(12, (byte) 1).put(13, (byte) held.code);
      }
      one.putShort(18, (short) 1).putInt(20, 4 + padded);
      // A TransportID of an iSCSI port: format 01b.
      one.put(24, (byte) 0x45).putShort(26, (short) padded).put(28, name);
      all.add(one.array());
      length += one.capacity();
    }
    ByteBuffer list = ByteBuffer.allocate(8 + length).putInt(generation).putInt(length);
    all.forEach(list::put);
    return list.array();
  }

  private void requireNotReserved(Nexus who) throws Conflict {
    if (reserver != null && !reserver.equals(who)) {
      throw new Conflict();
    }
  }

  // ---- PERSISTENT RESERVE OUT

  /**
   * Carries one out.
   *
   * @param list its parameters
   * @return those whose commands must be aborted before it is answered
   */
  List<Nexus> out(Nexus who, ByteBuffer cdb, ByteBuffer list) throws Check, Conflict {
    requireNotReserved(who);
    int action = cdb.get(1) & 0x1F;
    if (action > 6) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    if (cdb.getInt(5) != PARAMETERS || list.remaining() != PARAMETERS) {
      throw new Check(Sense.PARAMETER_LIST_LENGTH);
    }
    // Other ports' registrations, all ports at once, and survival of power loss are not ours.
    if ((list.get(20) & 0x0D) != 0) {
      throw new Check(Sense.INVALID_PARAMETER);
    }
    long key = list.getLong(0);
    long wanted = list.getLong(8);
    if (action != 0 && action != 6 && !isRegistered(who, key)) {
      throw new Conflict();
    }
    switch (action) {
      case 0 -> register(who, Optional.of(key), wanted);
      case 6 -> register(who, Optional.empty(), wanted);
      case 1 -> reserve(who, type(cdb));
      case 2 -> release(who, type(cdb));
      case 3 -> clear(who);
      case 4, 5 -> {
        List<Nexus> gone = preempt(who, wanted, type(cdb));
        return action == 5 ? gone : List.of();
      }
      default -> throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    return List.of();
  }

  private boolean isRegistered(Nexus who, long key) {
    Long registered = keys.get(who);
    return registered != null && registered == key;
  }

  private static Type type(ByteBuffer cdb) throws Check {
    int scope = (cdb.get(2) >>> 4) & 0xF;
    Optional<Type> type = Type.of(cdb.get(2) & 0xF);
    if (scope != 0 || type.isEmpty()) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    return type.get();
  }

  /** With the key that is registered, or without looking at it. */
  private void register(Nexus who, Optional<Long> key, long wanted) throws Check, Conflict {
    long registered = keys.getOrDefault(who, 0L);
    if (key.isPresent() && key.get() != registered) {
      throw new Conflict();
    }
    if (wanted == 0) {
      if (keys.remove(who) != null) {
        generation++;
        left(who);
      }
      return;
    }
    if (!keys.containsKey(who) && keys.size() >= MAX_REGISTRATIONS) {
      throw new Check(Sense.NO_REGISTRATION_RESOURCES);
    }
    keys.put(who, wanted);
    generation++;
  }

  /** A registrant is gone, and perhaps the reservation with it. */
  private void left(Nexus who) {
    Type held = type;
    if (held == null) {
      return;
    }
    boolean last = held.ofAllRegistrants() ? keys.isEmpty() : who.equals(holder);
    if (last) {
      type = null;
      holder = null;
      if (held.forRegistrants()) {
        keys.keySet().forEach(other -> others.tell(other, Sense.RESERVATIONS_RELEASED));
      }
    }
  }

  private void reserve(Nexus who, Type wanted) throws Conflict {
    if (type != null) {
      if (type != wanted || !isHolder(who)) {
        throw new Conflict();
      }
      return;
    }
    take(who, wanted);
  }

  private void take(Nexus who, Type wanted) {
    type = wanted;
    holder = wanted.ofAllRegistrants() ? null : who;
  }

  private void release(Nexus who, Type wanted) throws Check {
    Type held = type;
    if (held == null || !isHolder(who)) {
      return;
    }
    if (held != wanted) {
      throw new Check(Sense.INVALID_RELEASE);
    }
    type = null;
    holder = null;
    if (held.forRegistrants()) {
      tellOthers(who, Sense.RESERVATIONS_RELEASED);
    }
  }

  private void clear(Nexus who) {
    tellOthers(who, Sense.RESERVATIONS_PREEMPTED);
    keys.clear();
    type = null;
    holder = null;
    generation++;
  }

  private void tellOthers(Nexus who, Sense attention) {
    keys.keySet().stream().filter(n -> !n.equals(who)).forEach(n -> others.tell(n, attention));
  }

  /** SPC-4 §5.13.11.4: takes registrations away, and the reservation if it is among them. */
  private List<Nexus> preempt(Nexus who, long wanted, Type next) throws Check, Conflict {
    Type held = type;
    boolean all = held != null && held.ofAllRegistrants();
    if (wanted == 0 && !all) {
      throw new Check(Sense.INVALID_PARAMETER);
    }
    Nexus before = holder;
    boolean takes =
        held != null
            && (all ? wanted == 0 : before != null && keys.getOrDefault(before, 0L) == wanted);
    List<Nexus> gone = new ArrayList<>();
    for (Map.Entry<Nexus, Long> registered : keys.entrySet()) {
      boolean named = wanted == 0 || registered.getValue() == wanted;
      // One that takes its own reservation away stays registered.
      if (named && !(registered.getKey().equals(who) && takes)) {
        gone.add(registered.getKey());
      }
    }
    if (!takes && gone.isEmpty()) {
      throw new Conflict();
    }
    gone.forEach(keys::remove);
    generation++;
    gone.stream()
        .filter(n -> !n.equals(who))
        .forEach(n -> others.tell(n, Sense.REGISTRATIONS_PREEMPTED));
    if (takes) {
      take(who, next);
      if (held != next) {
        tellOthers(who, Sense.RESERVATIONS_RELEASED);
      }
    } else {
      gone.forEach(this::left);
    }
    return gone;
  }
}
