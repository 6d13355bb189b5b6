package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.server.call.Origin;
import io.xenferry.wire.Content;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class EventTest {
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
  void theFirstAnswerHoldsEverything() throws Exception {
    Value all = root.call("event.from", List.of("*"), "", 30.0);
    List<Value> events = ((Value.Array) TestServer.member(all, "events")).items();
    assertThat(events)
        .allSatisfy(
            e -> assertThat(TestServer.text(TestServer.member(e, "operation"))).isEqualTo("add"));
    Value pool = events.stream().filter(e -> of(e, "pool")).findFirst().orElseThrow();
    assertThat(TestServer.member(pool, "snapshot"))
        .isEqualTo(root.call("pool.get_record", root.only("pool")));
    assertThat(TestServer.text(TestServer.member(pool, "timestamp"))).isEqualTo("0.0");
    assertThat(TestServer.member(TestServer.member(all, "valid_ref_counts"), "task"))
        .isEqualTo(Value.of(0L));
  }

  @Test
  void aChangeWakesAWaitingCall() throws Exception {
    String pool = root.only("pool");
    String token = token("pool");
    CompletableFuture<Value> waiting = waiting(root, List.of("pool"), token, 60);
    root.call("pool.set_name_description", pool, "changed " + System.nanoTime());
    Value answer = waiting.get(20, TimeUnit.SECONDS);
    List<Value> events = ((Value.Array) TestServer.member(answer, "events")).items();
    assertThat(events).hasSize(1);
    assertThat(TestServer.text(TestServer.member(events.getFirst(), "operation"))).isEqualTo("mod");
  }

  @Test
  void onlyTheSubscribedObjectCountsAndDeletionsAreTold() throws Exception {
    String a = root.text("network.create", RecordsTest.network("a"));
    String b = root.text("network.create", RecordsTest.network("b"));
    String token = token("network");
    root.call("network.set_name_label", a, "a2");
    root.call("network.destroy", b);
    Value one = root.call("event.from", List.of("network/" + b), token, 10.0);
    List<Value> events = ((Value.Array) TestServer.member(one, "events")).items();
    assertThat(events).hasSize(1);
    assertThat(TestServer.text(TestServer.member(events.getFirst(), "operation"))).isEqualTo("del");
    assertThat(TestServer.text(TestServer.member(events.getFirst(), "ref"))).isEqualTo(b);
    assertThat(((Value.Struct) events.getFirst()).members()).doesNotContainKey("snapshot");
  }

  @Test
  void whatCameAndWentIsNotTold() throws Exception {
    String token = token("network");
    root.call("network.destroy", root.text("network.create", RecordsTest.network("brief")));
    Value answer = root.call("event.from", List.of("network"), token, 0.2);
    assertThat(((Value.Array) TestServer.member(answer, "events")).items()).isEmpty();
  }

  @Test
  void aTimeoutAnswersNothingAndOutlastsTheIdleTimeout() throws Exception {
    try (TestServer impatient =
        TestServer.start(
            Files.createTempDirectory("xenferry"),
            MemoryDatabase.create(),
            TestServer.limits(Duration.ofSeconds(2)))) {
      TestServer.Calls calls = impatient.calls();
      Value first = calls.call("event.from", List.of("VGPU"), "", 0.0);
      long start = System.nanoTime();
      Value answer = calls.call("event.from", List.of("VGPU"), tokenOf(first), 3.5);
      assertThat(Duration.ofNanos(System.nanoTime() - start)).isGreaterThan(Duration.ofSeconds(3));
      assertThat(((Value.Array) TestServer.member(answer, "events")).items()).isEmpty();
      assertThat(tokenOf(answer)).matches("[0-9]{20},[0-9]{20}");
    }
  }

  @Test
  void withoutATokenItWaitsForTheFirstOfItsObjects() throws Exception {
    CompletableFuture<Value> waiting = waiting(root, List.of("VMSS"), "", 60);
    CompletableFuture<Value> brief = waiting(root, List.of("VGPU"), "", 1);
    Value nothing = brief.get(20, TimeUnit.SECONDS);
    assertThat(((Value.Array) TestServer.member(nothing, "events")).items()).isEmpty();
    assertThat(waiting).isNotDone();
    server.server.context().db().write(tx -> tx.create("VMSS", Map.of()));
    Value answer = waiting.get(20, TimeUnit.SECONDS);
    assertThat(((Value.Array) TestServer.member(answer, "events")).items())
        .singleElement()
        .satisfies(
            e -> assertThat(TestServer.text(TestServer.member(e, "operation"))).isEqualTo("add"));
  }

  @Test
  void logoutWakesTheSessionsCalls() throws Exception {
    TestServer.Calls other = server.calls();
    CompletableFuture<Value> waiting = waiting(other, List.of("VGPU"), token("VGPU"), 60);
    other.call("session.logout");
    assertThat(waiting)
        .failsWithin(Duration.ofSeconds(20))
        .withThrowableOfType(ExecutionException.class)
        .withMessageContaining("SESSION_INVALID");
  }

  @Test
  void anInjectedChangeIsAFence() throws Exception {
    String pool = root.only("pool");
    String token = root.text("event.inject", "pool", pool);
    Value answer = root.call("event.from", List.of("pool"), token, 10.0);
    assertThat(((Value.Array) TestServer.member(answer, "events")).items()).isNotEmpty();
    assertThat(TestServer.text(TestServer.member(answer, "token"))).isGreaterThan(token);
    assertCode("HANDLE_INVALID", () -> root.call("event.inject", "pool", "OpaqueRef:x"));
  }

  @Test
  void theOldInterfaceWorks() throws Exception {
    TestServer.Calls other = server.calls();
    assertCode("SESSION_NOT_REGISTERED", () -> other.call("event.next"));
    other.call("event.register", List.of("pool"));
    String pool = root.only("pool");
    root.call("pool.set_name_description", pool, "n " + System.nanoTime());
    List<Value> events = ((Value.Array) other.call("event.next")).items();
    assertThat(events)
        .isNotEmpty()
        .allSatisfy(e ->
            assertThat(Double.parseDouble(TestServer.text(TestServer.member(e, "timestamp"))))
                .as("seconds since the epoch")
                .isBetween(1.7e9, 1e11));
    other.call("event.unregister", List.of("pool"));
    assertCode("SESSION_NOT_REGISTERED", () -> other.call("event.next"));
    assertThat(Long.parseLong(root.text("event.get_current_id"))).isPositive();
  }

  @Test
  void nonsenseIsRefused() {
    assertCode(
        "EVENT_FROM_TOKEN_PARSE_FAILURE",
        () -> root.call("event.from", List.of("*"), "nonsense", 1.0));
    assertCode(
        "EVENT_SUBSCRIPTION_PARSE_FAILURE", () -> root.call("event.from", List.of("/"), "", 1.0));
  }

  @Test
  void manyWaitAtOnce() throws Exception {
    String token = token("pool");
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> all = new ArrayList<>();
      for (int i = 0; i < 1000; i++) {
        all.add(
            threads.submit(() ->
                server.server.context().events().from(root.session(), List.of("pool"), token, 30)));
      }
      root.call("pool.set_name_description", root.only("pool"), "many " + System.nanoTime());
      for (Future<?> f : all) {
        f.get(30, TimeUnit.SECONDS);
      }
    }
  }

  /** A span that is none is a day, as published servers have it: the call waits. */
  @Test
  void aTimeoutThatIsNoSpanIsLong() throws Exception {
    String token = token("pool");
    List<Future<Content>> all = new ArrayList<>();
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (String timeout : List.of("nan", "inf", "-inf", "-1", "1e300")) {
        all.add(
            threads.submit(() ->
                server
                    .server
                    .dispatcher()
                    .call(
                        "event.from",
                        List.of(
                            Value.of(root.session()),
                            TestServer.value(List.of("pool")),
                            Value.of(token),
                            Value.of(timeout)),
                        new Origin(false, "test"))));
      }
      root.call("pool.set_name_description", root.only("pool"), "span " + System.nanoTime());
      for (Future<Content> f : all) {
        assertThat(
                ((Value.Array) TestServer.member(f.get(30, TimeUnit.SECONDS).toValue(), "events"))
                    .items())
            .as("it ended by the change, not by the timeout")
            .isNotEmpty();
      }
    }
    assertCode("INVALID_VALUE", () -> root.call("event.from", List.of("pool"), token, "soon"));
  }

  private static boolean of(Value event, String className) {
    return TestServer.text(TestServer.member(event, "class")).equals(className);
  }

  private static String token(String className) throws XenApiException {
    return tokenOf(root.call("event.from", List.of(className), "", 0.0));
  }

  private static String tokenOf(Value answer) {
    return TestServer.text(TestServer.member(answer, "token"));
  }

  private static CompletableFuture<Value> waiting(
      TestServer.Calls calls, List<String> classes, String token, double timeout) {
    CompletableFuture<Value> answer = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            answer.complete(calls.call("event.from", classes, token, timeout));
          } catch (XenApiException e) {
            answer.completeExceptionally(e);
          }
        });
    return answer;
  }
}
