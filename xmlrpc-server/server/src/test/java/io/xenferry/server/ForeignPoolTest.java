package io.xenferry.server;

import static com.github.tomakehurst.wiremock.client.WireMock.aResponse;
import static com.github.tomakehurst.wiremock.client.WireMock.any;
import static com.github.tomakehurst.wiremock.client.WireMock.anyRequestedFor;
import static com.github.tomakehurst.wiremock.client.WireMock.anyUrl;
import static com.github.tomakehurst.wiremock.client.WireMock.containing;
import static com.github.tomakehurst.wiremock.client.WireMock.post;
import static com.github.tomakehurst.wiremock.client.WireMock.postRequestedFor;
import static com.github.tomakehurst.wiremock.client.WireMock.urlEqualTo;
import static com.github.tomakehurst.wiremock.client.WireMock.urlMatching;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.github.tomakehurst.wiremock.WireMockServer;
import com.github.tomakehurst.wiremock.client.ResponseDefinitionBuilder;
import com.github.tomakehurst.wiremock.core.WireMockConfiguration;
import com.github.tomakehurst.wiremock.http.Fault;
import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.model.Value;
import io.xenferry.server.config.RemoteServersConfig;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.wire.Fingerprint;
import io.xenferry.xe.client.Xe;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * {@code xe vm-migrate} towards pools that misbehave. Whatever they do, it ends with an error that
 * says what is wrong, the VM goes on here, and nothing of the attempt is left.
 */
class ForeignPoolTest {
  private static final Duration LONG = Duration.ofSeconds(60);
  private static final String STORE_PASSWORD = "xenferry";

  // The sentences of HOST_IS_SLAVE, CANNOT_CONTACT_HOST, TLS_CONNECTION_FAILED, VM_MIGRATE_FAILED.
  private static final String NOT_COORDINATOR =
      "This host is not the pool's coordinator; ask that one.\n";
  private static final String UNREACHABLE = "The host cannot be reached.\n";
  private static final String UNTRUSTED = "No TLS connection to this address could be made.\n";
  private static final String FAILED = "The migration failed.\n";

  private static TestServer here;
  private static TestServer impatient;
  private static Visitor patientVm;
  private static Visitor impatientVm;
  private static WireMockServer pool;

  /** A VM that runs, where it runs, and what it writes. */
  private record Visitor(
      TestServer server, TestServer.Calls calls, String vm, String uuid, Path ledger) {

    static Visitor start(TestServer server) throws Exception {
      TestServer.Calls calls = server.calls();
      String sr = calls.sr(server.directory.resolve("sr"));
      Path ledger = server.directory.resolve("ledger");
      String vm =
          calls.vm(
              "stays",
              Map.of("xenferry:ledger", ledger.toString(), "xenferry:workload-rate", "131072"));
      String vdi = calls.vdi(sr, "disk", 4 << 20);
      DiskFiller.fill(
          StorageTest.image(server.directory.resolve("sr"), calls.text("VDI.get_uuid", vdi)),
          0,
          new FillPattern(4 << 20, 50, 1),
          ledger);
      calls.vbd(vm, vdi, 0);
      calls.call("VM.start", vm, false, false);
      return new Visitor(server, calls, vm, calls.text("VM.get_uuid", vm), ledger);
    }

    Map<String, Integer> objects() {
      Map<String, Integer> counts = new LinkedHashMap<>();
      var db = server.server.context().db().snapshot();
      for (String c : List.of("VM", "VDI", "VBD", "VIF", "SR", "session", "task")) {
        counts.put(c, List.copyOf(db.rows(c)).size());
      }
      return counts;
    }
  }

  @BeforeAll
  static void start() throws Exception {
    here = TestServer.startAt("127.0.0.21");
    impatient =
        TestServer.startAt(
            "127.0.0.22",
            (ServerConfig c) ->
                c.with(
                    new RemoteServersConfig(
                        false, Duration.ofSeconds(2), Duration.ofSeconds(2), 64 << 10)));
    patientVm = Visitor.start(here);
    impatientVm = Visitor.start(impatient);
  }

  @AfterAll
  static void stop() throws Exception {
    try {
      here.close();
    } finally {
      impatient.close();
    }
  }

  @BeforeEach
  void foreignPool() {
    pool = stub(0);
    wellBehaved();
  }

