package io.xenferry.server.boot;

import io.xenferry.model.Pool;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import io.xenferry.server.vm.VmRecords;
import io.xenferry.spi.XenApi;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Starts VMs once the host has booted: those whose other_config says {@code auto_poweron=true},
 * where the pool's says so too, as with published servers. In their {@code order}, one after
 * another; what cannot be started is logged.
 *
 * <p>Once for each boot: a VM that somebody has shut down since stays so when only the server
 * begins anew. Each is noted as done before it is started, so that one whose start ends the server
 * is not tried for ever, and a server that begins anew in the middle goes on with those that are
 * left. One whose start the end of the server breaks off is among these.
 *
 * <p>One that was moving when the host went down is waited for: whether it is this host's may be
 * known only when another host has answered, and until then the gate refuses to start it. It is
 * looked at again until it may be started, has moved away, or runs.
 */
public final class AutoStart implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(AutoStart.class);

  private static final String KEY = "auto_poweron";

  /**
   * In the state directory: a line with the boot of the host, and one with the uuid of each VM that
   * is still to be started after it.
   */
  private static final String FILE = "booted";

  /** Another one after each boot, random(4). */
  private static final Path BOOT_ID = Path.of("/proc/sys/kernel/random/boot_id");

  /** For a start that is broken off to clear away what it has made. */
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** Whether a VM is still held. */
  private static final Duration LOOK = Duration.ofSeconds(2);

  private final Path stateDirectory;
  private final ObjectDatabase database;
  private final XenApi api;
  private final Sessions sessions;
  private final Predicate<UUID> held;
  private Optional<Thread> starting = Optional.empty();
  private volatile boolean closing;

  /** That whose start is under way, and those whose start has not been tried. */
  private volatile List<Wanted> left = List.of();

  /** That are waited for, by their uuids. */
  private final Set<String> waitedFor = new HashSet<>();

  /**
   * @param api of this server
   * @param held whether a VM, by its uuid, cannot be started for now since a move of it is not over
   */
  public AutoStart(
      Path stateDirectory,
      ObjectDatabase database,
      XenApi api,
      Sessions sessions,
      Predicate<UUID> held) {
    this.held = held;
    this.stateDirectory = stateDirectory;
    this.database = database;
    this.api = api;
    this.sessions = sessions;
  }

  /** Returns at once; the server answers calls already. */
  public void begin() throws IOException {
    String boot = boot();
    Path file = stateDirectory.resolve(FILE);
    if (!Files.exists(file)) {
      // A server that is new here, on a host that may have been up for long.
      note(boot, List.of());
      return;
    }
    List<String> noted = Files.readAllLines(file, StandardCharsets.ISO_8859_1);
    Predicate<Wanted> which;
    if (noted.isEmpty() || !noted.getFirst().strip().equals(boot)) {
      which = vm -> true;
    } else if (noted.size() > 1) {
      Set<String> uuids = Set.copyOf(noted.subList(1, noted.size()));
      which = vm -> uuids.contains(vm.uuid());
    } else {
      return;
    }
    starting = Optional.of(Thread.ofVirtual().name("auto-start").start(() -> run(boot, which)));
  }

  private static String boot() throws IOException {
    return Files.readString(BOOT_ID, StandardCharsets.US_ASCII).strip();
  }

  /** What is noted last is what {@link #close} has seen. */
  private synchronized void noteUnlessClosing(String boot, List<Wanted> vms) throws IOException {
    if (!closing) {
      note(boot, vms);
    }
  }

  private void note(String boot, List<Wanted> vms) throws IOException {
    StringBuilder lines = new StringBuilder(boot).append('\n');
    vms.forEach(vm -> lines.append(vm.uuid()).append('\n'));
    Path written = stateDirectory.resolve(FILE + ".new");
    Files.writeString(written, lines, StandardCharsets.US_ASCII);
    Files.move(
        written,
        stateDirectory.resolve(FILE),
        StandardCopyOption.ATOMIC_MOVE,
        StandardCopyOption.REPLACE_EXISTING);
  }

  private void run(String boot, Predicate<Wanted> which) {
    try {
      List<Wanted> wanted = wanted(database.snapshot()).stream().filter(which).toList();
      note(boot, wanted);
      left = wanted;
    } catch (IOException | XenApiException e) {
      LOG.warn("what is to run after the host's boot does not run", e);
      return;
    }
    try {
      look(boot);
      while (!left.isEmpty() && !closing) {
        Thread.sleep(LOOK);
        look(boot);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // by close
    }
  }

  /** What goes wrong is tried again at the next look. */
  private void look(String boot) {
    try {
      forget(boot);
      startFree(boot);
    } catch (IOException | XenApiException | RuntimeException e) {
      if (!closing) {
        LOG.warn("what is to run after the host's boot is looked at again", e);
      }
    }
  }

  /**
   * Those that have moved away, run, or are not to be started any more. What the record of one says
   * that is held counts for nothing: it may be said to run since before the boot.
   */
  private void forget(String boot) throws IOException, XenApiException {
    Snapshot db = database.snapshot();
    Set<String> uuids = left.stream().map(Wanted::uuid).collect(Collectors.toSet());
    List<Wanted> still = new ArrayList<>();
    for (Wanted vm : wanted(db)) {
      if (uuids.contains(vm.uuid())
          && (isHeld(vm) || db.get(vm.vm(), VM.POWER_STATE) == VmPowerState.HALTED)) {
        still.add(vm);
      }
    }
    if (still.size() < left.size()) {
      left = still;
      noteUnlessClosing(boot, still);
    }
  }

  private static List<Wanted> wanted(Snapshot db) throws XenApiException {
    List<Wanted> wanted = new ArrayList<>();
    Ref<Pool> pool = Ref.of(db.rows("pool").iterator().next().ref());
    if (!isTrue(db.get(pool, Pool.OTHER_CONFIG).get(KEY))) {
      return wanted;
    }
    for (Row row : db.rows("VM")) {
      Ref<VM> vm = Ref.of(row.ref());
      if (isTrue(db.get(vm, VM.OTHER_CONFIG).get(KEY))
          && !db.get(vm, VM.IS_A_TEMPLATE)
          && !db.get(vm, VM.IS_A_SNAPSHOT)
          && !db.get(vm, VM.IS_CONTROL_DOMAIN)) {
        wanted.add(new Wanted(vm, db.get(vm, VM.UUID), db.get(vm, VM.ORDER)));
      }
    }
    wanted.sort(Comparator.comparingLong(Wanted::order));
    return wanted;
  }

  private record Wanted(Ref<VM> vm, String uuid, long order) {}

  private static boolean isTrue(@org.jspecify.annotations.Nullable String value) {
    return value != null && (value.equalsIgnoreCase("true") || value.equals("1"));
  }

  /** Starts those that nothing holds, in their order. */
  private void startFree(String boot) throws IOException, XenApiException {
    List<Wanted> free = new ArrayList<>();
    for (Wanted vm : left) {
      if (!isHeld(vm)) {
        free.add(vm);
      } else if (waitedFor.add(vm.uuid())) {
        LOG.info("VM {} is started once its move is over, if it is here then", vm.uuid());
      }
    }
    if (free.isEmpty()) {
      return;
    }
    Session session = sessions.openRoot("auto-start");
    try {
      for (Wanted vm : free) {
        if (closing) {
          return;
        }
        List<Wanted> others = left.stream().filter(other -> !other.equals(vm)).toList();
        noteUnlessClosing(boot, others);
        if (start(session, vm)) {
          left = others;
        } else {
          noteUnlessClosing(boot, left);
        }
      }
    } finally {
      sessions.close(session.ref());
    }
  }

  /** Also when that cannot be told. */
  private boolean isHeld(Wanted wanted) {
    Snapshot db = database.snapshot();
    Ref<VM> vm = wanted.vm();
    try {
      return held.test(UUID.fromString(wanted.uuid()))
          || db.get(vm, VM.OTHER_CONFIG).containsKey(VmRecords.MIGRATION_KEY)
          || !db.get(vm, VM.CURRENT_OPERATIONS).isEmpty();
    } catch (XenApiException e) {
      return false; // it is gone
    } catch (RuntimeException e) {
      LOG.warn("whether VM {} is held cannot be told for now", wanted.uuid(), e);
      return true;
    }
  }

  /**
   * @return whether that was it; false when it is to be tried again
   */
  private boolean start(Session session, Wanted wanted) {
    Ref<VM> vm = wanted.vm();
    try {
      if (database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.HALTED) {
        api.call(
            "VM.start", Value.of(session.ref()), Value.of(vm), Value.of(false), Value.of(false));
      }
      return true;
    } catch (XenApiException e) {
      if (closing) {
        LOG.info("the start of VM {} is left to the next server: {}", vm, e.toString());
        return false;
      }
      if (e.code().equals("OTHER_OPERATION_IN_PROGRESS")) { // which has begun just now
        LOG.info("the start of VM {} is tried again: {}", vm, e.toString());
        return false;
      }
      LOG.warn("VM {} is not started after the host's boot", vm, e);
      return true;
    }
  }

  /** Breaks off; those that do not run by then are the next server's. */
  @Override
  public void close() {
    if (starting.isEmpty()) {
      return;
    }
    synchronized (this) {
      closing = true;
    }
    starting.get().interrupt();
    try {
      if (!starting.get().join(PATIENCE)) {
        LOG.warn("the start of a VM after the host's boot does not end");
      }
      List<Wanted> broken = left;
      if (!broken.isEmpty()) {
        note(boot(), broken);
      }
    } catch (IOException e) {
      LOG.warn("the next server does not know which VMs are still to be started", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
