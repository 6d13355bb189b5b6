package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.State;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Servers that are started anew while a VM moves: what its task says afterwards. */
class RestartTest {
  private static final long SIZE = 4 << 20;
  private static final Duration LONG = Duration.ofSeconds(60);

  private final CountDownLatch stopped = new CountDownLatch(1);
  private TestServer here;
  private TestServer there;
  private TestServer.Calls source;
  private TestServer.Calls destination;
  private String vm;
  private String uuid;

  @BeforeEach
  void start() throws Exception {
    Path hereDirectory = Files.createTempDirectory("xenferry");
    Path thereDirectory = Files.createTempDirectory("xenferry");
    here = TestServer.startAt("127.0.0.1", hereDirectory, database(hereDirectory));
    there = TestServer.startAt("127.0.0.2", thereDirectory, database(thereDirectory));
    source = here.calls();
    destination = there.calls();
    String from = source.sr(here.directory.resolve("sr"));
    vm =
        source.vm(
            "traveller",
            Map.of(
                "xenferry:workload-rate",
                Integer.toString(64 << 10),
                "xenferry:memory-dirty-rate",
                Integer.toString(64 << 10)));
    uuid = source.text("VM.get_uuid", vm);
    String vdi = source.vdi(from, "disk", SIZE);
    DiskFiller.fill(
        StorageTest.image(here.directory.resolve("sr"), source.text("VDI.get_uuid", vdi)),
        0,
        new FillPattern(SIZE, 60, 7),
        here.directory.resolve("ledger"));
    source.vbd(vm, vdi, 0);
    source.call("VM.start", vm, false, false);
  }

  @AfterEach
  void stop() throws Exception {
    try {
      there.close();
    } finally {
      here.close();
    }
  }

  private static ObjectDatabase database(Path directory) throws Exception {
    return SqliteDatabase.open(directory.resolve("pool.db"));
  }

  private String move(Map<String, String> options) throws Exception {
    String to = destination.sr(there.directory.resolve("sr"));
    String vdi =
        source.text("VBD.get_VDI", TestServer.texts(source.call("VM.get_VBDs", vm)).getFirst());
    return source.text(
        "Async.VM.migrate_send",
        vm,
        destination.call(
            "host.migrate_receive",
            destination.only("host"),
            destination.only("network"),
            Map.of()),
        true,
        Map.of(vdi, to),
        Map.of(),
        options);
  }

  private void restartSource() throws Exception {
    here = here.again(() -> database(here.directory));
    source = here.calls();
  }

  private void restartDestination() throws Exception {
    there = there.again(() -> database(there.directory));
    destination = there.calls();
  }

  /** Does something at the source when a move comes that far, and holds it there meanwhile. */
  private void at(Predicate<MigrationStatus> moment, Runnable action) {
    AtomicBoolean done = new AtomicBoolean();
    here.server
        .coordinator()
        .listen(status -> {
          if (moment.test(status) && done.compareAndSet(false, true)) {
            action.run();
          }
        });
  }

  private static void stopServer(TestServer server, CountDownLatch then) {
    try {
      server.stop();
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
    then.countDown();
  }

  private String status(String task) throws Exception {
    return source.text("task.get_status", task);
  }

  private double progress(String task) throws Exception {
    return ((Value.Real) source.call("task.get_progress", task)).value();
  }

  @Test
  void aMoveThatGoesOnFinishesItsTaskWithTheVm() throws Exception {
    at(s -> s.state() == State.COMMITTING, () -> stopServer(there, stopped));
    String task = move(Map.of());
    assertThat(stopped.await(60, TimeUnit.SECONDS)).isTrue();
    double before = progress(task);
    restartSource();
    assertThat(status(task)).isEqualTo("pending");
    assertThat(progress(task)).isGreaterThanOrEqualTo(before).isGreaterThan(0.9);
    assertThat(TestServer.texts(source.call("task.get_allowed_operations", task))).isEmpty();
    assertThat(((Value.Struct) source.call("VM.get_current_operations", vm)).members())
        .containsEntry(task, Value.of("migrate_send"));
    restartDestination();
    await().atMost(LONG).until(() -> !status(task).equals("pending"));
    assertThat(status(task)).isEqualTo("success");
    assertThat(progress(task)).isEqualTo(1);
    String moved = destination.text("VM.get_by_uuid", uuid);
    assertThat(source.text("task.get_result", task)).isEqualTo("<value>" + moved + "</value>");
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
  }

  @Test
  void aMoveThatGoesOnInItsCopyKeepsItsTask() throws Exception {
    CountDownLatch copying = new CountDownLatch(1);
    at(s -> s.phase().equals("copying the disks"), copying::countDown);
    String task = move(Map.of("bandwidth", Integer.toString(64 << 10)));
    assertThat(copying.await(60, TimeUnit.SECONDS)).isTrue();
    restartSource();
    assertThat(status(task)).isEqualTo("pending");
    assertThat(((Value.Struct) source.call("VM.get_current_operations", vm)).members())
        .containsEntry(task, Value.of("migrate_send"));
    source.call("task.cancel", task);
    await().atMost(LONG).until(() -> !status(task).equals("pending"));
    assertThat(status(task)).isEqualTo("cancelled");
    assertThat(source.text("VM.get_power_state", vm)).isEqualTo("Running");
    assertThat(((Value.Struct) source.call("VM.get_current_operations", vm)).members()).isEmpty();
  }

  @Test
  void aCancelledMoveIsCancelledAlsoWhenTheServerDidNotLiveToSeeIt() throws Exception {
    CountDownLatch cancelled = new CountDownLatch(1);
    CountDownLatch copying = new CountDownLatch(1);
    at(
        s -> s.state() == State.OWNED,
        () -> {
          cancelled.countDown();
          try {
            // Until the server is closed, which interrupts this.
            new CountDownLatch(1).await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        });
    here.server
        .coordinator()
        .listen(s -> {
          if (s.phase().equals("copying the disks")) {
            copying.countDown();
          }
        });
    String task = move(Map.of("bandwidth", Integer.toString(64 << 10)));
    assertThat(copying.await(60, TimeUnit.SECONDS)).isTrue();
    source.call("task.cancel", task);
    assertThat(cancelled.await(60, TimeUnit.SECONDS)).isTrue();
    restartSource();
    await().atMost(LONG).until(() -> !status(task).equals("pending"));
    assertThat(status(task)).isEqualTo("cancelled");
    assertThat(source.text("VM.get_power_state", vm)).isEqualTo("Running");
  }

  @Test
  void aTaskOfNoMoveIsLostWithItsServer() throws Exception {
    String task =
        here.server.context().tasks().start("work", "", Ref.nullRef(), "root", Ref.nullRef()).ref();
    restartSource();
    assertThat(status(task)).isEqualTo("failure");
    assertThat(TestServer.texts(source.call("task.get_error_info", task)))
        .startsWith("INTERNAL_ERROR");
  }
}