  @AfterEach
  void stopPool() {
    pool.stop();
  }

  /** With the certificate of a server of ours, or WireMock's own. */
  private static WireMockServer stub(int port, Path... keystore) {
    WireMockConfiguration options =
        WireMockConfiguration.options().bindAddress("127.0.0.1").httpDisabled(true).httpsPort(port);
    if (keystore.length > 0) {
      options
          .keystorePath(keystore[0].toString())
          .keystoreType("PKCS12")
          .keystorePassword(STORE_PASSWORD)
          .keyManagerPassword(STORE_PASSWORD);
    }
    WireMockServer server = new WireMockServer(options);
    server.start();
    return server;
  }

  // ---- the stub's answers

  private static void wellBehaved() {
    answer("session.login_with_password", "OpaqueRef:session");
    answer("session.logout", "");
    answer("host.get_all_records_where", record("OpaqueRef:host", "name_label", "foreign"));
    answer("host.get_name_label", "foreign");
    answer("pool.get_all_records_where", record("OpaqueRef:pool", "default_SR", "OpaqueRef:NULL"));
    answer("PIF.get_all_records_where", record("OpaqueRef:pif", "network", "OpaqueRef:net"));
    answer("network.get_name_label", "foreign network");
    answer("PBD.get_all_records_where", record("OpaqueRef:pbd", "SR", "OpaqueRef:sr"));
    answer(
        "SR.get_all_records_where",
        record("OpaqueRef:sr", "physical_size", "1000000000", "physical_utilisation", "0"));
    answer("SR.get_uuid", "6f0c7a8a-5f9a-4c0e-9d59-2f6a4c8f2d11");
    answer("host.migrate_receive", struct("host", "OpaqueRef:host", "session_id", "OpaqueRef:s"));
  }

  private static void answer(String method, String value) {
    respond(method, aResponse().withBody(success(value)));
  }

  private static void respond(String method, ResponseDefinitionBuilder response) {
    pool.stubFor(
        post(urlEqualTo("/"))
            .withRequestBody(containing("<methodName>" + method + "<"))
            .willReturn(response));
  }

  private static String success(String value) {
    return "<?xml version=\"1.0\"?><methodResponse><params><param><value>"
        + struct("Status", "Success", "Value", value)
        + "</value></param></params></methodResponse>";
  }

  private static ResponseDefinitionBuilder failure(String... description) {
    StringBuilder items = new StringBuilder();
    for (String d : description) {
      items.append("<value>").append(d).append("</value>");
    }
    return aResponse()
        .withBody(
            "<methodResponse><params><param><value>"
                + struct(
                    "Status",
                    "Failure",
                    "ErrorDescription",
                    "<array><data>" + items + "</data></array>")
                + "</value></param></params></methodResponse>");
  }

  private static String struct(String... members) {
    StringBuilder s = new StringBuilder("<struct>");
    for (int i = 0; i < members.length; i += 2) {
      s.append("<member><name>").append(members[i]).append("</name><value>");
      s.append(members[i + 1]).append("</value></member>");
    }
    return s.append("</struct>").toString();
  }

  private static String record(String ref, String... fields) {
    return struct(ref, struct(fields));
  }

  // ---- the question

  private static String migrate(Visitor v, String... more) throws Exception {
    List<String> args =
        new ArrayList<>(
            List.of(
                "vm-migrate",
                "uuid=" + v.uuid,
                "remote-master=127.0.0.1:" + pool.httpsPort(),
                "remote-username=root",
                "remote-password=secret",
                "live=true"));
    args.addAll(List.of(more));
    args.addAll(
        List.of("-s", v.server.address, "-p", "" + v.server.server.port(), "-u", "root", "-pw"));
    args.add(v.server.password);
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int status =
        new Xe(Map.of(), InputStream.nullInputStream(), new ByteArrayOutputStream(), err).run(args);
    assertThat(status).isEqualTo(1);
    return err.toString(StandardCharsets.UTF_8);
  }

  /** It fails with these words, the VM runs and writes on, and nothing is left. */
  private static void failsHarmlessly(Visitor v, String... words) throws Exception {
    failsHarmlessly(v, new String[0], words);
  }

