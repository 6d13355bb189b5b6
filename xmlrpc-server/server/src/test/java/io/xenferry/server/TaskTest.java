package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.server.task.Task;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class TaskTest {
  private static TestServer server;
  private static TestServer.Calls root;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  @Test
  void anAsynchronousCallAnswersATaskWithTheResult() throws Exception {
    String task = root.text("Async.network.create", RecordsTest.network("a"));
    await().until(() -> !root.text("task.get_status", task).equals("pending"));
    Value record = root.call("task.get_record", task);
    assertThat(TestServer.text(TestServer.member(record, "status"))).isEqualTo("success");
    assertThat(TestServer.text(TestServer.member(record, "name_label")))
        .isEqualTo("Async.network.create");
    assertThat(TestServer.member(record, "progress")).isEqualTo(Value.of(1.0));
    String result = TestServer.text(TestServer.member(record, "result"));
    assertThat(result).matches("<value>OpaqueRef:[-0-9a-f]{36}</value>");
    root.call("network.get_record", result.substring(7, 53));
    root.call("task.destroy", task);
    assertCode("HANDLE_INVALID", () -> root.call("task.get_record", task));
  }

  @Test
  void aFailureIsInTheTask() throws Exception {
    String task = root.text("Async.network.destroy", "OpaqueRef:none");
    await().until(() -> root.text("task.get_status", task).equals("failure"));
    assertThat(TestServer.texts(root.call("task.get_error_info", task)))
        .containsExactly("HANDLE_INVALID", "network", "OpaqueRef:none");
    assertThat(root.text("task.get_result", task)).isEmpty();
  }

  @Test
  void someMessagesHaveNoAsynchronousForm() {
    assertCode("Fault", () -> root.call("Async.task.create", "a", "b"));
    assertCode("Fault", () -> root.call("Async.VM.get_record", "OpaqueRef:x"));
    assertCode("MESSAGE_METHOD_UNKNOWN", () -> root.call("Async.VM_start", "OpaqueRef:x"));
  }

  @Test
  void aClientKeepsATaskOfItsOwn() throws Exception {
    String task = root.text("task.create", "upload", "mine");
    root.call("task.set_progress", task, 0.5);
    assertThat(root.call("task.get_progress", task)).isEqualTo(Value.of(0.5));
    for (Object none : List.of("nan", "-inf", "1e999", "0.5d", "")) {
      assertCode("INVALID_VALUE", () -> root.call("task.set_progress", task, none));
    }
    assertThat(root.call("task.get_progress", task)).isEqualTo(Value.of(0.5));
    root.call("task.set_result", task, "<value>x</value>");
    root.call("task.set_error_info", task, List.of());
    root.call("task.add_to_other_config", task, "k", "v");
    root.call("task.set_status", task, "success");
    assertThat(root.text("task.get_status", task)).isEqualTo("success");
    Value completed = root.call("task.get_record", task);
    root.call("task.set_status", task, "failure");
    root.call("task.set_status", task, "pending");
    root.call("task.set_result", task, "<value>y</value>");
    root.call("task.set_error_info", task, List.of("INTERNAL_ERROR"));
    root.call("task.set_progress", task, 0.1);
    assertThat(root.call("task.get_record", task))
        .as("the first completion wins")
        .isEqualTo(completed);
    root.call("task.destroy", task);
    assertCode("HANDLE_INVALID", () -> root.call("task.get_record", task));
  }

  @Test
  void progressIsBetweenNothingAndAll() throws Exception {
    String task = root.text("task.create", "upload", "");
    root.call("task.set_progress", task, 5.0);
    assertThat(root.call("task.get_progress", task)).isEqualTo(Value.of(1.0));
    root.call("task.set_progress", task, -1.0);
    assertThat(root.call("task.get_progress", task)).isEqualTo(Value.of(0.0));
    root.call("task.set_status", task, "failure");
    root.call("task.destroy", task);
  }

  @Test
  void aTaskUnderWayGoesWhenItEnds() throws Exception {
    String task = root.text("task.create", "upload", "");
    root.call("task.destroy", task);
    assertThat(root.text("task.get_status", task)).isEqualTo("pending");
    assertThat(((Value.Struct) root.call("task.get_current_operations", task)).members())
        .containsValue(Value.of("destroy"));
    root.call("task.set_result", task, "<value>x</value>");
    root.call("task.set_status", task, "success");
    assertCode("HANDLE_INVALID", () -> root.call("task.get_record", task));
  }

  @Test
  void whatCannotBeCancelledIsNot() throws Exception {
    Task work =
        server.server.context().tasks().start("work", "", Ref.nullRef(), "root", Ref.nullRef());
    assertThat(TestServer.texts(root.call("task.get_allowed_operations", work.ref()))).isEmpty();
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("task.cancel", work.ref()));
    assertThat(((Value.Struct) root.call("task.get_current_operations", work.ref())).members())
        .isEmpty();
    work.throwIfCancelled();
    work.cancellable(true);
    work.pastCancelling();
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("task.cancel", work.ref()));
    work.pastCancelling();
    server.server.context().tasks().succeed(work.ref(), "<value></value>");
    root.call("task.cancel", work.ref());
    assertThat(root.text("task.get_status", work.ref())).isEqualTo("success");
    root.call("task.destroy", work.ref());
  }

  @Test
  void cancelReachesTheWork() throws Exception {
    Task work =
        server.server.context().tasks().start("work", "", Ref.nullRef(), "root", Ref.nullRef());
    CountDownLatch cancelled = new CountDownLatch(1);
    work.onCancel(cancelled::countDown);
    work.cancellable(true);
    assertThat(TestServer.texts(root.call("task.get_allowed_operations", work.ref())))
        .containsExactly("cancel");
    root.call("task.cancel", work.ref());
    assertThat(cancelled.getCount()).isZero();
    assertThat(((Value.Struct) root.call("task.get_current_operations", work.ref())).members())
        .containsValue(Value.of("cancel"));
    assertCode("TASK_CANCELLED", work::throwIfCancelled);
    server
        .server
        .context()
        .tasks()
        .fail(work.ref(), new io.xenferry.model.XenApiException("TASK_CANCELLED", work.ref()));
    assertThat(root.text("task.get_status", work.ref())).isEqualTo("cancelled");
  }

  @Test
  void workThatGoesOnSaysSoToWhoCancels() throws Exception {
    Task work =
        server.server.context().tasks().start("work", "", Ref.nullRef(), "root", Ref.nullRef());
    CompletableFuture<Void> decision = new CompletableFuture<>();
    CountDownLatch asked = new CountDownLatch(1);
    work.cancellable(true);
    work.onCancelAsk(() -> {
      asked.countDown();
      return decision;
    });
    Thread decides =
        Thread.ofVirtual()
            .start(() -> {
              try {
                asked.await();
                decision.completeExceptionally(new IllegalStateException("too late"));
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            });
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("task.cancel", work.ref()));
    decides.join();
    work.throwIfCancelled();
    assertThat(root.call("task.get_current_operations", work.ref())).isEqualTo(Value.EMPTY_STRUCT);
    server.server.context().tasks().succeed(work.ref(), "<value></value>");
    assertThat(root.text("task.get_status", work.ref())).isEqualTo("success");
  }

  @Test
  void aClientsTaskIsCancelledAtOnceAndOthersMayNotTouchIt() throws Exception {
    String task = root.text("task.create", "upload", "");
    server.server.context().users().put("erin", "vm-admin", "some-password");
    TestServer.Calls erin =
        new TestServer.Calls(
            server.api,
            TestServer.text(
                server.api.call(
                    "session.login_with_password", Value.of("erin"), Value.of("some-password"))));
    assertCode("RBAC_PERMISSION_DENIED", () -> erin.call("task.cancel", task));
    root.call("task.cancel", task);
    assertThat(root.text("task.get_status", task)).isEqualTo("cancelled");
  }

  private static TestServer.Calls login(TestServer at, String user, String role) throws Exception {
    at.server.context().users().put(user, role, "some-password");
    return new TestServer.Calls(
        at.api,
        TestServer.text(
            at.api.call("session.login_with_password", Value.of(user), Value.of("some-password"))));
  }

  @Test
  void whatOthersKeepWithTheirTasksStays() throws Exception {
    TestServer.Calls frank = login(server, "frank", "vm-admin");
    String task = root.text("task.create", "upload", "");
    root.call("task.add_to_other_config", task, "k", "v");
    Value kept = root.call("task.get_other_config", task);
    assertCode("RBAC_PERMISSION_DENIED", () -> frank.call("task.set_other_config", task, Map.of()));
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> frank.call("task.add_to_other_config", task, "a", "b"));
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> frank.call("task.remove_from_other_config", task, "k"));
    assertThat(root.call("task.get_other_config", task)).isEqualTo(kept);

    String own = frank.text("task.create", "upload", "");
    frank.call("task.set_other_config", own, Map.of("a", "b"));
    frank.call("task.add_to_other_config", own, "XenCenterUUID", "c");
    frank.call("task.remove_from_other_config", own, "a");
    assertThat(frank.call("task.get_other_config", own))
        .isEqualTo(TestServer.value(Map.of("XenCenterUUID", "c")));
    login(server, "grace", "pool-operator").call("task.set_other_config", own, Map.of());
    frank.call("task.set_status", own, "success");
    frank.call("task.destroy", own);
  }

  @Test
  void whatTheServerNotesOfATaskIsForNobodyElse() throws Exception {
    Task work =
        server.server.context().tasks().start("work", "", Ref.nullRef(), "root", Ref.nullRef());
    work.note("migration", "one");
    root.call("task.set_other_config", work.ref(), Map.of("migration", "another"));
    root.call("task.remove_from_other_config", work.ref(), "migration");
    assertThat(server.server.context().tasks().pendingWith("migration"))
        .containsEntry(work.ref(), "one");
    assertThat(((Value.Struct) root.call("task.get_record", work.ref())).members())
        .doesNotContainKey("server_notes");
    server.server.context().tasks().succeed(work.ref(), "<value></value>");
  }

  @Test
  void aTaskIsItsOwnersAlsoAfterARestart() throws Exception {
    Path directory = Files.createTempDirectory("xenferry");
    Path file = directory.resolve("pool.db");
    TestServer before = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    String task = login(before, "frank", "vm-power-admin").text("task.create", "upload", "");
    try (TestServer after = before.again(() -> SqliteDatabase.open(file))) {
      TestServer.Calls other = login(after, "erin", "vm-power-admin");
      assertCode("RBAC_PERMISSION_DENIED", () -> other.call("task.destroy", task));
      TestServer.Calls frank = login(after, "frank", "vm-power-admin");
      frank.call("task.cancel", task);
      frank.call("task.destroy", task);
      assertCode("HANDLE_INVALID", () -> frank.call("task.get_record", task));
    }
  }

  @Test
  void progressNeverGoesBack() throws Exception {
    Task work = server.server.context().tasks().start("work", "", Ref.nullRef(), "", Ref.nullRef());
    work.progress(0.5);
    work.progress(0.2);
    assertThat(root.call("task.get_progress", work.ref())).isEqualTo(Value.of(0.5));
    server.server.context().tasks().succeed(work.ref(), "<value></value>");
    assertThat(Map.of("p", root.call("task.get_progress", work.ref())))
        .containsEntry("p", Value.of(1.0));
  }
}
