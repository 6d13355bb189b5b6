package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.XmlRpcCodec;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** SMAPIv2 at /services/SM. */
class SmapiTest {
  private static final XmlRpcCodec CODEC = new XmlRpcCodec(Dialect.SMAPI);
  private static final HttpClient HTTP = HttpClient.newHttpClient();

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

  private static HttpResponse<InputStream> post(String query, byte[] body) throws Exception {
    return post(server, query, body);
  }

  private static HttpResponse<InputStream> post(TestServer to, String query, byte[] body)
      throws Exception {
    return HTTP.send(
        HttpRequest.newBuilder(
                URI.create("http://" + to.address + ":" + to.httpPort() + "/services/SM" + query))
            .POST(HttpRequest.BodyPublishers.ofByteArray(body))
            .build(),
        HttpResponse.BodyHandlers.ofInputStream());
  }

  private static Value.Struct call(String method, Map<String, Object> arguments) throws Exception {
    return call(server, root.session(), method, arguments);
  }

  static Value.Struct call(
      TestServer to, String session, String method, Map<String, Object> arguments)
      throws Exception {
    HttpResponse<InputStream> answer =
        post(
            to,
            "?session_id=" + session,
            CODEC.writeCall(method, List.of(TestServer.value(arguments))));
    assertThat(answer.statusCode()).isEqualTo(200);
    assertThat(answer.headers().firstValue("content-type")).contains("text/xml");
    return (Value.Struct) CODEC.readBare(answer.body());
  }

  @Test
  void disksAreMadeAndFound() throws Exception {
    String sr = root.text("SR.get_uuid", root.sr(server.directory.resolve("sm")));
    Value.Struct listed = call("SR.list", Map.of("dbg", "test"));
    assertThat(TestServer.text(listed.members().get("Status"))).isEqualTo("Success");
    assertThat(TestServer.texts(listed.members().get("Value"))).contains(sr);
    String ref = root.text("SR.get_by_uuid", sr);
    String uuid = root.text("VDI.get_uuid", root.vdi(ref, "a", 1 << 20));
    Value scan = call("SR.scan", Map.of("dbg", "test", "sr", sr)).members().get("Value");
    assertThat(((Value.Array) scan).items()).hasSize(1);
    Value.Struct gone = call("VDI.destroy", Map.of("dbg", "test", "sr", sr, "vdi", uuid));
    assertThat(TestServer.text(gone.members().get("Status"))).isEqualTo("Success");
    root.call("SR.scan", ref);
    assertThat(TestServer.texts(root.call("SR.get_VDIs", ref))).isEmpty();
    // The type is known from the pool's records, with no word of it in the call.
    call("SR.detach", Map.of("dbg", "test", "sr", sr));
    Map<String, String> config = Map.of("location", server.directory.resolve("sm").toString());
    Value.Struct attached =
        call("SR.attach", Map.of("dbg", "test", "sr", sr, "device_config", config));
    assertThat(TestServer.text(attached.members().get("Status"))).isEqualTo("Success");
  }

  /** One disk is copied onto another through the URL that this server's own target serves. */
  @Test
  void aDiskIsCopiedToTheUrlOfAnother() throws Exception {
    Path directory = server.directory.resolve("copies");
    String ref = root.sr(directory);
    String sr = root.text("SR.get_uuid", ref);
    String from = root.text("VDI.get_uuid", root.vdi(ref, "from", 8 << 20));
    String to = root.text("VDI.get_uuid", root.vdi(ref, "to", 8 << 20));
    byte[] content = new byte[8 << 20];
    new Random(1).nextBytes(content);
    Arrays.fill(content, 3 << 20, 6 << 20, (byte) 0);
    Files.write(directory.resolve(from + ".raw"), content);
    byte[] junk = new byte[8 << 20];
    Arrays.fill(junk, (byte) 0x5A);
    Files.write(directory.resolve(to + ".raw"), junk);

    String url = TestServer.text(success("VDI.get_url", Map.of("sr", sr, "vdi", to)));
    assertThat(url).startsWith("iscsi://");
    success("VDI.copy", Map.of("sr", sr, "vdi", from, "url", url));
    success("VDI.close_url", Map.of("sr", sr, "vdi", to));

    assertThat(Files.readAllBytes(directory.resolve(to + ".raw"))).isEqualTo(content);
    Value.Struct closed = call("VDI.copy", Map.of("sr", sr, "vdi", from, "url", url));
    assertThat(TestServer.text(closed.members().get("Status"))).isEqualTo("Failure");
  }

