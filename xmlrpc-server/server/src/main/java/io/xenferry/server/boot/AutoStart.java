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
import io.xenferry.spi.XenApi;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Starts VMs once the host has booted: those whose other_config says {@code auto_poweron=true},
 * where the pool's says so too, as with published servers. In their {@code order}, one after
 * another; what cannot be started is logged.
 *
 * <p>Once for each boot: a VM that somebody has shut down since stays so when only the server
 * begins anew.
 */
public final class AutoStart implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(AutoStart.class);

  private static final String KEY = "auto_poweron";

  /** In the state directory: the boot of the host after which all has been started. */
  private static final String FILE = "booted";

  /** Another one after each boot, random(4). */
  private static final Path BOOT_ID = Path.of("/proc/sys/kernel/random/boot_id");

  private final Path stateDirectory;
  private final ObjectDatabase database;
  private final XenApi api;
  private final Sessions sessions;
  private Optional<Thread> starting = Optional.empty();

  /**
   * @param api of this server
   */
  public AutoStart(Path stateDirectory, ObjectDatabase database, XenApi api, Sessions sessions) {
    this.stateDirectory = stateDirectory;
    this.database = database;
    this.api = api;
    this.sessions = sessions;
  }

  /** Returns at once; the server answers calls already. */
  public void begin() throws IOException {
    String boot = Files.readString(BOOT_ID, StandardCharsets.US_ASCII).strip();
    Path file = stateDirectory.resolve(FILE);
    if (!Files.exists(file)) {
      // A server that is new here, on a host that may have been up for long.
      note(boot);
    } else if (!Files.readString(file, StandardCharsets.US_ASCII).strip().equals(boot)) {
      starting = Optional.of(Thread.ofVirtual().name("auto-start").start(() -> run(boot)));
    }
  }

  private void note(String boot) throws IOException {
    Path written = stateDirectory.resolve(FILE + ".new");
    Files.writeString(written, boot + "\n", StandardCharsets.US_ASCII);
    Files.move(
        written,
        stateDirectory.resolve(FILE),
        StandardCopyOption.ATOMIC_MOVE,
        StandardCopyOption.REPLACE_EXISTING);
  }

  private void run(String boot) {
    try {
      List<Ref<VM>> wanted = wanted(database.snapshot());
      if (!wanted.isEmpty()) {
        start(wanted);
      }
      if (!Thread.currentThread().isInterrupted()) {
        note(boot);
      }
    } catch (IOException | XenApiException e) {
      LOG.warn("what is to run after the host's boot may not run", e);
    }
  }

  private static List<Ref<VM>> wanted(Snapshot db) throws XenApiException {
    List<Ref<VM>> wanted = new ArrayList<>();
    Ref<Pool> pool = Ref.of(db.rows("pool").iterator().next().ref());
    if (!isTrue(db.get(pool, Pool.OTHER_CONFIG).get(KEY))) {
      return wanted;
    }
    List<Ordered> found = new ArrayList<>();
    for (Row row : db.rows("VM")) {
      Ref<VM> vm = Ref.of(row.ref());
      if (isTrue(db.get(vm, VM.OTHER_CONFIG).get(KEY))
          && !db.get(vm, VM.IS_A_TEMPLATE)
          && !db.get(vm, VM.IS_A_SNAPSHOT)
          && !db.get(vm, VM.IS_CONTROL_DOMAIN)) {
        found.add(new Ordered(vm, db.get(vm, VM.ORDER)));
      }
    }
    found.sort(Comparator.comparingLong(Ordered::order));
    found.forEach(ordered -> wanted.add(ordered.vm()));
    return wanted;
  }

  private record Ordered(Ref<VM> vm, long order) {}

  private static boolean isTrue(@org.jspecify.annotations.Nullable String value) {
    return value != null && (value.equalsIgnoreCase("true") || value.equals("1"));
  }

  private void start(List<Ref<VM>> wanted) throws XenApiException {
    Session session = sessions.openRoot("auto-start");
    try {
      for (Ref<VM> vm : wanted) {
        if (Thread.currentThread().isInterrupted()) {
          return;
        }
        try {
          if (database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.HALTED) {
            api.call(
                "VM.start",
                Value.of(session.ref()),
                Value.of(vm),
                Value.of(false),
                Value.of(false));
          }
        } catch (XenApiException e) {
          LOG.warn("VM {} is not started after the host's boot", vm, e);
        }
      }
    } finally {
      sessions.close(session.ref());
    }
  }

  /** What is not started by then the next server starts. */
  @Override
  public void close() {
    starting.ifPresent(Thread::interrupt);
  }
}
