package io.xenferry.guest;

import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What goes wrong on purpose, named in the platform map with commas between:
 *
 * <pre>
 * refuse-activate   an incoming guest refuses to open its disks for writing
 * refuse-cont       cont is refused
 * hang-qmp=COMMAND  the command is never answered, nor any after it
 * refuse-unplug     the guest answers that it does not let a device go
 * lock-tray         the guest holds on to its CDs
 * ignore-unplug     the guest does not answer when it is to let a device go
 * ignore-power      the guest does not heed its power button
 * slow-power        the guest shuts down five seconds after its power button was pressed
 * reboot-power      the guest reboots when its power button is pressed for the first time
 * refuse-reopen     no disk goes on with another image
 * panic             the guest panics a second after it has begun to run
 * halt              the guest shuts itself down a second after it has begun to run
 * stall-memory      the memory stream stops after its first pass
 * stall-end         the same once all of it is sent and the disks are given up
 * die=POINT         the process kills itself at one of: running, stopped (at the switch, standing
 *                   still), pre-switchover, device (told to go on), sent, incoming (a stream has
 *                   begun), received, cont, reopen (a disk is to go on with another image), power-button
 * </pre>
 */
record Faults(Set<String> names) {

  static Faults parse(String list) {
    return new Faults(
        Arrays.stream(list.split(","))
            .map(String::strip)
            .filter(name -> !name.isEmpty())
            .collect(Collectors.toUnmodifiableSet()));
  }

  boolean has(String name) {
    return names.contains(name);
  }

  /** Dies as by kill -9 when that was asked for. */
  void dieAt(String point) {
    if (has("die=" + point)) {
      System.err.println("fault: dying at " + point);
      Runtime.getRuntime().halt(137);
    }
  }
}
