package io.xenferry.packaging;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import java.util.Optional;

/**
 * When a server, or its guest, is to end: before or after it writes a record, by a signal. It is
 * written into the server's state directory; the server takes it away as it obeys.
 *
 * @param record as {@link FatalLedger} names what is written
 */
record Fault(Moment moment, String record, Signal signal) {
  enum Moment {
    BEFORE,
    AFTER
  }

  enum Signal {
    KILL,
    TERM,
    /** SIGKILL to the processes of the server's guests; the server itself goes on. */
    KILL_GUEST
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

  @Override
  public String toString() {
    return "SIG" + signal + " " + moment.name().toLowerCase(Locale.ROOT) + " " + record;
  }
}
