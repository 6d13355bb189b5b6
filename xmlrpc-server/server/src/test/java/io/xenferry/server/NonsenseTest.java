package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Origin;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Every message that the server lists, asked for what makes no sense. */
class NonsenseTest {
  /** These end the session, or wait. */
  private static final Set<String> LEFT_OUT =
      Set.of("session.logout", "session.local_logout", "event.next", "event.from");

  private static final Origin SOMEBODY = new Origin(false, "test");

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

  private static List<String> listed() throws Exception {
    // The client is for answers in their wrapper, which this one comes without.
    return TestServer.texts(
        server.server.dispatcher().call("system.listMethods", List.of(), SOMEBODY).toValue());
  }

  /** Some clients fetch all of whatever is listed. */
  @Test
  void everyClassThatIsListedAnswersAllItsRecords() throws Exception {
    List<String> asked = new ArrayList<>();
    for (String name : listed()) {
      if (name.endsWith(".get_all_records")) {
        assertThat(root.call(name)).as(name).isInstanceOf(Value.Struct.class);
        asked.add(name);
      }
    }
    assertThat(asked).hasSizeGreaterThan(40);
  }

  @Test
  void nonsenseIsNeverAFaultOfTheServer() throws Exception {
    Random random = new Random(1);
    List<Value> values =
        List.of(
            Value.of(""),
            Value.of("OpaqueRef:none"),
            Value.of("x".repeat(100)),
            Value.of("-1"),
            Value.of("\u2603"),
            Value.of(true),
            Value.of(Long.MIN_VALUE),
            Value.of(Double.NaN),
            Value.of(Double.NEGATIVE_INFINITY),
            Value.of(1e308),
            Value.of("9".repeat(30)),
            Value.of(Instant.MAX),
            TestServer.value(List.of()),
            TestServer.value(List.of(List.of())),
            TestServer.value(Map.of()),
            TestServer.value(Map.of("a", List.of())));
    int refused = 0;
    for (String name : listed()) {
      MessageDef m = DataModel.message(name).orElse(null);
      if (m == null || LEFT_OUT.contains(name) || m.poolInternal()) {
        continue;
      }
      for (int round = 0; round < 3; round++) {
        List<Value> params = new ArrayList<>();
        if (m.session()) {
          params.add(Value.of(root.session()));
        }
        for (int i = 0; i < m.params().size(); i++) {
          params.add(values.get(random.nextInt(values.size())));
        }
        try {
          server.server.dispatcher().call(name, params, SOMEBODY);
        } catch (XenApiException e) {
          assertThat(e.code()).as("%s%s: %s", name, params, e).isNotEqualTo("INTERNAL_ERROR");
          refused++;
        }
      }
    }
    assertThat(refused).isGreaterThan(3_000);
    assertThat(root.only("pool")).isNotEmpty();
  }
}
