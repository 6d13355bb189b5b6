package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.State;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import java.time.Instant;
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
  private final CountDownLatch stopped = new CountDownLatch(1);
  private TwoHosts hosts;
  private Traveller t;

  @BeforeEach
  void start() throws Exception {
    hosts = TwoHosts.startDurable();
    t = hosts.traveller("traveller", 1);
    t.start();
  }

  @AfterEach
  void stop() throws Exception {
    hosts.close();
  }

  /** Does something at the source when a move comes that far, and holds it there meanwhile. */
  private void at(Predicate<MigrationStatus> moment, Runnable action) {
    AtomicBoolean done = new AtomicBoolean();
    hosts
        .here
        .server
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
    return hosts.source.text("task.get_status", task);
  }

  /** What the VM is busy with, by task. */
  private Map<String, Value> operations() throws Exception {
    return ((Value.Struct) hosts.source.call("VM.get_current_operations", t.vm())).members();
  }

  private double progress(String task) throws Exception {
    return ((Value.Real) hosts.source.call("task.get_progress", task)).value();
  }

  @Test
  void aMoveThatGoesOnFinishesItsTaskWithTheVm() throws Exception {
    at(s -> s.state() == State.COMMITTING, () -> stopServer(hosts.there, stopped));
    String task = t.moveAsync();
    assertThat(stopped.await(60, TimeUnit.SECONDS)).isTrue();
    double before = progress(task);
    hosts.restartSource();
    assertThat(status(task)).isEqualTo("pending");
    assertThat(progress(task)).isGreaterThanOrEqualTo(before).isGreaterThan(0.9);
    assertThat(TestServer.texts(hosts.source.call("task.get_allowed_operations", task))).isEmpty();
    assertThat(operations()).containsEntry(task, Value.of("migrate_send"));
    hosts.restartDestination();
    hosts.awaitSuccess(task);
    assertThat(progress(task)).isEqualTo(1);
    String moved = hosts.destination.text("VM.get_by_uuid", t.uuid());
    assertThat(hosts.source.text("task.get_result", task))
        .isEqualTo("<value>" + moved + "</value>");
    assertThat(hosts.destination.text("VM.get_power_state", moved)).isEqualTo("Running");
  }

  @Test
  void aMoveThatGoesOnInItsCopyKeepsItsTask() throws Exception {
    CountDownLatch copying = new CountDownLatch(1);
    at(s -> s.phase().equals("copying the disks"), copying::countDown);
    String task = t.moveAsync("bandwidth", Integer.toString(64 << 10));
    assertThat(copying.await(60, TimeUnit.SECONDS)).isTrue();
    hosts.restartSource();
    assertThat(status(task)).isEqualTo("pending");
    assertThat(operations()).containsEntry(task, Value.of("migrate_send"));
    hosts.source.call("task.cancel", task);
    assertThat(hosts.awaitEnd(task)).isEqualTo("cancelled");
    assertThat(t.powerState()).isEqualTo("Running");
    assertThat(operations()).isEmpty();
  }

  private static Map<String, Value> said(TestServer.Calls server, String vm) throws Exception {
    Value all = server.call("message.get", "VM", vm, Value.of(Instant.EPOCH));
    return ((Value.Struct) all).members();
  }

  @Test
  void whatADestinationWasToldOfAVmThatStaysGoesAlsoWithTheServerThatComesAfter() throws Exception {
    Traveller halted = hosts.traveller("halted", 1);
    String vm = halted.uuid();
    String note = hosts.source.text("message.create", "NOTE", 3, "VM", vm, "stay");
    String task = hosts.begin(halted, 64 << 10);
    assertThat(said(hosts.destination, vm)).containsKey(note);
    hosts.restartDestination();
    assertThat(said(hosts.destination, vm)).containsKey(note);
    hosts.source.call("task.cancel", task);
    assertThat(hosts.awaitEnd(task)).isEqualTo("cancelled");
    await().atMost(TwoHosts.LONG).until(() -> said(hosts.destination, vm).isEmpty());
    assertThat(said(hosts.source, vm)).containsKey(note);
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
    hosts
        .here
        .server
        .coordinator()
        .listen(s -> {
          if (s.phase().equals("copying the disks")) {
            copying.countDown();
          }
        });
    String task = t.moveAsync("bandwidth", Integer.toString(64 << 10));
    assertThat(copying.await(60, TimeUnit.SECONDS)).isTrue();
    hosts.source.call("task.cancel", task);
    assertThat(cancelled.await(60, TimeUnit.SECONDS)).isTrue();
    hosts.restartSource();
    assertThat(hosts.awaitEnd(task)).isEqualTo("cancelled");
    assertThat(t.powerState()).isEqualTo("Running");
  }

  @Test
  void aTaskOfNoMoveIsLostWithItsServer() throws Exception {
    String task =
        hosts
            .here
            .server
            .context()
            .tasks()
            .start("work", "", Ref.nullRef(), "root", Ref.nullRef())
            .ref();
    hosts.restartSource();
    assertThat(status(task)).isEqualTo("failure");
    assertThat(TestServer.texts(hosts.source.call("task.get_error_info", task)))
        .startsWith("INTERNAL_ERROR");
  }
}
