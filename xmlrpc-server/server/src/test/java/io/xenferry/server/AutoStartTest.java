package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.SqliteLedger;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.server.boot.AutoStart;
import io.xenferry.spi.XenApi;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** VMs that are to run whenever the host does. */
class AutoStartTest {
  private Path directory;
  private String host = "";
  private TestServer server;
  private TestServer.Calls root;

  @BeforeEach
  void start() throws Exception {
    directory = Files.createTempDirectory("xenferry");
    server = TestServer.startAt("127.0.0.1", directory, database());
    root = server.calls();
  }

  @AfterEach
  void stop() throws Exception {
    server.close();
  }

  private ObjectDatabase database() throws Exception {
    return SqliteDatabase.open(directory.resolve("pool.db"));
  }

  /** The server begins anew, and so has the host, or not. */
  private void again(boolean booted) throws Exception {
    if (booted) {
      Files.writeString(directory.resolve("booted"), "a boot before this one\n");
    }
    server = server.again(this::database);
    root = server.calls();
  }

  private String boot() throws Exception {
    return Files.readString(directory.resolve("booted")).strip();
  }

  private String vm(String name, String auto, int order) throws Exception {
    String vm = root.vm(name, Map.of());
    root.call("VM.set_order", vm, order);
    root.call("VM.add_to_other_config", vm, "auto_poweron", auto);
    return vm;
  }

  private String state(String vm) throws Exception {
    return root.text("VM.get_power_state", vm);
  }

  @Test
  void thoseThatAreToRunRunAfterABoot() throws Exception {
    String now = Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
    assertThat(boot()).isEqualTo(now);
    root.call("pool.add_to_other_config", root.only("pool"), "auto_poweron", "true");
    String broken = vm("broken", "true", 0);
    root.call("VM.add_to_blocked_operations", broken, "start", "not yet");
    String last = vm("last", "true", 2);
    String first = vm("first", "true", 1);
    String other = vm("other", "false", 1);

    again(false);
    assertThat(boot()).isEqualTo(now);
    assertThat(state(first)).isEqualTo("Halted");

    again(true);
    await().atMost(Duration.ofSeconds(60)).until(() -> state(last).equals("Running"));
    assertThat(boot()).isEqualTo(now);
    assertThat(state(first)).isEqualTo("Running");
    assertThat(state(other)).isEqualTo("Halted");
    assertThat(state(broken)).isEqualTo("Halted");
    assertThat(startTime(first)).as("one after the other").isLessThanOrEqualTo(startTime(last));

    root.call("VM.hard_shutdown", first);
    again(false);
    assertThat(state(first)).as("somebody has shut it down").isEqualTo("Halted");
    assertThat(state(last)).isEqualTo("Running");
  }

  @Test
  void aServerThatBeginsAnewGoesOnWithWhatIsLeft() throws Exception {
    String now = boot();
    root.call("pool.add_to_other_config", root.only("pool"), "auto_poweron", "true");
    String done = vm("done", "true", 1);
    String left = vm("left", "true", 2);
    Files.writeString(
        directory.resolve("booted"), now + "\n" + root.text("VM.get_uuid", left) + "\ngone\n");

    again(false);

    await().atMost(Duration.ofSeconds(60)).until(() -> state(left).equals("Running"));
    assertThat(boot()).isEqualTo(now);
    assertThat(state(done)).as("somebody has shut it down").isEqualTo("Halted");
  }

