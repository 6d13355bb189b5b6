package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.db.SqliteDatabase;
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