  private static Value success(String method, Map<String, Object> arguments) throws Exception {
    Value.Struct answer = call(method, arguments);
    assertThat(answer.members().get("Status")).as(answer.toString()).isEqualTo(Value.of("Success"));
    return java.util.Objects.requireNonNull(answer.members().get("Value"));
  }

  @Test
  void datapathsAreToldAndEnded() throws Exception {
    String ref = root.sr(server.directory.resolve("datapaths"));
    String sr = root.text("SR.get_uuid", ref);
    String disk = root.vdi(ref, "used", 1 << 20);
    String vdi = root.text("VDI.get_uuid", disk);
    String host = root.only("host");
    success(
        "VDI.attach3", Map.of("dp", "mine", "sr", sr, "vdi", vdi, "vm", "0", "read_write", true));
    assertThat(root.text("host.get_sm_diagnostics", host)).contains("mine " + sr + "/" + vdi);
    root.call("host.sm_dp_destroy", host, "mine", false);
    assertThat(root.text("host.get_sm_diagnostics", host)).doesNotContain("mine ");
    root.call("host.sm_dp_destroy", host, "mine", false);
    String vm = root.vm("guest", Map.of());
    root.vbd(vm, disk, 0);
    root.call("VM.start", vm, false, false);
    String its = "vbd/" + root.text("VM.get_uuid", vm) + "/" + vdi;
    assertThat(root.text("host.get_sm_diagnostics", host)).contains(its);
    SessionTest.assertCode(
        "OPERATION_NOT_ALLOWED", () -> root.call("host.sm_dp_destroy", host, its, true));
    root.call("VM.hard_shutdown", vm);
    SessionTest.assertCode(
        "HANDLE_INVALID", () -> root.call("host.get_sm_diagnostics", "OpaqueRef:x"));
  }

  @Test
  void aSessionOfALesserRoleMayNot() throws Exception {
    server.server.context().users().put("reader", "read-only", "some-password");
    server.server.context().users().put("mover", "vm-power-admin", "some-password");
    byte[] list = CODEC.writeCall("SR.list", List.of(TestServer.value(Map.of("dbg", ""))));
    for (Map.Entry<String, Integer> expected : Map.of("reader", 403, "mover", 200).entrySet()) {
      String session =
          TestServer.text(
              root.api()
                  .call(
                      "session.login_with_password",
                      Value.of(expected.getKey()),
                      Value.of("some-password")));
      assertThat(post("?session_id=" + session, list).statusCode()).isEqualTo(expected.getValue());
    }
  }

  @Test
  void failuresAreAnswers() throws Exception {
    Value.Struct unknown = call("VDI.no_such", Map.of());
    assertThat(TestServer.text(unknown.members().get("Status"))).isEqualTo("Failure");
    Value.Struct nowhere = call("VDI.destroy", Map.of("dbg", "", "sr", "x", "vdi", "y"));
    assertThat(TestServer.text(nowhere.members().get("Status"))).isEqualTo("Failure");
    Value.Struct url = call("VDI.copy", Map.of("sr", "x", "vdi", "y", "url", "http://junk"));
    assertThat(TestServer.text(url.members().get("Status"))).isEqualTo("Failure");
  }

  @Test
  void strangersAndJunkAreRefused() throws Exception {
    byte[] list = CODEC.writeCall("SR.list", List.of(TestServer.value(Map.of("dbg", ""))));
    assertThat(post("", list).statusCode()).isEqualTo(401);
    assertThat(post("?session_id=OpaqueRef:x", list).statusCode()).isEqualTo(401);
    String session = "?session_id=" + root.session();
    assertThat(post(session, "junk".getBytes(java.nio.charset.StandardCharsets.UTF_8)).statusCode())
        .isEqualTo(400);
    assertThat(post(session, CODEC.writeCall("SR.list", List.of())).statusCode()).isEqualTo(400);
    assertThat(post(session, new byte[1 << 20]).statusCode()).isEqualTo(413);
  }
}
