package io.xenferry.sr;

import io.xenferry.model.Value;
import java.util.List;

/**
 * What one datapath does with one VDI. A datapath goes one step at a time:
 *
 * <pre>
 *   DETACHED ⇄ ATTACHED_RO ⇄ ACTIVATED_RO
 *   DETACHED ⇄ ATTACHED_RW ⇄ ACTIVATED_RW
 * </pre>
 */
public enum DatapathState {
  DETACHED(0, false),
  ATTACHED_RO(1, false),
  ATTACHED_RW(1, true),
  ACTIVATED_RO(2, false),
  ACTIVATED_RW(2, true);

  private final int level;
  private final boolean writable;

  DatapathState(int level, boolean writable) {
    this.level = level;
    this.writable = writable;
  }

  public boolean isAttached() {
    return level >= 1;
  }

  public boolean isActivated() {
    return level == 2;
  }

  public boolean isWritable() {
    return writable;
  }

  static DatapathState attached(boolean writable) {
    return writable ? ATTACHED_RW : ATTACHED_RO;
  }

  static DatapathState activated(boolean writable) {
    return writable ? ACTIVATED_RW : ACTIVATED_RO;
  }

  /** What two datapaths together demand of the back end. */
  DatapathState and(DatapathState other) {
    boolean rw = writable || other.writable;
    return switch (Math.max(level, other.level)) {
      case 0 -> DETACHED;
      case 1 -> attached(rw);
      default -> activated(rw);
    };
  }

  /** The variant as it goes over the wire. */
  public Value toValue() {
    if (this == DETACHED) {
      return Value.of("Detached");
    }
    return new Value.Array(
        List.of(Value.of(level == 1 ? "Attached" : "Activated"), Value.of(writable ? "RW" : "RO")));
  }
}
