package io.xenferry.wire;

import static com.github.tomakehurst.wiremock.client.WireMock.aResponse;
import static com.github.tomakehurst.wiremock.client.WireMock.any;
import static com.github.tomakehurst.wiremock.client.WireMock.anyUrl;
import static com.github.tomakehurst.wiremock.client.WireMock.equalTo;
import static com.github.tomakehurst.wiremock.client.WireMock.postRequestedFor;
import static com.github.tomakehurst.wiremock.client.WireMock.urlEqualTo;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.github.tomakehurst.wiremock.WireMockServer;
import com.github.tomakehurst.wiremock.client.ResponseDefinitionBuilder;
import com.github.tomakehurst.wiremock.core.WireMockConfiguration;
import com.github.tomakehurst.wiremock.http.Fault;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.net.ServerSocket;
import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Against foreign pools that misbehave. */
class XmlRpcXenApiTest {
  private static final String SUCCESS =
      "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>"
          + "<value>Success</value></member><member><name>Value</name><value>%s</value></member></struct>"
          + "</value></param></params></methodResponse>";
  private static final String FAILURE =
      "<methodResponse><params><param><value><struct><member><name>Status</name><value>Failure</value>"
          + "</member><member><name>ErrorDescription</name><value><array><data><value>HOST_IS_SLAVE</value>"
          + "<value>10.0.0.1</value></data></array></value></member></struct></value></param></params>"
          + "</methodResponse>";

  private static WireMockServer pool;

  @BeforeAll
  static void start() {
    pool =
        new WireMockServer(
            WireMockConfiguration.options()
                .bindAddress("127.0.0.1")
                .dynamicPort()
                .dynamicHttpsPort());
    pool.start();
  }

  @AfterAll
  static void stop() {
    pool.stop();
  }

  @BeforeEach
  void reset() {
    pool.resetAll();
  }

  @Test
  void aCallGoesThereAndBack() throws Exception {
    answer(aResponse().withBody(SUCCESS.formatted("OpaqueRef:1")));
    try (XmlRpcXenApi api = trusting()) {
      assertThat(api.call("session.login_with_password", Value.of("root"), Value.of("x")))
          .isEqualTo(Value.of("OpaqueRef:1"));
    }
    pool.verify(postRequestedFor(urlEqualTo("/")).withHeader("Content-Type", equalTo("text/xml")));
  }

  @Test
  void aSlaveIsReportedAndNotFollowed() {
    answer(aResponse().withBody(FAILURE));
    XenApiException e = failure(trusting());
    assertThat(e.code()).isEqualTo("HOST_IS_SLAVE");
    assertThat(e.params()).containsExactly("10.0.0.1");
  }

  @Test
  void redirectsErrorsAndNonsenseAreUnreachable() {
    for (ResponseDefinitionBuilder bad :
        List.of(
            aResponse().withStatus(500).withBody("<html>"),
            aResponse().withStatus(302).withHeader("Location", "http://127.0.0.1:1/"),
            aResponse().withBody("nonsense"),
            aResponse().withBody(SUCCESS.formatted("<x/>")),
            aResponse().withBody("<methodResponse/>"),
            aResponse().withFault(Fault.EMPTY_RESPONSE),
            aResponse().withFault(Fault.CONNECTION_RESET_BY_PEER),
            aResponse().withFault(Fault.MALFORMED_RESPONSE_CHUNK))) {
      answer(bad);
      assertThat(failure(trusting()).code()).isEqualTo("CANNOT_CONTACT_HOST");
    }
  }

  @Test
  void slownessEndsAtTheDeadlineInTheHeadAndInTheBody() {
    Duration deadline = Duration.ofMillis(400);
    answer(aResponse().withFixedDelay(20_000).withBody(SUCCESS.formatted("x")));
    assertEndsSoon(deadline);
    answer(aResponse().withChunkedDribbleDelay(20, 20_000).withBody(SUCCESS.formatted("x")));
    assertEndsSoon(deadline);
  }

  @Test
  void anEndlessAnswerIsCutOff() {
    answer(aResponse().withBody(SUCCESS.formatted("x".repeat(100_000))));
    XenApiException e =
        failure(
            new XmlRpcXenApi(uri(), Trust.decidedBy(f -> true), Duration.ofSeconds(10), 10_000));
    assertThat(e.code()).isEqualTo("CANNOT_CONTACT_HOST");
    assertThat(e).hasStackTraceContaining("too large");
  }

  @Test
  void theWrongCertificateIsATlsFailureAndTheRightOneIsAccepted() throws Exception {
    answer(aResponse().withBody(SUCCESS.formatted("x")));
    List<Fingerprint> shown = new ArrayList<>();
    try (XmlRpcXenApi api =
        new XmlRpcXenApi(uri(), Trust.decidedBy(shown::add), Duration.ofSeconds(10))) {
      api.call("x");
    }
    assertThat(shown).isNotEmpty();
    XenApiException e =
        failure(
            new XmlRpcXenApi(
                uri(), Trust.pinned(new Fingerprint("ab".repeat(32))), Duration.ofSeconds(10)));
    assertThat(e.code()).isEqualTo("TLS_CONNECTION_FAILED");
    assertThat(e.params()).containsExactly("127.0.0.1", Integer.toString(pool.httpsPort()));
    try (XmlRpcXenApi api =
        new XmlRpcXenApi(uri(), Trust.pinned(shown.getFirst()), Duration.ofSeconds(10))) {
      assertThat(api.call("x")).isEqualTo(Value.of("x"));
    }
  }

  @Test
  void nobodyThereIsUnreachable() throws Exception {
    int port;
    try (ServerSocket s = new ServerSocket(0)) {
      port = s.getLocalPort();
    }
    assertThat(
            failure(
                    new XmlRpcXenApi(
                        URI.create("https://127.0.0.1:" + port),
                        Trust.decidedBy(f -> true),
                        Duration.ofSeconds(5)))
                .code())
        .isEqualTo("CANNOT_CONTACT_HOST");
  }

  private void assertEndsSoon(Duration deadline) {
    long start = System.nanoTime();
    XenApiException e = failure(new XmlRpcXenApi(uri(), Trust.decidedBy(f -> true), deadline));
    assertThat(e.code()).isEqualTo("CANNOT_CONTACT_HOST");
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(10));
  }

  private static void answer(ResponseDefinitionBuilder response) {
    pool.resetAll();
    pool.stubFor(any(anyUrl()).willReturn(response));
  }

  private static URI uri() {
    return URI.create("https://127.0.0.1:" + pool.httpsPort());
  }

  private static XmlRpcXenApi trusting() {
    return new XmlRpcXenApi(uri(), Trust.decidedBy(f -> true), Duration.ofSeconds(10));
  }

  private static XenApiException failure(XmlRpcXenApi api) {
    try (api) {
      return catchThrowableOfType(XenApiException.class, () -> api.call("pool.get_all"));
    }
  }
}