  @Test
  void eachIsNotedAsDoneBeforeItIsStarted(@TempDir Path other) throws Exception {
    String now = boot();
    root.call("pool.add_to_other_config", root.only("pool"), "auto_poweron", "true");
    vm("first", "true", 1);
    String second = root.text("VM.get_uuid", vm("second", "true", 2));
    Path file = other.resolve("booted");
    Files.writeString(file, "a boot before this one\n");
    Queue<List<String>> noted = new ConcurrentLinkedQueue<>();
    XenApi api =
        (method, params) -> {
          try {
            noted.add(Files.readAllLines(file));
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
          throw new XenApiException("INTERNAL_ERROR", "it does not start");
        };
    var context = server.server.context();
    try (AutoStart starts =
        new AutoStart(other, context.db(), api, context.sessions(), vm -> false)) {
      starts.begin();
      await().atMost(Duration.ofSeconds(60)).until(() -> noted.size() == 2);
    }
    assertThat(noted).containsExactly(List.of(now, second), List.of(now));
  }

  @Test
  void aStartThatTheServersEndBreaksOffIsTheNextOnes(@TempDir Path other) throws Exception {
    String now = boot();
    root.call("pool.add_to_other_config", root.only("pool"), "auto_poweron", "true");
    vm("done", "true", 1);
    String broken = root.text("VM.get_uuid", vm("broken", "true", 2));
    String after = root.text("VM.get_uuid", vm("after", "true", 3));
    Path file = other.resolve("booted");
    Files.writeString(file, "a boot before this one\n");
    AtomicInteger calls = new AtomicInteger();
    XenApi api =
        (method, params) -> {
          if (calls.incrementAndGet() == 1) {
            return Value.VOID;
          }
          try {
            new CountDownLatch(1).await();
            throw new AssertionError("nobody counts");
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new XenApiException("TASK_CANCELLED", "OpaqueRef:NULL").withCause(e);
          }
        };
    var context = server.server.context();
    try (AutoStart starts =
        new AutoStart(other, context.db(), api, context.sessions(), vm -> false)) {
      starts.begin();
      await().atMost(Duration.ofSeconds(60)).until(() -> calls.get() == 2);
      assertThat(Files.readAllLines(file)).containsExactly(now, after);
    }
    assertThat(Files.readAllLines(file)).containsExactly(now, broken, after);
  }

  @Test
  void oneWhoseMoveIsNotOverIsStartedOnceItIs(@TempDir Path other) throws Exception {
    String now = boot();
    root.call("pool.add_to_other_config", root.only("pool"), "auto_poweron", "true");
    String moving = root.text("VM.get_uuid", vm("moving", "true", 1));
    String gone = vm("gone", "true", 2);
    root.text("VM.get_uuid", vm("free", "true", 3));
    Path file = other.resolve("booted");
    Files.writeString(file, "a boot before this one\n");
    Set<UUID> held = ConcurrentHashMap.newKeySet();
    held.add(UUID.fromString(moving));
    held.add(UUID.fromString(root.text("VM.get_uuid", gone)));
    Queue<String> started = new ConcurrentLinkedQueue<>();
    AtomicBoolean busy = new AtomicBoolean(true);
    XenApi api =
        (method, params) -> {
          String vm = root.text("VM.get_name_label", TestServer.text(params.get(1)));
          if (vm.equals("moving") && busy.getAndSet(false)) {
            throw new XenApiException("OTHER_OPERATION_IN_PROGRESS", "VM", vm);
          }
          started.add(vm);
          return Value.VOID;
        };
    var context = server.server.context();
    try (AutoStart starts =
        new AutoStart(other, context.db(), api, context.sessions(), held::contains)) {
      starts.begin();
      await().atMost(Duration.ofSeconds(60)).until(() -> started.contains("free"));
      await().atMost(Duration.ofSeconds(60)).until(() -> Files.readAllLines(file).size() == 3);
      assertThat(Files.readAllLines(file)).startsWith(now, moving);
      // The other one has moved.
      root.call("VM.destroy", gone);
      await()
          .atMost(Duration.ofSeconds(60))
          .until(() -> Files.readAllLines(file).equals(List.of(now, moving)));
      held.clear();
      await().atMost(Duration.ofSeconds(60)).until(() -> started.contains("moving"));
    }
    assertThat(started).containsExactly("free", "moving");
    assertThat(busy).as("it was tried twice").isFalse();
    assertThat(Files.readAllLines(file)).containsExactly(now);
  }

  /** Its guest is gone with the power, and whether it is here only the destination knows. */
  private void moving(String uuid, State state) throws Exception {
    UUID vm = UUID.fromString(uuid);
    Plan plan = new Plan(vm, vm, "vm", Plan.Power.RUNNING, 0, List.of(), false, false, Map.of());
    LedgerRow row =
        new LedgerRow(
            new MigrationId(UUID.randomUUID()),
            Role.SOURCE,
            vm,
            state,
            "https://127.0.0.1:9",
            "ab".repeat(32),
            UUID.randomUUID(),
            "ab".repeat(32),
            "",
            StrictJson.text(plan),
            "{}",
            Optional.empty(),
            false,
            false,
            false,
            false,
            "a boot before this one",
            Instant.now(),
            Instant.now(),
            Instant.now().plus(Duration.ofHours(1)),
            0);
    try (Ledger ledger =
        SqliteLedger.open(
            directory.resolve("ledger.db"),
            directory.resolve("ledger.marker"),
            host,
            new SecureRandomness(),
            Instant::now)) {
      ledger.insert(row);
    }
  }

  @Test
  void oneWhoseMoveThePowersEndBrokeOffIsStartedWhenItIsKnownToBeHere() throws Exception {
    root.call("pool.add_to_other_config", root.only("pool"), "auto_poweron", "true");
    String vm = vm("moving", "true", 1);
    String uuid = root.text("VM.get_uuid", vm);
    host = root.text("host.get_uuid", root.only("host"));
    Files.writeString(directory.resolve("booted"), "a boot before this one\n");
    server =
        server.again(() -> {
          moving(uuid, State.SENDING);
          return database();
        });
    root = server.calls();
    var coordinator = server.server.coordinator();
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> coordinator.statuses().getFirst().state() == State.OWNED);
    assertThat(coordinator.statuses().getFirst().outcome().orElseThrow())
        .contains("this host was restarted");
    await().atMost(Duration.ofSeconds(60)).until(() -> boot().contains(uuid));
    assertThat(state(vm)).isEqualTo("Halted");

    coordinator.forceResume(coordinator.statuses().getFirst().migration(), "root").get();

    await().atMost(Duration.ofSeconds(60)).until(() -> state(vm).equals("Running"));
    await().atMost(Duration.ofSeconds(60)).until(() -> !boot().contains(uuid));
  }

