package io.xenferry.packaging;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/**
 * When a server, or its guest, is to end: before or after it writes a record, by a signal. It is
 * written into the server's state directory; the server takes it away as it obeys.
 *
 * @param record as {@link FatalLedger} names what is written, or {@link FatalPorts} what is done
 */
record Fault(Moment moment, String record, Signal signal) {
  private static final String HELD = "held";

  enum Moment {
    BEFORE,
    AFTER
  }

  enum Signal {
    KILL,
    TERM,
    /** SIGKILL to the processes of the server's guests; the server itself goes on. */
    KILL_GUEST,
    /** None: it stands there until it is told to go on, so that others can do something to it. */
    HOLD
  }

  private static Path file(Path state) {
    return state.resolve("fault");
  }

  /** Lets the server of the state directory meet this fault. */
  void arm(Path state) throws IOException {
    Path aside = state.resolve("fault.new");
    Files.writeString(aside, moment + "\n" + record + "\n" + signal);
    Files.move(aside, file(state), StandardCopyOption.ATOMIC_MOVE);
  }

  static Optional<Fault> armed(Path state) throws IOException {
    if (!Files.exists(file(state))) {
      return Optional.empty();
    }
    String[] lines = Files.readString(file(state)).split("\n", -1);
    return Optional.of(new Fault(Moment.valueOf(lines[0]), lines[1], Signal.valueOf(lines[2])));
  }

  static void disarm(Path state) throws IOException {
    Files.deleteIfExists(file(state));
  }

  /** Whether the server stands at a fault that holds it. */
  static boolean holds(Path state) {
    return Files.exists(state.resolve(HELD));
  }

  /** Lets a server go on that stands there. */
  static void release(Path state) throws IOException {
    Files.deleteIfExists(state.resolve(HELD));
  }

  /** Stands until it is told to go on. */
  static void hold(Path state) throws IOException {
    Files.createFile(state.resolve(HELD));
    while (holds(state)) {
      LockSupport.parkNanos(1_000_000);
    }
  }

  @Override
  public String toString() {
    return "SIG" + signal + " " + moment.name().toLowerCase(Locale.ROOT) + " " + record;
  }
}