  private static void failsHarmlessly(Visitor v, String[] options, String... words)
      throws Exception {
    Map<String, Integer> before = v.objects();
    String said = migrate(v, options);
    assertThat(said).isNotBlank();
    for (String word : words) {
      assertThat(said).contains(word);
    }
    assertThat(v.calls.text("VM.get_power_state", v.vm)).isEqualTo("Running");
    assertThat(v.calls.call("VM.get_current_operations", v.vm))
        .isEqualTo(Value.Struct.of(Map.of()));
    long written = Files.size(v.ledger);
    await().atMost(LONG).until(() -> Files.size(v.ledger) > written);
    await().atMost(LONG).untilAsserted(() -> assertThat(v.objects()).isEqualTo(before));
    await()
        .atMost(LONG)
        .until(() ->
            v.server.server.coordinator().statuses().stream().allMatch(MigrationStatus::ended));
  }

  // ---- what they do

  @Test
  void aMemberOfThePoolNamesItsCoordinatorAndIsNotFollowed() throws Exception {
    respond("session.login_with_password", failure("HOST_IS_SLAVE", "10.9.8.7"));
    failsHarmlessly(patientVm, NOT_COORDINATOR, "10.9.8.7");
    pool.resetAll();
    wellBehaved();
    respond("host.migrate_receive", failure("HOST_IS_SLAVE", "10.9.8.7"));
    failsHarmlessly(patientVm, NOT_COORDINATOR, "10.9.8.7");
    pool.verify(postRequestedFor(urlEqualTo("/")).withRequestBody(containing("session.logout")));
  }

  @Test
  void internalErrorsAreNamed() throws Exception {
    for (String method : List.of("session.login_with_password", "host.migrate_receive")) {
      pool.resetAll();
      wellBehaved();
      respond(method, aResponse().withStatus(500).withBody("<html>no</html>"));
      failsHarmlessly(patientVm, UNREACHABLE, "host: 127.0.0.1", "reason: HTTP status 500");
    }
  }

  @Test
  void slownessEndsAtADeadline() throws Exception {
    respond("session.login_with_password", aResponse().withFixedDelay(600_000));
    failsHarmlessly(impatientVm, UNREACHABLE);
    pool.resetAll();
    wellBehaved();
    respond(
        "host.migrate_receive",
        aResponse().withChunkedDribbleDelay(100, 600_000).withBody(success("x".repeat(1000))));
    failsHarmlessly(impatientVm, UNREACHABLE);
  }

  @Test
  void nonsenseIsNotUnderstood() throws Exception {
    for (ResponseDefinitionBuilder bad :
        List.of(
            aResponse().withBody("nonsense"),
            aResponse().withBody(""),
            aResponse().withBody("<?xml version=\"1.0\"?><methodResponse/>"),
            aResponse()
                .withBody("<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/hostname\">]><a>&b;</a>"),
            aResponse().withBody(success("<array><data>".repeat(2000))),
            aResponse().withBody(success(struct("not", "a session"))),
            aResponse().withFault(Fault.EMPTY_RESPONSE),
            aResponse().withFault(Fault.RANDOM_DATA_THEN_CLOSE),
            aResponse().withFault(Fault.MALFORMED_RESPONSE_CHUNK),
            aResponse().withFault(Fault.CONNECTION_RESET_BY_PEER))) {
      respond("session.login_with_password", bad);
      failsHarmlessly(patientVm, UNREACHABLE, "reason: ");
    }
  }

  @Test
  void recordsOfTheWrongKindAreNotUnderstood() throws Exception {
    answer("host.get_all_records_where", "a string");
    failsHarmlessly(patientVm, "Error: No host '' at the destination");
    answer("host.get_all_records_where", record("OpaqueRef:host", "name_label", "x"));
    answer("PIF.get_all_records_where", record("OpaqueRef:pif", "network", struct("a", "b")));
    failsHarmlessly(patientVm, "its answers make no sense");
    pool.resetAll();
    wellBehaved();
    answer("host.migrate_receive", "no token");
    failsHarmlessly(patientVm, "token");
  }

  @Test
  void hugeAnswersAreCutOff() throws Exception {
    answer("host.get_all_records_where", record("OpaqueRef:host", "x", "y".repeat(200_000)));
    failsHarmlessly(impatientVm, UNREACHABLE, "too large");
  }

