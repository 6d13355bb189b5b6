package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import io.xenferry.model.db.SqliteDatabase;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The class {@code message}. */
class AlertTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static String pool;
  private static String host;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    pool = root.text("pool.get_uuid", root.only("pool"));
    host = root.text("host.get_uuid", root.only("host"));
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static String alert(String name, String body) throws Exception {
    return root.text("message.create", name, 3, "Pool", pool, body);
  }

  @Test
  void anAlertComesAndGoes() throws Exception {
    String ref = alert("FULL", "nearly <full> & ä");
    assertThat(TestServer.texts(root.call("message.get_all"))).contains(ref);
    Map<String, Value> record = root.record("message", ref);
    assertThat(record)
        .containsOnlyKeys("uuid", "name", "priority", "cls", "obj_uuid", "timestamp", "body")
        .containsEntry("name", Value.of("FULL"))
        .containsEntry("priority", Value.of("3"))
        .containsEntry("cls", Value.of("Pool"))
        .containsEntry("obj_uuid", Value.of(pool))
        .containsEntry("body", Value.of("nearly <full> & ä"));
    assertThat(record.get("timestamp")).isInstanceOf(Value.Time.class);
    String uuid = TestServer.text(record.get("uuid"));
    assertThat(root.text("message.get_by_uuid", uuid)).isEqualTo(ref);
    root.call("message.destroy", ref);
    assertCode("HANDLE_INVALID", () -> root.call("message.get_record", ref));
    assertCode("HANDLE_INVALID", () -> root.call("message.destroy", ref));
    assertCode("UUID_INVALID", () -> root.call("message.get_by_uuid", uuid));
    assertThat(
            assertCode("UUID_INVALID", () -> root.call("message.create", "X", 1, "Host", pool, ""))
                .params())
        .containsExactly("Host", pool);
  }

  @Test
  void theyAreListed() throws Exception {
    String mine = root.text("message.create", "MINE", 1, "Host", host, "");
    Value since = TestServer.value("20260101T00:00:00Z");
    Value never = TestServer.value("20990101T00:00:00Z");
    for (Value all :
        List.of(
            root.call("message.get_all_records"),
            root.call("message.get_all_records_where", "true"),
            root.call("message.get_since", since),
            root.call("message.get", "Host", host, since))) {
      assertThat(((Value.Struct) all).members()).containsKey(mine);
    }
    for (Value none :
        List.of(
            root.call("message.get_since", never),
            root.call("message.get", "Host", host, never),
            root.call("message.get", "Pool", host, since))) {
      assertThat(((Value.Struct) none).members()).doesNotContainKey(mine);
    }
    root.call("message.destroy", mine);
  }

  @Test
  void severalAreDismissedAtOnce() throws Exception {
    String a = alert("A", "");
    String b = alert("B", "");
    String none = "OpaqueRef:none";
    assertCode("HANDLE_INVALID", () -> root.call("message.destroy_many", List.of(a, none)));
    assertThat(root.all("message")).contains(a, b);
    root.call("message.destroy_many", List.of(a, b, a));
    assertThat(root.all("message")).doesNotContain(a, b);
  }

  @Test
  void thoseThatFitAreDismissed() throws Exception {
    String minor = root.text("message.create", "MINOR", 7, "Pool", pool, "");
    String major = root.text("message.create", "MAJOR", 1, "Pool", pool, "");
    root.call("message.destroy_all", Map.of("before", "20200101T00:00:00Z"));
    root.call("message.destroy_all", Map.of("after", "2999-01-01T00:00:00Z"));
    root.call("message.destroy_all", Map.of("priority", "7", "before", "20200101T00:00:00Z"));
    assertThat(root.all("message")).contains(minor, major);
    root.call("message.destroy_all", Map.of("priority", "7", "after", "20200101T00:00:00Z"));
    assertThat(root.all("message")).contains(major).doesNotContain(minor);
    for (Map<String, String> wrong :
        List.of(Map.of("name", "MAJOR"), Map.of("before", "soon"), Map.of("priority", "high"))) {
      assertCode("INVALID_VALUE", () -> root.call("message.destroy_all", wrong));
    }
    assertThat(root.all("message")).contains(major);
    root.call("message.destroy_all", Map.of("before", "29990101T00:00:00Z"));
    assertThat(root.all("message")).isEmpty();
  }

  private static List<String> told(String vm) throws Exception {
    Value all = root.call("message.get", "VM", vm, TestServer.value("20260101T00:00:00Z"));
    return ((Value.Struct) all)
        .members().values().stream()
            .map(m ->
                TestServer.text(TestServer.member(m, "name"))
                    + " "
                    + TestServer.text(TestServer.member(m, "priority"))
                    + " "
                    + TestServer.text(TestServer.member(m, "body")))
            .toList();
  }

  @Test
  void whatIsDoneWithAVmIsTold() throws Exception {
    String vm = root.vm("busy", Map.of());
    String uuid = root.text("VM.get_uuid", vm);
    String onHost = "on host: " + root.text("host.get_name_label", root.only("host"));
    onHost += " (uuid: " + host + ")";
    root.call("VM.start", vm, false, false);
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.start", vm, false, false));
    root.call("VM.pause", vm);
    root.call("VM.unpause", vm);
    root.call("VM.hard_reboot", vm);
    root.call("VM.hard_shutdown", vm);
    String clone = root.text("VM.clone", vm, "other");
    assertThat(told(uuid))
        .containsExactlyInAnyOrder(
            "VM_STARTED 5 VM 'busy' started " + onHost,
            "VM_PAUSED 5 VM 'busy' paused",
            "VM_UNPAUSED 5 VM 'busy' unpaused",
            "VM_REBOOTED 5 VM 'busy' rebooted forcibly",
            "VM_SHUTDOWN 5 VM 'busy' shutdown forcibly",
            "VM_CLONED 5 VM 'busy' cloned (new uuid: " + root.text("VM.get_uuid", clone) + ")");
    root.call("VM.destroy", clone);
    root.call("VM.destroy", vm);
  }

  @Test
  void aCrashIsTold() throws Exception {
    String vm = root.vm("frail", Map.of());
    String uuid = root.text("VM.get_uuid", vm);
    root.call("VM.set_actions_after_crash", vm, "destroy");
    root.call("VM.start", vm, false, false);
    long process =
        Long.parseLong(
            Files.readString(server.directory.resolve("guests").resolve(uuid).resolve("pid"))
                .strip());
    ProcessHandle.of(process).orElseThrow().destroyForcibly();
    await().until(() -> told(uuid).contains("VM_CRASHED 2 VM 'frail' crashed"));
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Halted");
    root.call("VM.destroy", vm);
  }

  @Test
  void whoFollowsEventsIsTold() throws Exception {
    String old = alert("OLD", "");
    Value first = root.call("event.from", List.of("message"), "", 30.0);
    assertThat(events(first)).contains("add " + old);
    String token = TestServer.text(TestServer.member(first, "token"));
    TestServer.Calls legacy = server.calls();
    legacy.call("event.register", List.of("message"));
    String came;
    try (var waiting = Executors.newVirtualThreadPerTaskExecutor()) {
      Callable<Value> from = () -> root.call("event.from", List.of("message"), token, 60.0);
      Future<Value> answer = waiting.submit(from);
      came = alert("NEW", "");
      Value second = answer.get(30, TimeUnit.SECONDS);
      assertThat(events(second)).containsExactly("add " + came);
      Value event = ((Value.Array) TestServer.member(second, "events")).items().getFirst();
      assertThat(TestServer.member(event, "snapshot"))
          .isEqualTo(root.call("message.get_record", came));
    }
    Value next = legacy.call("event.next");
    assertThat(((Value.Array) next).items())
        .singleElement()
        .satisfies(e -> assertThat(TestServer.member(e, "ref")).isEqualTo(Value.of(came)));
    root.call("message.destroy_many", List.of(old, came));
    // What came and went since is told to nobody.
    assertThat(events(root.call("event.from", List.of("message"), token, 30.0)))
        .containsExactly("del " + old);
  }

  private static List<String> events(Value answer) {
    return ((Value.Array) TestServer.member(answer, "events"))
        .items().stream()
            .map(e ->
                TestServer.text(TestServer.member(e, "operation"))
                    + " "
                    + TestServer.text(TestServer.member(e, "ref")))
            .toList();
  }

  @Test
  void theyOutliveARestart(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("pool.db");
    TestServer first = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    TestServer.Calls calls = first.calls();
    String uuid = calls.text("host.get_uuid", calls.only("host"));
    String kept = calls.text("message.create", "KEPT", 5, "Host", uuid, "body");
    String gone = calls.text("message.create", "GONE", 5, "Host", uuid, "body");
    calls.call("message.destroy", gone);
    Map<String, Value> record = calls.record("message", kept);
    first.stop();
    TestServer second = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    TestServer.Calls again = second.calls();
    assertThat(again.all("message")).containsExactly(kept);
    assertThat(again.record("message", kept)).isEqualTo(record);
    second.stop();
  }
}
