package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.db.MemoryDatabase;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.URI;
import java.net.UnixDomainSocketAddress;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.time.Duration;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Bytes on the wire: what published clients insist on, and what hostile ones send. */
class WireRulesTest {
  private static final String PROLOG = "<?xml version=\"1.0\"?><methodResponse>";

  private static TestServer server;
  private static HttpClient http;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  }

  @AfterAll
  static void stop() throws Exception {
    http.close();
    server.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"/", "/RPC2", "/RPC2/anything", "/xmlrpc", "/json"})
  void callsArePostedToAnyOfThesePaths(String path) throws Exception {
    HttpResponse<String> r = post(path, call("session.logout", "OpaqueRef:x"));
    assertThat(r.statusCode()).isEqualTo(200);
    assertThat(r.headers().firstValue("content-type")).contains("text/xml");
    assertThat(r.headers().firstValue("access-control-allow-origin")).contains("*");
    assertThat(r.body())
        .isEqualTo(
            PROLOG
                + "<params><param><value><struct><member><name>Status</name><value>Failure</value>"
                + "</member><member><name>ErrorDescription</name><value><array><data>"
                + "<value>SESSION_INVALID</value><value>OpaqueRef:x</value></data></array></value>"
                + "</member></struct></value></param></params></methodResponse>");
  }

  @Test
  void answersHoldNoWhiteSpaceNorForbiddenTags() throws Exception {
    String session = server.login();
    String all = post("/", call("host.get_all_records", session)).body();
    assertThat(all)
        .doesNotContain("> <", ">\n<", "<nil", "<i8>", "<i4>", "<int>", "<string", "nan")
        .contains("<boolean>1</boolean>")
        .contains("<name>API_version_major</name><value>2</value>");
    assertThat(post("/", call("host_metrics.get_all_records", session)).body())
        .containsPattern(
            "<dateTime.iso8601>[0-9]{8}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z</dateTime.iso8601>");
    assertThat(post("/", call("session.logout", session)).body())
        .contains("<name>Value</name><value></value>");
  }

  @Test
  void listMethodsAnswersABareArrayOfMethodsThatAnswer() throws Exception {
    String body = post("/", call("system.listMethods")).body();
    assertThat(body)
        .startsWith(PROLOG + "<params><param><value><array><data><value>")
        .contains("<value>VM.get_record</value>", "<value>Async.VM.start</value>");
  }

  @Test
  void otherMethodsAndPathsAnswerAsPublished() throws Exception {
    assertThat(send("GET", "/").statusCode()).isEqualTo(200);
    assertThat(send("GET", "/nothing").statusCode()).isEqualTo(404);
    assertThat(send("BREW", "/").statusCode()).isEqualTo(501);
    HttpResponse<String> options =
        http.send(
            HttpRequest.newBuilder(uri("/"))
                .method("OPTIONS", HttpRequest.BodyPublishers.noBody())
                .header("Access-Control-Request-Headers", "content-type")
                .build(),
            HttpResponse.BodyHandlers.ofString());
    assertThat(options.statusCode()).isEqualTo(200);
    assertThat(options.headers().firstValue("access-control-allow-headers"))
        .contains("content-type, X-Requested-With");
  }

  @Test
  void malformedBodiesAreAnError() throws Exception {
    for (String bad :
        new String[] {
          "",
          "junk",
          "<methodCall>",
          "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><methodCall/>",
          "<methodCall><methodName>x</methodName><params><param>"
              + "<value><array><data>".repeat(500)
        }) {
      assertThat(post("/", bad).statusCode()).isEqualTo(500);
    }
    assertThat(post("/", call("session.logout", "x")).statusCode()).isEqualTo(200);
  }

  /** Well formed, so the answer is the message's: a code and the name of what does not fit. */
  @ParameterizedTest
  @CsvSource({
    "VDI.resize,i8,99999999999999999999,INVALID_VALUE",
    "host.set_servertime,dateTime.iso8601,20260230T00:00:00Z,NOT_IMPLEMENTED",
    "task.set_progress,double,nan,INVALID_VALUE",
    "task.set_progress,double,-inf,INVALID_VALUE",
    "task.set_progress,double,1e999,INVALID_VALUE"
  })
  void numbersAndDatesOutOfRangeAreTheMessagesToRefuse(
      String method, String tag, String text, String code) throws Exception {
    HttpResponse<String> r =
        post(
            "/",
            call(method, server.login(), "OpaqueRef:none")
                .replace(
                    "</params>",
                    "<param><value><%s>%s</%s></value></param></params>"
                        .formatted(tag, text, tag)));
    assertThat(r.statusCode()).isEqualTo(200);
    assertThat(r.body()).contains("<value>" + code + "</value><value>");
  }

  @Test
  void largeBodiesAreRefusedWithAndWithoutALength() throws Exception {
    String large = call("session.logout", "x".repeat(301 * 1024));
    assertThat(post("/", large).statusCode()).isEqualTo(413);
    HttpResponse<String> chunked =
        http.send(
            HttpRequest.newBuilder(uri("/"))
                .POST(
                    HttpRequest.BodyPublishers.ofInputStream(() ->
                        new java.io.ByteArrayInputStream(large.getBytes(StandardCharsets.UTF_8))))
                .build(),
            HttpResponse.BodyHandlers.ofString());
    assertThat(chunked.statusCode()).isEqualTo(413);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "POST /services/SM?session_id=%s",
        "PUT /v1/incoming/6f0c7a8a-5f9a-4c0e-9d59-2f6a4c8f2d11",
        "POST /v1/incoming/6f0c7a8a-5f9a-4c0e-9d59-2f6a4c8f2d11/commit",
        "POST /v1/outgoing/6f0c7a8a-5f9a-4c0e-9d59-2f6a4c8f2d11/status",
        "POST /v1/incoming/6f0c7a8a-5f9a-4c0e-9d59-2f6a4c8f2d11/memory",
        "POST /v1/migrations/6f0c7a8a-5f9a-4c0e-9d59-2f6a4c8f2d11/cancel?session_id=%s",
        "POST /v1/migrations/..%%2f..%%2fx/cancel?session_id=%s",
        "GET /v1/migrations/%%00?session_id=%s",
        "GET /v1/migrations/6f0c7a8a-5f9a-4c0e-9d59-2f6a4c8f2d11/events?session_id=%s"
      })
  void badBodiesOnEveryOtherPathAreTheClientsFault(String where) throws Exception {
    String[] words = where.formatted(server.login()).split(" ");
    String secret = Files.readString(java.nio.file.Path.of("/etc/hostname")).strip();
    for (String body :
        new String[] {
          "",
          "junk",
          "{}",
          "[".repeat(50_000),
          "{\"a\":".repeat(50_000),
          "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/hostname\">]><a>&b;</a>",
          "<?xml version=\"1.0\"?><methodCall><methodName>x</methodName><params><param>"
              + "<value><array><data>".repeat(10_000),
          "x".repeat(3 << 20)
        }) {
      if (words[0].equals("GET") && !body.isEmpty()) {
        continue; // the client sends none
      }
      HttpResponse<String> r =
          http.send(
              HttpRequest.newBuilder(uri(words[1]))
                  .timeout(Duration.ofSeconds(60))
                  .method(words[0], HttpRequest.BodyPublishers.ofString(body))
                  .build(),
              HttpResponse.BodyHandlers.ofString());
      if (where.contains("/outgoing/") && body.equals("{}")) {
        // a question well put, whoever asks: this host is the source of no such migration
        assertThat(r.statusCode()).isEqualTo(200);
        assertThat(r.body()).contains("\"state\":\"\"");
        continue;
      }
      assertThat(r.statusCode()).as("%s with %.40s", where, body).isBetween(400, 499);
      if (body.contains("hostname")) {
        assertThat(r.body()).doesNotContain(secret);
      }
    }
    assertThat(server.login()).isNotEmpty();
  }

  /** Whoever refuses before reading, or in the middle, is heard: no reset swallows the answer. */
  @ParameterizedTest
  @CsvSource({
    // too large
    "POST / HTTP/1.1, 2000000, 413",
    "POST / HTTP/1.0, 2000000, 413",
    // no such method, nothing there, nobody's
    "BREW / HTTP/1.1, 2000000, 501",
    "GET /nothing HTTP/1.1, 2000000, 404",
    "GET /nothing HTTP/1.0, 2000000, 404",
    "PUT /nothing HTTP/1.1, 2000000, 403",
    "PUT /nothing HTTP/1.0, 2000000, 403",
    // an address that means two things, or nothing
    "POST /v1/migrations/..%2f..%2fx/cancel HTTP/1.1, 2000000, 400",
    "POST /v1/migrations/..%2f..%2fx/cancel HTTP/1.0, 2000000, 400",
    "PUT /v1/incoming/%2e%2e/x HTTP/1.1, 2000000, 400",
    "PUT /v1/%u002e%u002e/x HTTP/1.1, 2000000, 400",
    "PUT /v1/%c0%af HTTP/1.1, 2000000, 400",
    "PUT //v1 HTTP/1.1, 2000000, 400",
    // malformed
    "POST / HTTP/1.1, 200000, 500",
    "POST / HTTP/1.0, 200000, 500",
  })
  void aRefusalOfAnUnreadBodyIsHeard(String start, int size, int status) throws Exception {
    for (int round = 0; round < 5; round++) {
      try (Socket s = new Socket("127.0.0.1", server.httpPort())) {
        s.setSoTimeout(60_000);
        OutputStream out = s.getOutputStream();
        out.write(ascii(start + "\r\nHost: x\r\nContent-Length: " + size + "\r\n\r\n"));
        // The whole body first, then the answer: as clients do that know no better.
        out.write(new byte[size]);
        out.flush();
        assertThat(new String(s.getInputStream().readAllBytes(), StandardCharsets.US_ASCII))
            .as(start + ", round " + round)
            .startsWith("HTTP/1.1 " + status + " ")
            .contains("Connection: close");
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "POST / HTTP/1.1, 2000000, 413",
    "PUT /nothing HTTP/1.1, 10, 403",
    "BREW / HTTP/1.1, 10, 501"
  })
  void aClientThatAsksBeforeSendingIsRefusedBeforeSending(String start, int size, int status)
      throws Exception {
    try (Socket s = new Socket("127.0.0.1", server.httpPort())) {
      s.setSoTimeout(60_000);
      s.getOutputStream()
          .write(
              ascii(
                  start
                      + "\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
                      + size
                      + "\r\n\r\n"));
      assertThat(new String(s.getInputStream().readAllBytes(), StandardCharsets.US_ASCII))
          .startsWith("HTTP/1.1 " + status + " ");
    }
  }

  @Test
  void aClientThatAsksBeforeSendingIsToldToGoOn() throws Exception {
    String body = call("session.logout", "OpaqueRef:x");
    try (Socket s = new Socket("127.0.0.1", server.httpPort())) {
      s.setSoTimeout(60_000);
      s.getOutputStream()
          .write(
              ascii(
                  "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
                      + "Content-Length: "
                      + body.length()
                      + "\r\n\r\n"));
      String line = "HTTP/1.1 100 Continue\r\n\r\n";
      assertThat(
              new String(s.getInputStream().readNBytes(line.length()), StandardCharsets.US_ASCII))
          .isEqualTo(line);
      s.getOutputStream().write(ascii(body));
      assertThat(new String(s.getInputStream().readAllBytes(), StandardCharsets.US_ASCII))
          .startsWith("HTTP/1.1 200 ")
          .contains("SESSION_INVALID");
    }
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  @Test
  void invalidUtf8IsRefused() throws Exception {
    byte[] body = call("session.logout", "x@x").getBytes(StandardCharsets.UTF_8);
    for (int i = 0; i < body.length; i++) {
      if (body[i] == '@') {
        body[i] = (byte) 0xC3;
      }
    }
    HttpResponse<String> r =
        http.send(
            HttpRequest.newBuilder(uri("/"))
                .POST(HttpRequest.BodyPublishers.ofByteArray(body))
                .build(),
            HttpResponse.BodyHandlers.ofString());
    assertThat(r.statusCode()).isEqualTo(500);
  }

  @Test
  void slowClientsAreCutOff() throws Exception {
    try (TestServer impatient =
        TestServer.start(
            Files.createTempDirectory("xenferry"),
            MemoryDatabase.create(),
            TestServer.limits(Duration.ofSeconds(1)))) {
      for (String start :
          new String[] {
            "",
            "POST",
            "POST / HTTP/1.1\r\nHo",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n<"
          }) {
        try (Socket s = new Socket("127.0.0.1", impatient.httpPort())) {
          s.setSoTimeout(30_000);
          s.getOutputStream().write(start.getBytes(StandardCharsets.US_ASCII));
          // Ends without our doing.
          String answer = new String(readAll(s.getInputStream()), StandardCharsets.ISO_8859_1);
          if (start.endsWith("<") && !answer.isEmpty()) {
            assertThat(answer).as("it was late, not wrong").startsWith("HTTP/1.1 408 ");
          }
        }
      }
    }
  }

  @Test
  void aBodyThatIsMalformedOrCutOffIsTheClientsFault() throws Exception {
    String head = "POST / HTTP/1.1\r\nHost: x\r\n";
    for (String broken :
        new String[] {"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "Content-Length: 9\r\n\r\n<"}) {
      try (Socket s = new Socket("127.0.0.1", server.httpPort())) {
        s.setSoTimeout(30_000);
        s.getOutputStream().write((head + broken).getBytes(StandardCharsets.US_ASCII));
        s.shutdownOutput();
        assertThat(new String(readAll(s.getInputStream()), StandardCharsets.ISO_8859_1))
            .as(broken)
            .startsWith("HTTP/1.1 400 ");
      }
    }
  }

  @Test
  void junkOnEveryPortHarmsNobody() throws Exception {
    Random random = new Random(7);
    for (int port : new int[] {server.server.port(), server.httpPort()}) {
      for (int i = 0; i < 30; i++) {
        try (Socket s = new Socket("127.0.0.1", port)) {
          s.setSoTimeout(20_000);
          byte[] junk = new byte[random.nextInt(2000) + 1];
          random.nextBytes(junk);
          s.getOutputStream()
              .write(i % 3 == 0 ? "POST /cli HT".getBytes(StandardCharsets.US_ASCII) : junk);
          s.shutdownOutput();
          readAll(s.getInputStream());
        } catch (IOException reset) {
          assertThat(reset).isNotNull();
        }
      }
    }
    assertThat(server.login()).isNotEmpty();
  }

  @Test
  void callersOnTheUnixSocketAreRoot() throws Exception {
    String body = call("session.login_with_password", "", "");
    String request = "POST / HTTP/1.0\r\nContent-Length: " + body.length() + "\r\n\r\n" + body;
    try (SocketChannel c = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      c.connect(UnixDomainSocketAddress.of(server.directory.resolve("socket")));
      c.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.UTF_8)));
      String answer = new String(readAll(Channels.newInputStream(c)), StandardCharsets.UTF_8);
      assertThat(answer).contains("200 OK").contains("Success").contains("OpaqueRef:");
    }
  }

  private static byte[] readAll(InputStream in) throws IOException {
    try {
      return in.readAllBytes();
    } catch (java.net.SocketException reset) {
      return new byte[0];
    }
  }

  static String call(String method, String... params) {
    StringBuilder b = new StringBuilder("<?xml version=\"1.0\"?>\n<methodCall><methodName>");
    b.append(method).append("</methodName><params>");
    for (String p : params) {
      b.append("<param><value><string>").append(p).append("</string></value></param>\n");
    }
    return b.append("</params></methodCall>").toString();
  }

  private static HttpResponse<String> post(String path, String body) throws Exception {
    return http.send(
        HttpRequest.newBuilder(uri(path))
            .header("Content-Type", "text/xml; charset=utf-8")
            .timeout(Duration.ofSeconds(30))
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build(),
        HttpResponse.BodyHandlers.ofString());
  }

  private static HttpResponse<String> send(String method, String path) throws Exception {
    return http.send(
        HttpRequest.newBuilder(uri(path))
            .method(method, HttpRequest.BodyPublishers.noBody())
            .build(),
        HttpResponse.BodyHandlers.ofString());
  }

  private static URI uri(String path) {
    return URI.create("http://127.0.0.1:" + server.httpPort() + path);
  }
}