  @Test
  void aCertificateOtherThanTheOneGivenOrSeenBeforeIsRefused() throws Exception {
    failsHarmlessly(
        patientVm,
        new String[] {"remote-fingerprint=" + "ab".repeat(32)},
        UNTRUSTED,
        "reason: it shows the certificate");
    assertThat(pool.getAllServeEvents()).isEmpty();
    assertThat(migrate(patientVm)).contains("First contact");
    int port = pool.httpsPort();
    pool.stop();
    pool = stub(port, here.directory.resolve("server.p12"));
    wellBehaved();
    failsHarmlessly(patientVm, UNTRUSTED, here.server.fingerprint() + " in place of");
    assertThat(pool.getAllServeEvents()).isEmpty();
  }

  @Test
  void aPoolThatKnowsNoCommitPointGetsNoRunningVm() throws Exception {
    failsHarmlessly(patientVm, FAILED, "not a XenFerry server", "vm: ");
  }

  @Test
  void aTokenThatIsNoneIsRefused() throws Exception {
    for (String token : List.of("", "x", "a.b", "e30.x", ".".repeat(20), "x".repeat(100_000))) {
      answer(
          "host.migrate_receive",
          struct("host", "OpaqueRef:host", "session_id", "s", "xenferry", token));
      failsHarmlessly(patientVm, FAILED, "not a token");
    }
  }

  /** A token that can be used, of a destination that misbehaves from then on. */
  private static void peerAnswers(ResponseDefinitionBuilder answer) throws Exception {
    Token token =
        new Token(
            UUID.randomUUID(),
            UUID.randomUUID().toString(),
            UUID.randomUUID(),
            "https://127.0.0.1:" + pool.httpsPort(),
            fingerprint().hex(),
            List.of(),
            List.of(PeerAnswer.VERSION),
            Instant.now().plusSeconds(3600).getEpochSecond());
    String forged =
        Base64.getUrlEncoder().withoutPadding().encodeToString(StrictJson.write(token)) + ".sig";
    pool.resetAll();
    pool.stubFor(any(anyUrl()).atPriority(10).willReturn(aResponse().withStatus(404)));
    wellBehaved();
    answer(
        "host.migrate_receive",
        struct("host", "OpaqueRef:host", "session_id", "s", "xenferry", forged));
    pool.stubFor(any(urlMatching("/v1/.*")).willReturn(answer));
  }

  /** Not before: a token that cannot be used would end as harmlessly. */
  private static void assertPeerWasAsked() {
    pool.verify(anyRequestedFor(urlMatching("/v1/incoming/[^/]+/check")));
  }

  @Test
  void aPeerThatMisbehavesAfterTheTokenLeavesTheVmAlone() throws Exception {
    for (ResponseDefinitionBuilder bad :
        List.of(
            aResponse().withStatus(500).withBody("no"),
            aResponse().withStatus(404),
            aResponse().withStatus(302).withHeader("Location", "https://127.0.0.1:1/"),
            aResponse().withBody("nonsense"),
            aResponse().withBody("{}"),
            aResponse().withBody("[".repeat(100_000)),
            aResponse().withBody("x".repeat(3 << 20)),
            aResponse().withFault(Fault.EMPTY_RESPONSE),
            aResponse().withFault(Fault.RANDOM_DATA_THEN_CLOSE))) {
      peerAnswers(bad);
      failsHarmlessly(patientVm);
      assertPeerWasAsked();
    }
  }

  @Test
  void aPeerThatSaysNothingIsGivenUpAtTheDeadline() throws Exception {
    peerAnswers(aResponse().withFixedDelay(600_000));
    long asked = System.nanoTime();
    failsHarmlessly(patientVm, "127.0.0.1");
    assertPeerWasAsked();
    assertThat(Duration.ofNanos(System.nanoTime() - asked))
        .isGreaterThanOrEqualTo(Deadlines.DEFAULT.message());
  }

  /** Of WireMock's own certificate. */
  private static Fingerprint fingerprint() throws Exception {
    var seen = new java.util.concurrent.atomic.AtomicReference<Fingerprint>();
    var trust =
        io.xenferry.wire.Trust.decidedBy(f -> {
          seen.set(f);
          return true;
        });
    try (var socket =
        (javax.net.ssl.SSLSocket)
            trust.context().getSocketFactory().createSocket("127.0.0.1", pool.httpsPort())) {
      socket.startHandshake();
    }
    return seen.get();
  }
}
