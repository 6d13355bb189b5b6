package io.xenferry.guest;

import io.xenferry.guest.ledger.LedgerEntry;
import io.xenferry.guest.ledger.LedgerReader;
import io.xenferry.guest.ledger.LedgerWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The main program of a simulated guest: {@code --qmp SOCKET [--monitor SOCKET]... --pidfile FILE
 * --spec FILE [--paused | --incoming]}. Runs until {@code quit}, a signal, or a fault; exit status
 * 1 when it could not start or the memory that came in was no good, 3 when a disk or the ledger
 * failed.
 */
public final class SimulatedGuest {
  /** Before the number of a further monitor. */
  private static final String MONITOR = "monitor ";

  private SimulatedGuest() {}

  /** See the class. */
  public static void main(String[] arguments) {
    try {
      Map<String, String> options = options(arguments);
      start(options);
    } catch (IOException | QmpError | IllegalArgumentException e) {
      System.err.println("the guest cannot start: " + e.getMessage());
      Runtime.getRuntime().halt(1);
    }
  }

  private static Map<String, String> options(String[] arguments) {
    Map<String, String> options = new HashMap<>();
    int monitors = 0;
    for (int i = 0; i < arguments.length; i++) {
      switch (arguments[i]) {
        case "--paused", "--incoming" -> options.put(arguments[i], "");
        case "--qmp", "--monitor", "--pidfile", "--spec", "--serial" -> {
          if (i + 1 == arguments.length) {
            throw new IllegalArgumentException(arguments[i] + " needs a value");
          }
          String option = arguments[i].equals("--monitor") ? MONITOR + monitors++ : arguments[i];
          options.put(option, arguments[++i]);
        }
        default -> throw new IllegalArgumentException("unknown option " + arguments[i]);
      }
    }
    return options;
  }

  private static Path path(Map<String, String> options, String name) {
    String value = options.get(name);
    if (value == null) {
      throw new IllegalArgumentException(name + " is missing");
    }
    return Path.of(value);
  }

  private static void start(Map<String, String> options) throws IOException, QmpError {
    Files.writeString(
        path(options, "--pidfile"), Long.toString(ProcessHandle.current().pid()) + "\n");
    GuestSettings settings = GuestSettings.read(path(options, "--spec"));
    boolean incoming = options.containsKey("--incoming");
    List<GuestDisk> disks = new ArrayList<>();
    for (GuestSettings.Disk disk : settings.disks()) {
      GuestDisk opened = new GuestDisk(disks.size(), disk);
      if (!incoming) {
        opened.activate();
      }
      disks.add(opened);
    }
    RunGate gate = new RunGate();
    Throttle throttle = new Throttle(0);
    Throttle writes = new Throttle(0);
    Optional<Workload> workload = Optional.empty();
    if (settings.ledger().isPresent()) {
      Path ledger = settings.ledger().get();
      long last = !incoming && Files.exists(ledger) ? lastSequence(ledger) : 0;
      Workload work =
          new Workload(settings, disks, new LedgerWriter(ledger), gate, throttle, writes);
      work.continueAfter(last);
      workload = Optional.of(work);
    }
    Machine machine =
        new Machine(
            settings,
            disks,
            gate,
            workload,
            throttle,
            writes,
            incoming ? RunState.INMIGRATE : RunState.PRELAUNCH);
    if (!incoming) {
      machine.memory.fillAll(settings.vm().getMostSignificantBits());
    }
    QmpCommands commands = new QmpCommands(machine);
    List<QmpServer> monitors = new ArrayList<>();
    monitors.add(new QmpServer(path(options, "--qmp"), commands));
    for (int i = 0; options.containsKey(MONITOR + i); i++) {
      monitors.add(new QmpServer(path(options, MONITOR + i), commands));
    }
    machine.tellEventsTo((name, payload) -> monitors.forEach(m -> m.event(name, payload)));
    if (options.containsKey("--serial")) {
      new SerialPort(path(options, "--serial"), settings.name()).start();
    }
    if (!incoming && !options.containsKey("--paused")) {
      machine.run();
    }
    monitors.forEach(QmpServer::start);
  }

  private static long lastSequence(Path ledger) throws IOException {
    AtomicLong last = new AtomicLong();
    LedgerReader.read(
        ledger,
        entry -> {
          if (entry.type() == LedgerEntry.Type.WRITE || entry.type() == LedgerEntry.Type.START) {
            last.accumulateAndGet(entry.sequence(), Math::max);
          }
        });
    return last.get();
  }
}
