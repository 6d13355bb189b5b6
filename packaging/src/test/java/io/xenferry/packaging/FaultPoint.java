package io.xenferry.packaging;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;

/**
 * Where a server meets its fault, if that is armed.
 *
 * <p>By SIGKILL nothing happens on the thread any more. By SIGTERM it goes on once the server has
 * begun to stop.
 */
final class FaultPoint {
  private static final long PATIENCE_NANOS = 10_000_000_000L;

  private static final String MET = "points";

  private FaultPoint() {}

  /**
   * @param state the server's state directory
   */
  static void meet(Path state, Fault.Moment moment, String record) {
    try {
      Optional<Fault> fault = Fault.armed(state);
      if (fault.isPresent()
          && fault.get().moment() == moment
          && fault.get().record().equals(record)) {
        Fault.disarm(state);
        end(state, fault.get().signal());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Lets the server note from now on what it meets. */
  static void note(Path state) throws IOException {
    Files.writeString(state.resolve(MET), "");
  }

  /** What it has met since. */
  static Set<String> met(Path state) throws IOException {
    return new LinkedHashSet<>(Files.readAllLines(state.resolve(MET)));
  }

  /** One that may be armed is met. */
  static synchronized void passed(Path state, String record) {
    Path notes = state.resolve(MET);
    if (Files.exists(notes)) {
      try {
        Files.writeString(notes, record + "\n", StandardOpenOption.APPEND);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static void signal(Fault.Signal signal) throws IOException {
    new ProcessBuilder("kill", "-" + signal.name(), Long.toString(ProcessHandle.current().pid()))
        .inheritIO()
        .start();
  }

  private static void end(Path state, Fault.Signal signal) throws IOException {
    switch (signal) {
      case KILL -> {
        signal(signal);
        while (true) {
          LockSupport.park();
        }
      }
      case KILL_GUEST -> GuestProcesses.kill(state);
      case HOLD -> Fault.hold(state);
      case TERM -> {
        signal(signal);
        long end = System.nanoTime() + PATIENCE_NANOS;
        while (Files.exists(state.resolve("ready")) && System.nanoTime() < end) {
          LockSupport.parkNanos(1_000_000);
        }
      }
    }
  }
}