  @Test
  void oneThatIsSaidToRunSinceBeforeTheBootIsStartedWhenItIsKnownToBeHere() throws Exception {
    root.call("pool.add_to_other_config", root.only("pool"), "auto_poweron", "true");
    String vm = vm("committing", "true", 1);
    String uuid = root.text("VM.get_uuid", vm);
    host = root.text("host.get_uuid", root.only("host"));
    root.call("VM.start", vm, false, false);
    String before = startTime(vm);
    Files.writeString(directory.resolve("booted"), "a boot before this one\n");
    server =
        server.again(() -> {
          server.destroyGuests();
          moving(uuid, State.COMMITTING);
          return database();
        });
    root = server.calls();
    var coordinator = server.server.coordinator();
    assertThat(state(vm)).as("nobody knows better").isIn("Running", "Paused");
    await()
        .during(Duration.ofSeconds(5))
        .atMost(Duration.ofSeconds(60))
        .until(() -> boot().contains(uuid));

    coordinator.forceResume(coordinator.statuses().getFirst().migration(), "root").get();

    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> state(vm).equals("Running") && !startTime(vm).equals(before));
    assertThat(boot()).doesNotContain(uuid);
  }

  private String startTime(String vm) throws Exception {
    return root.call("VM_metrics.get_start_time", root.text("VM.get_metrics", vm)).toString();
  }

  @Test
  void nothingStartsWhereThePoolDoesNotSaySo() throws Exception {
    String now = boot();
    String vm = vm("alone", "true", 0);
    again(true);
    await().atMost(Duration.ofSeconds(60)).until(() -> boot().equals(now));
    assertThat(state(vm)).isEqualTo("Halted");
  }
}
