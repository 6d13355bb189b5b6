package io.xenferry.iscsi.initiator;

import io.xenferry.iscsi.pdu.ProtocolException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The commands that are on the wire, by task tag. A tag has the command's slot and a number that
 * counts on, so that a late answer to an earlier command of the slot is told from one to the
 * present. Confined to the session's loop.
 */
final class CommandTable {
  private static final int SLOT_BITS = 10;
  private static final int SLOTS = 1 << SLOT_BITS;
  private static final int LAST_GENERATION = 0xFFFFF;

  private final @Nullable Command[] slots;
  private final int[] freeSlots;
  private int free;
  private int generation;

  /**
   * @param depth commands at once, at most 1024
   */
  CommandTable(int depth) {
    slots = new Command[depth];
    freeSlots = new int[depth];
    for (free = 0; free < depth; free++) {
      freeSlots[free] = depth - 1 - free;
    }
  }

  boolean isFull() {
    return free == 0;
  }

  boolean isEmpty() {
    return free == slots.length;
  }

  /** Takes a command in, which thereby gets its slot and its tag. */
  void add(Command command) {
    command.slot = freeSlots[--free];
    slots[command.slot] = command;
    generation = generation + 1 & LAST_GENERATION;
    command.itt = generation << SLOT_BITS | command.slot;
  }

  void remove(Command command) {
    slots[command.slot] = null;
    freeSlots[free++] = command.slot;
    command.slot = -1;
  }

  /**
   * The command that an answer is for.
   *
   * @throws ProtocolException when there is none, or it has had its last answer
   */
  Command find(int itt) throws ProtocolException {
    int slot = itt & SLOTS - 1;
    Command command = itt >= 0 && slot < slots.length ? slots[slot] : null;
    if (command == null || command.itt != itt || command.ended) {
      throw new ProtocolException(String.format("no command has tag %08x", itt));
    }
    return command;
  }

  List<Command> all() {
    List<Command> all = new ArrayList<>();
    for (Command command : slots) {
      if (command != null) {
        all.add(command);
      }
    }
    return all;
  }

  /** Empties the table for good. */
  List<Command> removeAll() {
    List<Command> all = all();
    all.forEach(command -> command.slot = -1);
    Arrays.fill(slots, null);
    return all;
  }
}
