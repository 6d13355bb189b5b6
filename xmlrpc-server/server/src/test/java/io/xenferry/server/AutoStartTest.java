package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

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
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** VMs that are to run whenever the host does. */
class AutoStartTest {
  private Path directory;
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
    try (AutoStart starts = new AutoStart(other, context.db(), api, context.sessions())) {
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
    try (AutoStart starts = new AutoStart(other, context.db(), api, context.sessions())) {
      starts.begin();
      await().atMost(Duration.ofSeconds(60)).until(() -> calls.get() == 2);
      assertThat(Files.readAllLines(file)).containsExactly(now, after);
    }
    assertThat(Files.readAllLines(file)).containsExactly(now, broken, after);
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
