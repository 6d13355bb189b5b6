package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.NodeList;

/** The figures of a simulated guest and of this host, over HTTP and by messages. */
class RrdTest {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private static TestServer server;
  private static TestServer.Calls root;
  private static HttpClient client;
  private static String sr;
  private static String vm;
  private static String uuid;
  private static long start;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    client = HttpClient.newHttpClient();
    sr = root.sr(server.directory.resolve("sr"));
    vm = root.vm("busy", Map.of("xenferry:ledger", server.directory.resolve("busy").toString()));
    root.vbd(vm, root.vdi(sr, "busy", 4 << 20), 0);
    root.call("VM.start", vm, false, false);
    uuid = root.text("VM.get_uuid", vm);
    start = System.currentTimeMillis() / 1000 - 60;
    await()
        .atMost(PATIENCE)
        .until(() ->
            get("/rrd_updates?cf=AVERAGE&start=" + start)
                .body()
                .contains("<entry>AVERAGE:vm:" + uuid + ":vbd_xvda_write</entry>"));
  }

  @AfterAll
  static void stop() throws Exception {
    client.close();
    server.close();
  }

  private static HttpResponse<String> get(String target) throws Exception {
    return anonymous(target + (target.contains("?") ? "&" : "?") + "session_id=" + root.session());
  }

  private static HttpResponse<String> anonymous(String target, String... headers) throws Exception {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(
            URI.create("http://" + server.address + ":" + server.httpPort() + target));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
  }

  private static Document xml(String target) throws Exception {
    HttpResponse<String> response = get(target);
    assertThat(response.statusCode()).isEqualTo(200);
    assertThat(response.headers().firstValue("Content-Type")).contains("text/xml");
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new ByteArrayInputStream(response.body().getBytes(StandardCharsets.UTF_8)));
  }

  private static List<String> texts(Document document, String name) {
    NodeList nodes = document.getElementsByTagName(name);
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < nodes.getLength(); i++) {
      texts.add(nodes.item(i).getTextContent());
    }
    return texts;
  }

  @Test
  void whatIsNewIsToldAsXmlNewestFirst() throws Exception {
    Document all = xml("/rrd_updates?host=true&start=" + start);
    assertThat(all.getDocumentElement().getTagName()).isEqualTo("xport");
    assertThat(texts(all, "step")).containsExactly("5");
    List<String> legend = texts(all, "entry");
    assertThat(legend)
        .contains(
            "AVERAGE:vm:" + uuid + ":cpu0",
            "AVERAGE:vm:" + uuid + ":memory",
            "AVERAGE:host:" + root.text("host.get_uuid", root.only("host")) + ":memory_free_kib")
        .noneMatch(name -> name.contains(":sr:"));
    assertThat(texts(all, "columns")).containsExactly(Integer.toString(legend.size()));
    List<Long> times = texts(all, "t").stream().map(Long::valueOf).toList();
    assertThat(texts(all, "rows")).containsExactly(Integer.toString(times.size()));
    assertThat(times).isSortedAccordingTo((a, b) -> Long.compare(b, a)).allMatch(t -> t > start);
    assertThat(texts(all, "end")).containsExactly(Long.toString(times.getFirst()));
    assertThat(texts(all, "v")).hasSize(legend.size() * times.size());
    int memory = legend.indexOf("AVERAGE:vm:" + uuid + ":memory");
    assertThat(texts(all, "v").get(memory)).isEqualTo(Long.toString(64 << 20));
    assertThat(texts(all, "v")).contains("NaN");
  }

  @Test
  void whatIsNewIsToldAsJson() throws Exception {
    HttpResponse<String> response =
        get("/rrd_updates?cf=AVERAGE&host=true&json=true&vm_uuid=none&interval=60&start=" + start);
    assertThat(response.headers().firstValue("Content-Type")).contains("application/json");
    JsonNode json = new ObjectMapper().readTree(response.body());
    JsonNode meta = json.path("meta");
    assertThat(meta.path("step").asLong()).isEqualTo(60);
    assertThat(meta.path("columns").asInt()).isEqualTo(meta.path("legend").size());
    assertThat(meta.path("rows").asInt()).isEqualTo(json.path("data").size());
    assertThat(meta.path("legend")).allMatch(n -> n.asText().startsWith("AVERAGE:host:"));
    JsonNode row = json.path("data").path(0);
    assertThat(row.path("t").asLong()).isEqualTo(meta.path("end").asLong());
    assertThat(row.path("values").size()).isEqualTo(meta.path("legend").size());
  }

  @Test
  void figuresOfStorageAreToldWhenAskedFor() throws Exception {
    String of = root.text("SR.get_uuid", sr);
    await()
        .atMost(PATIENCE)
        .until(() ->
            get("/rrd_updates?vm_uuid=none&sr_uuid=" + of + "&start=" + start)
                .body()
                .contains("<entry>AVERAGE:sr:" + of + ":write</entry>"));
    assertThat(texts(xml("/sr_rrd?uuid=" + of), "name")).contains("write");
  }

  @Test
  void whatItsDiskTakesUpFollowsTheGuest() throws Exception {
    String vdi = TestServer.texts(root.call("SR.get_VDIs", sr)).getFirst();
    await()
        .atMost(PATIENCE)
        .until(() -> Long.parseLong(root.text("VDI.get_physical_utilisation", vdi)) >= 1 << 20);
  }

  @Test
  void thereIsAWholeArchiveOfEachObject() throws Exception {
    Document rrd = xml("/vm_rrd?uuid=" + uuid);
    assertThat(rrd.getDocumentElement().getTagName()).isEqualTo("rrd");
    assertThat(texts(rrd, "name")).contains("cpu0", "memory", "vbd_xvda_write");
    assertThat(texts(rrd, "pdp_per_row")).startsWith("1", "12", "12", "12", "720").hasSize(10);
    assertThat(texts(rrd, "cf")).startsWith("AVERAGE", "AVERAGE", "MIN", "MAX");
    assertThat(texts(rrd, "row")).hasSize(120 + 3 * (120 + 168 + 366));
    JsonNode json = new ObjectMapper().readTree(get("/host_rrd?json=true").body());
    assertThat(json.path("ds").findValuesAsText("name")).contains("memory_total_kib", "cpu_avg");
    assertThat(json.path("rra").path(0).path("database").size()).isEqualTo(120);
  }

  @Test
  void whoMayNotSeeThemIsRefused() throws Exception {
    String basic =
        "Basic "
            + Base64.getEncoder()
                .encodeToString(("root:" + server.password).getBytes(StandardCharsets.UTF_8));
    String target = "/rrd_updates?start=" + start;
    assertThat(anonymous(target, "Authorization", basic).statusCode()).isEqualTo(200);
    HttpResponse<String> refused = anonymous(target);
    assertThat(refused.statusCode()).isEqualTo(401);
    assertThat(refused.headers().firstValue("WWW-Authenticate")).isPresent();
    assertThat(anonymous(target + "&session_id=none").statusCode()).isEqualTo(401);
    assertThat(anonymous(target, "Authorization", "Basic *").statusCode()).isEqualTo(401);
    assertThat(anonymous("/vm_rrd?uuid=" + uuid).statusCode()).isEqualTo(401);
  }

  @Test
  void aClientsTaskEndsWithItsRequest() throws Exception {
    String done = root.text("task.create", "a download", "");
    assertThat(get("/rrd_updates?start=" + start + "&task_id=" + done).statusCode()).isEqualTo(200);
    await().atMost(PATIENCE).until(() -> status(done).equals("success"));
    assertThat(get("/rrd_updates?start=" + start + "&task_id=" + done).statusCode())
        .as("once only")
        .isEqualTo(400);
    String failed = root.text("task.create", "a download", "");
    assertThat(get("/rrd_updates?start=x&task_id=" + failed).statusCode()).isEqualTo(400);
    await().atMost(PATIENCE).until(() -> status(failed).equals("failure"));
    assertThat(get("/rrd_updates?start=" + start + "&task_id=OpaqueRef:x").statusCode())
        .isEqualTo(400);
    // One who may read figures may not end what others do.
    String others = root.text("task.create", "a download", "");
    server.server.context().users().put("reader", "read-only", "some-password");
    String word =
        "Basic "
            + Base64.getEncoder()
                .encodeToString("reader:some-password".getBytes(StandardCharsets.UTF_8));
    assertThat(
            anonymous("/rrd_updates?start=" + start + "&task_id=" + others, "Authorization", word)
                .statusCode())
        .isEqualTo(403);
    assertThat(status(others)).isEqualTo("pending");
  }

  private static String status(String task) throws Exception {
    return root.text("task.get_status", task);
  }

  @Test
  void nonsenseIsRefused() throws Exception {
    assertThat(get("/rrd_updates").statusCode()).isEqualTo(400);
    for (String wrong : List.of("x", "-1", "99999999999999999999", "1&interval=x")) {
      assertThat(get("/rrd_updates?start=" + wrong).statusCode()).as(wrong).isEqualTo(400);
    }
    assertThat(get("/rrd_updates?start=1.5").statusCode()).isEqualTo(200);
    assertThat(get("/rrd_updates/more?start=1").statusCode()).isEqualTo(404);
    assertThat(get("/vm_rrd").statusCode()).isEqualTo(400);
    assertThat(get("/vm_rrd?uuid=none").statusCode()).isEqualTo(404);
    assertThat(get("/vm_rrd?uuid=..%252F..%252Fx").statusCode()).isEqualTo(404);
  }

  @Test
  void whatIsWrongIsSaid() throws Exception {
    assertThat(get("/rrd_updates?start=x").body()).contains("<p>start must be a time");
    assertThat(get("/rrd_updates?start=1&interval=x").body()).contains("<p>interval must be");
    assertThat(get("/vm_rrd").body()).contains("<p>uuid must");
  }

  /** As from the published server: it has no archive of LAST either, and ignores other words. */
  @Test
  void aFunctionThatIsNotKeptIsRefusedAndOneThatIsNoneMeansAll() throws Exception {
    HttpResponse<String> last = get("/rrd_updates?cf=LAST&start=" + start);
    assertThat(last.statusCode()).isEqualTo(400);
    assertThat(last.body()).contains("AVERAGE, MIN and MAX");
    assertThat(texts(xml("/rrd_updates?cf=FOO&interval=60&start=" + start), "entry"))
        .contains(
            "AVERAGE:vm:" + uuid + ":memory",
            "MIN:vm:" + uuid + ":memory",
            "MAX:vm:" + uuid + ":memory");
  }

  @Test
  void dataSourcesAreListedAndAsked() throws Exception {
    Value cpu =
        ((Value.Array) root.call("VM.get_data_sources", vm))
            .items().stream()
                .filter(v -> TestServer.text(TestServer.member(v, "name_label")).equals("cpu0"))
                .findFirst()
                .orElseThrow();
    assertThat(TestServer.text(TestServer.member(cpu, "units"))).isEqualTo("(fraction)");
    assertThat(TestServer.member(cpu, "max")).isEqualTo(Value.of(1.0));
    assertThat(root.call("VM.query_data_source", vm, "memory"))
        .isEqualTo(Value.of((double) (64 << 20)));
    assertThat(number(root.call("VM.query_data_source", vm, "vbd_xvda_write"))).isPositive();
    assertCode("INVALID_VALUE", () -> root.call("VM.query_data_source", vm, "cpu77"));
    assertCode("HANDLE_INVALID", () -> root.call("VM.query_data_source", "none", "cpu0"));
    String halted = root.vm("halted", Map.of());
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.query_data_source", halted, "cpu0"));

    String host = root.only("host");
    assertThat(number(root.call("host.query_data_source", host, "memory_total_kib"))).isPositive();
    assertThat(((Value.Array) root.call("host.get_data_sources", host)).items()).isNotEmpty();
    assertThat(((Value.Array) root.call("SR.get_data_sources", sr)).items()).isNotNull();
    await()
        .atMost(PATIENCE)
        .ignoreExceptionsInstanceOf(XenApiException.class)
        .until(() -> number(root.call("SR.query_data_source", sr, "write")) >= 0);
  }

  private static double number(Value value) {
    return ((Value.Real) value).value();
  }

  @Test
  void thePastOfAFigureIsForgotten() throws Exception {
    root.call("VM.forget_data_source_archives", vm, "cpu_usage");
    assertThat(texts(xml("/vm_rrd?uuid=" + uuid), "name")).doesNotContain("cpu_usage");
    assertThat(number(root.call("VM.query_data_source", vm, "cpu_usage"))).isNotNegative();
    root.call("VM.record_data_source", vm, "cpu_usage");
    await()
        .atMost(PATIENCE)
        .until(() -> texts(xml("/vm_rrd?uuid=" + uuid), "name").contains("cpu_usage"));
    String host = root.only("host");
    root.call("host.forget_data_source_archives", host, "loadavg");
    root.call("host.record_data_source", host, "loadavg");
    assertCode("INVALID_VALUE", () -> root.call("host.record_data_source", host, "none"));
    assertCode("INVALID_VALUE", () -> root.call("SR.record_data_source", sr, "none"));
    assertCode("INVALID_VALUE", () -> root.call("SR.forget_data_source_archives", sr, "none"));
  }

  @Test
  void figuresAreWrittenWhenAskedFor() throws Exception {
    String host = root.only("host");
    Path file =
        server
            .directory
            .resolve("rrd")
            .resolve("host-" + root.text("host.get_uuid", host) + ".rrd");
    for (double delay : new double[] {0, 0.1}) {
      Files.deleteIfExists(file);
      root.call("host.backup_rrds", host, delay);
      await().until(() -> Files.exists(file));
    }
    assertCode("INVALID_VALUE", () -> root.call("host.backup_rrds", host, -1.0));
    assertCode("INVALID_VALUE", () -> root.call("host.backup_rrds", host, 1e9));
    assertCode("HANDLE_INVALID", () -> root.call("host.backup_rrds", "OpaqueRef:x", 0.0));
  }

  @Test
  void theRecordsTellOfUse() throws Exception {
    String metrics = root.text("VM.get_metrics", vm);
    await()
        .atMost(PATIENCE)
        .until(() ->
            !((Value.Struct) root.record("VM_metrics", metrics).get("VCPUs_utilisation"))
                .members()
                .isEmpty());
    Map<String, Value> record = root.record("VM_metrics", metrics);
    assertThat(record.get("hvm")).isEqualTo(Value.of(true));
    assertThat(record.get("current_domain_type")).isEqualTo(Value.of("hvm"));
    assertThat(record.get("memory_actual")).isEqualTo(Value.of("67108864"));
    for (String time : new String[] {"start_time", "install_time", "last_updated"}) {
      assertThat(((Value.Time) record.get(time)).instant().getEpochSecond())
          .as(time)
          .isGreaterThanOrEqualTo(start);
    }
    Map<String, Value> host =
        root.record("host_metrics", root.text("host.get_metrics", root.only("host")));
    assertThat(Long.parseLong(TestServer.text(host.get("memory_free"))))
        .isPositive()
        .isLessThan(Long.parseLong(TestServer.text(host.get("memory_total"))));
  }

  @Test
  void thePastIsKeptOverARestart() throws Exception {
    TestServer other = TestServer.start();
    String host = other.calls().text("host.get_uuid", other.calls().only("host"));
    String ref = other.calls().only("host");
    await()
        .atMost(PATIENCE)
        .ignoreExceptionsInstanceOf(XenApiException.class)
        .until(() ->
            number(other.calls().call("host.query_data_source", ref, "memory_total_kib")) > 0);
    other.stop();
    Path kept = other.directory.resolve("rrd").resolve("host-" + host + ".rrd");
    assertThat(kept).isNotEmptyFile();
    try (Stream<Path> files = Files.walk(other.directory)) {
      for (Path file : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }
}
