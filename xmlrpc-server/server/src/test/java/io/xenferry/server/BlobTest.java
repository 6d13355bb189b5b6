package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.xe.client.Xe;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The class {@code blob}, its content over HTTP, and xe's commands for both. */
class BlobTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static HttpClient client;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    client = HttpClient.newHttpClient();
  }

  @AfterAll
  static void stop() throws Exception {
    client.close();
    server.close();
  }

  private static HttpRequest.Builder request(String target) {
    return HttpRequest.newBuilder(
        URI.create("http://" + server.address + ":" + server.httpPort() + target));
  }

  private static HttpResponse<byte[]> get(String target) throws Exception {
    return client.send(request(target).build(), BodyHandlers.ofByteArray());
  }

  private static int put(String target, BodyPublisher body) throws Exception {
    return client.send(request(target).PUT(body).build(), BodyHandlers.discarding()).statusCode();
  }

  private static String by(String ref) {
    return "/blob?session_id=" + root.session() + "&ref=" + ref;
  }

  private static byte[] bytes(int size) {
    byte[] bytes = new byte[size];
    new Random(size).nextBytes(bytes);
    return bytes;
  }

  @Test
  void oneComesAndGoes() throws Exception {
    String ref = root.text("blob.create", "text/x-notes", false);
    String uuid = root.text("blob.get_uuid", ref);
    assertThat(root.record("blob", ref))
        .containsEntry("name_label", Value.of(""))
        .containsEntry("size", Value.of("0"))
        .containsEntry("public", Value.of(false))
        .containsEntry("mime_type", Value.of("text/x-notes"));
    assertThat(get(by(ref)).body()).isEmpty();

    byte[] content = bytes(300_001);
    assertThat(put(by(ref), BodyPublishers.ofByteArray(content))).isEqualTo(200);
    HttpResponse<byte[]> answer = get(by(ref));
    assertThat(answer.statusCode()).isEqualTo(200);
    assertThat(answer.body()).isEqualTo(content);
    assertThat(answer.headers().firstValue("Content-Type")).contains("text/x-notes");
    Map<String, Value> record = root.record("blob", ref);
    assertThat(record).containsEntry("size", Value.of("300001"));
    assertThat(((Value.Time) record.get("last_updated")).instant().getEpochSecond()).isPositive();

    assertThat(put(by(ref), BodyPublishers.ofByteArray(bytes(7)))).isEqualTo(200);
    assertThat(get("/blob?session_id=" + root.session() + "&uuid=" + uuid).body())
        .isEqualTo(bytes(7));
    root.call("blob.destroy", ref);
    assertThat(get(by(ref)).statusCode()).isEqualTo(404);
    assertThat(put(by(ref), BodyPublishers.ofByteArray(bytes(7)))).isEqualTo(404);
    assertCode("HANDLE_INVALID", () -> root.call("blob.destroy", ref));
    assertThat(files()).doesNotContain(uuid);
    assertCode("INVALID_VALUE", () -> root.call("blob.create", "text/plain\r\nX: y", false));
  }

  private static List<String> files() throws Exception {
    try (Stream<Path> files = Files.list(server.directory.resolve("blobs"))) {
      return files.map(f -> f.getFileName().toString()).toList();
    }
  }

  @Test
  void eachClassKeepsItsOwn() throws Exception {
    String vm = root.vm("keeper", Map.of());
    String sr = root.sr(server.directory.resolve("sr"));
    String network =
        root.text("network.create", Map.of("name_label", "n", "other_config", Map.of()));
    Map<String, String> keepers =
        Map.of(
            "VM.create_new_blob", vm,
            "SR.create_new_blob", sr,
            "network.create_new_blob", network,
            "host.create_new_blob", root.only("host"),
            "pool.create_new_blob", root.only("pool"));
    for (Map.Entry<String, String> keeper : keepers.entrySet()) {
      String call = keeper.getKey();
      String kept = call.replace("create_new_blob", "get_blobs");
      String blob = root.text(call, keeper.getValue(), "notes", "", false);
      assertThat(TestServer.member(root.call(kept, keeper.getValue()), "notes"))
          .isEqualTo(Value.of(blob));
      assertThat(root.text("blob.get_mime_type", blob)).isEqualTo("application/octet-stream");
      assertThat(root.text("blob.get_name_label", blob)).isEqualTo("notes");
      assertCode("MAP_DUPLICATE_KEY", () -> root.call(call, keeper.getValue(), "notes", "", false));
      root.call("blob.destroy", blob);
      assertThat(((Value.Struct) root.call(kept, keeper.getValue())).members())
          .doesNotContainKey("notes");
    }
  }

  @Test
  void aPublicOneNeedsNoSession() throws Exception {
    String ref = root.text("blob.create", "", true);
    assertThat(put("/blob?ref=" + ref, BodyPublishers.ofByteArray(bytes(9)))).isEqualTo(401);
    put(by(ref), BodyPublishers.ofByteArray(bytes(9)));
    assertThat(get("/blob?ref=" + ref).body()).isEqualTo(bytes(9));
    assertThat(get("/blob?session_id=OpaqueRef:none&ref=" + ref).statusCode()).isEqualTo(401);
    root.call("blob.set_public", ref, false);
    assertThat(get("/blob?ref=" + ref).statusCode()).isEqualTo(401);
    assertThat(get("/blob?ref=OpaqueRef:nothing").statusCode()).isEqualTo(401);
    assertThat(get("/blob").statusCode()).isEqualTo(401);
    assertThat(get("/blob/more?ref=" + ref).statusCode()).isEqualTo(404);
  }

  @Test
  void whatCannotBeTakenIsRefusedAndTheOldContentStays() throws Exception {
    String ref = root.text("blob.create", "", false);
    put(by(ref), BodyPublishers.ofByteArray(bytes(5)));
    InputStream unknownLength = new ByteArrayInputStream(bytes(5000));
    assertThat(put(by(ref), BodyPublishers.ofInputStream(() -> unknownLength))).isEqualTo(411);
    assertThat(
            raw(
                "PUT",
                by(ref),
                "Content-Length: 67108865\r\nExpect: 100-continue\r\n",
                new byte[0]))
        .startsWith("HTTP/1.1 413");
    // Half of what was promised, and then nobody.
    cutOff(by(ref), "Content-Length: 100000\r\n", bytes(50_000));
    assertThat(get(by(ref)).body()).isEqualTo(bytes(5));
    assertThat(root.text("blob.get_size", ref)).isEqualTo("5");
    Awaitility.await()
        .untilAsserted(() -> assertThat(files()).noneMatch(name -> name.endsWith(".part")));
  }

  private static String ended(String task) throws Exception {
    Awaitility.await().until(() -> !root.text("task.get_status", task).equals("pending"));
    String status = root.text("task.get_status", task);
    root.call("task.destroy", task);
    return status;
  }

  @Test
  void aTransferThatBreaksOffFailsItsTask() throws Exception {
    String ref = root.text("blob.create", "", false);
    put(by(ref), BodyPublishers.ofByteArray(bytes(32 << 20)));
    for (String method : List.of("GET", "PUT")) {
      String task = root.text("task.create", "half", "");
      try (Socket socket = new Socket(server.address, server.httpPort())) {
        send(socket, method, by(ref) + "&task_id=" + task, "Content-Length: 100000\r\n", bytes(10));
        if (method.equals("GET")) {
          assertThat(socket.getInputStream().readNBytes(12)).asString().contains("200");
        } else {
          Awaitility.await()
              .untilAsserted(() -> assertThat(files()).anyMatch(name -> name.endsWith(".part")));
        }
      }
      assertThat(ended(task)).as(method).isEqualTo("failure");
    }
    String whole = root.text("task.create", "whole", "");
    assertThat(get(by(ref) + "&task_id=" + whole).body()).hasSize(32 << 20);
    assertThat(ended(whole)).isEqualTo("success");
    String unknown = root.text("task.create", "unknown", "");
    assertThat(get(by("OpaqueRef:none") + "&task_id=" + unknown).statusCode()).isEqualTo(404);
    Awaitility.await()
        .untilAsserted(() ->
            assertThat(TestServer.texts(root.call("task.get_error_info", unknown)))
                .containsExactly("HANDLE_INVALID", "blob", "OpaqueRef:none"));
    root.call("task.destroy", unknown);
    root.call("blob.destroy", ref);
  }

  @Test
  void aTransferIsCancelledByItsTask() throws Exception {
    String ref = root.text("blob.create", "", false);
    put(by(ref), BodyPublishers.ofByteArray(bytes(32 << 20)));
    String task = root.text("task.create", "long", "");
    try (Socket socket = new Socket(server.address, server.httpPort())) {
      send(socket, "GET", by(ref) + "&task_id=" + task, "", new byte[0]);
      InputStream in = socket.getInputStream();
      assertThat(in.readNBytes(12)).asString().contains("200");
      Awaitility.await()
          .until(() ->
              TestServer.texts(root.call("task.get_allowed_operations", task)).contains("cancel"));
      assertThat(get(by(ref) + "&task_id=" + task).statusCode())
          .as("two for a task")
          .isEqualTo(409);
      root.call("task.cancel", task);
      assertThat(in.readAllBytes().length).isLessThan(32 << 20);
    }
    assertThat(ended(task)).isEqualTo("cancelled");
    root.call("blob.destroy", ref);
  }

  @Test
  void allOfThemHaveOneLimitAlsoWhileTheyCome() throws Exception {
    String full = root.text("blob.create", "", false);
    String more = root.text("blob.create", "", false);
    // As if others were there.
    server
        .server
        .context()
        .db()
        .change(tx ->
            server
                .server
                .context()
                .schema()
                .set(tx, "blob", full, "size", Value.of((1L << 30) - 1000)));
    try (Socket coming = new Socket(server.address, server.httpPort())) {
      send(coming, "PUT", by(more), "Content-Length: 800\r\n", bytes(10));
      Awaitility.await()
          .untilAsserted(() -> assertThat(files()).anyMatch(name -> name.endsWith(".part")));
      assertThat(put(by(more), BodyPublishers.ofByteArray(bytes(300)))).isEqualTo(507);
      assertThat(put(by(more), BodyPublishers.ofByteArray(bytes(100)))).isEqualTo(200);
    }
    Awaitility.await()
        .untilAsserted(
            () -> assertThat(put(by(more), BodyPublishers.ofByteArray(bytes(900)))).isEqualTo(200));
    root.call("blob.destroy", full);
  }

  private static String raw(String method, String target, String headers, byte[] body)
      throws Exception {
    try (Socket socket = new Socket(server.address, server.httpPort())) {
      send(socket, method, target, headers, body);
      byte[] answer = socket.getInputStream().readNBytes(12);
      return new String(answer, StandardCharsets.US_ASCII);
    }
  }

  private static void cutOff(String target, String headers, byte[] body) throws Exception {
    try (Socket socket = new Socket(server.address, server.httpPort())) {
      send(socket, "PUT", target, headers, body);
    }
  }

  private static void send(Socket socket, String method, String target, String headers, byte[] body)
      throws Exception {
    OutputStream out = socket.getOutputStream();
    String head = method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
    out.write(head.getBytes(StandardCharsets.US_ASCII));
    out.write(body);
    out.flush();
  }

  private static String xe(int expected, String... words) throws Exception {
    List<String> args = new ArrayList<>(Arrays.asList(words));
    args.addAll(List.of("-s", "localhost", "--nossl", "-p", "" + server.httpPort()));
    args.addAll(List.of("-u", "root", "-pw", server.password));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int status = new Xe(Map.of(), InputStream.nullInputStream(), out, err).run(args);
    assertThat(status).as(String.join(" ", words) + ": " + err).isEqualTo(expected);
    return (expected == 0 ? out : err).toString(StandardCharsets.UTF_8).strip();
  }

  @Test
  void xeSendsAndFetchesFiles() throws Exception {
    String host = root.text("host.get_uuid", root.only("host"));
    String uuid = xe(0, "blob-create", "name=report", "host-uuid=" + host, "mime-type=text/html");
    Path file = server.directory.resolve("report");
    Files.write(file, bytes(100_000));
    xe(0, "blob-put", "uuid=" + uuid, "filename=" + file);
    Path back = server.directory.resolve("back");
    xe(0, "blob-get", "uuid=" + uuid, "filename=" + back);
    assertThat(back).hasBinaryContent(bytes(100_000));
    String blob = root.text("blob.get_by_uuid", uuid);
    assertThat(root.text("blob.get_size", blob)).isEqualTo("100000");

    xe(1, "blob-put", "uuid=" + uuid, "filename=" + server.directory.resolve("nothing"));
    xe(1, "blob-get", "uuid=" + uuid, "filename=" + server.directory.resolve("no/where"));
    Path large = server.directory.resolve("large");
    try (RandomAccessFile sparse = new RandomAccessFile(large.toFile(), "rw")) {
      sparse.setLength((64L << 20) + 1);
    }
    assertThat(xe(1, "blob-put", "uuid=" + uuid, "filename=" + large)).contains("at most 67108864");
    assertThat(xe(1, "blob-create", "name=report")).contains("host-uuid");
    Awaitility.await("the end of what was made for the transfers")
        .until(() -> root.all("task").isEmpty());
  }

  @Test
  void theyOutliveTheServerAndWhatWasBegunDoesNot() throws Exception {
    Path state = Files.createTempDirectory("xf");
    Path file = state.resolve("pool.db");
    TestServer before = TestServer.startAt("127.0.0.1", state, SqliteDatabase.open(file));
    TestServer.Calls calls = before.calls();
    String ref = calls.text("blob.create", "", true);
    String uuid = calls.text("blob.get_uuid", ref);
    Path blobs = state.resolve("blobs");
    Files.write(blobs.resolve(uuid), bytes(11)); // as one that was stopped before it noted it
    Files.write(blobs.resolve(uuid + "1.part"), bytes(5));
    Files.write(blobs.resolve("of-nobody"), bytes(5));
    try (TestServer after = before.again(() -> SqliteDatabase.open(file))) {
      assertThat(after.calls().text("blob.get_size", ref)).isEqualTo("11");
      try (Stream<Path> files = Files.list(blobs)) {
        assertThat(files).containsExactly(blobs.resolve(uuid));
      }
    }
  }
}
