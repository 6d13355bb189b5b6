package io.xenferry.qemu.agent;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.spi.AgentReport;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** An agent that says what a test likes, at a socket as QEMU has it. */
@Timeout(120)
class AgentInquiryTest {
  private static final Duration LONG = Duration.ofSeconds(60);
  private static final Duration SHORT = Duration.ofMillis(300);
  private static final Pattern COMMAND = Pattern.compile("\"execute\":\"([a-z-]+)\"");
  private static final Pattern ID = Pattern.compile("\"id\":([0-9]+)");

  private static final String OFFERED =
      """
      {"return":{"version":"7.2.11","supported_commands":[
      {"name":"guest-get-osinfo","enabled":true,"success-response":true},
      {"name":"guest-get-host-name","enabled":true,"success-response":true},
      {"name":"guest-network-get-interfaces","enabled":true,"success-response":true}]}}\
      """
          .replace("\n", "");

  private final Map<String, String> answers = new ConcurrentHashMap<>();
  private final CompletableFuture<String> toldToShutDown = new CompletableFuture<>();
  private Path directory;
  private Path socket;
  private ServerSocketChannel port;

  /** What it says once it has heard the first byte of a conversation, before all answers. */
  private volatile byte[] before = new byte[0];

  private volatile boolean floods;
  private Thread agent;

  @BeforeEach
  void listen() throws IOException {
    directory = Files.createTempDirectory("xfa");
    socket = directory.resolve("agent.sock");
    port = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    port.bind(UnixDomainSocketAddress.of(socket));
    answers.put("guest-info", OFFERED);
    answers.put("guest-get-osinfo", "{\"return\":{}}");
    answers.put("guest-get-host-name", "{\"return\":{\"host-name\":\"vm7\"}}");
    answers.put("guest-network-get-interfaces", "{\"return\":[]}");
    agent = Thread.ofVirtual().start(this::serve);
  }

  @AfterEach
  void close() throws IOException {
    port.close();
    Files.deleteIfExists(socket);
    Files.delete(directory);
  }

  private void serve() {
    while (port.isOpen()) {
      try (SocketChannel client = port.accept()) {
        converse(Channels.newInputStream(client), Channels.newOutputStream(client));
      } catch (IOException e) {
        // The driver has hung up, or the test is over.
        continue;
      }
    }
  }

  private void converse(InputStream in, OutputStream out) throws IOException {
    StringBuilder line = new StringBuilder();
    for (int b = in.read(); b >= 0; b = in.read()) {
      if (b == 0xff) {
        line.setLength(0);
        out.write(before);
      } else if (b != '\n') {
        line.append((char) b);
      } else {
        answer(line.toString(), out);
        line.setLength(0);
      }
    }
  }

  private void answer(String line, OutputStream out) throws IOException {
    Matcher command = COMMAND.matcher(line);
    assertThat(command.find()).as(line).isTrue();
    String name = command.group(1);
    if (name.equals("guest-sync-delimited")) {
      Matcher id = ID.matcher(line);
      assertThat(id.find()).as(line).isTrue();
      if (!answers.containsKey("deaf")) {
        out.write(0xff);
        out.write(("{\"return\": " + id.group(1) + "}\n").getBytes(StandardCharsets.US_ASCII));
      }
    } else if (name.equals("guest-shutdown")) {
      toldToShutDown.complete(line);
    } else {
      out.write((answers.get(name) + "\n").getBytes(StandardCharsets.UTF_8));
    }
    while (floods) {
      out.write(new byte[4096]);
    }
  }

  private AgentReport report() throws Exception {
    return AgentInquiry.run(socket, LONG);
  }

  private void refused(Kind kind, Duration deadline) {
    assertThatThrownBy(() -> AgentInquiry.run(socket, deadline))
        .isInstanceOfSatisfying(
            HypervisorException.class, e -> assertThat(e.kind()).as("" + e).isEqualTo(kind));
  }

  @Test
  void whatAnAgentSaysIsTaken() throws Exception {
    answers.put(
        "guest-get-osinfo",
        """
        {"return":{"name":"Debian GNU/Linux","kernel-release":"6.1.0-13-amd64","version":"12 \
        (bookworm)","pretty-name":"Debian GNU/Linux 12 (bookworm)","version-id":"12",\
        "kernel-version":"#1 SMP","machine":"x86_64","id":"debian"}}\
        """);
    answers.put(
        "guest-network-get-interfaces",
        """
        {"return":[{"name":"lo","ip-addresses":[{"ip-address-type":"ipv4","ip-address":\
        "127.0.0.1","prefix":8}],"hardware-address":"00:00:00:00:00:00"},{"name":"eth0",\
        "ip-addresses":[{"ip-address-type":"ipv4","ip-address":"192.0.2.7","prefix":24},\
        {"ip-address-type":"ipv6","ip-address":"fe80::FF:fe00:1","prefix":64}],\
        "hardware-address":"02:00:00:00:00:AB","statistics":{"tx-errs":0}}]}\
        """);
    AgentReport report = report();
    assertThat(report.version()).isEqualTo("7.2.11");
    assertThat(report.hostName()).isEqualTo("vm7");
    assertThat(report.system())
        .containsOnly(
            Map.entry("name", "Debian GNU/Linux 12 (bookworm)"),
            Map.entry("distro", "debian"),
            Map.entry("major", "12"),
            Map.entry("minor", "0"),
            Map.entry("uname", "6.1.0-13-amd64"));
    assertThat(report.interfaces())
        .contains(
            new AgentReport.Interface(
                "02:00:00:00:00:ab",
                java.util.List.of("192.0.2.7"),
                java.util.List.of("fe80::ff:fe00:1")));
  }

  @Test
  void windowsIsCalledAsClientsKnowIt() throws Exception {
    answers.put(
        "guest-get-osinfo",
        "{\"return\":{\"id\":\"mswindows\",\"pretty-name\":\"Windows Server 2022\","
            + "\"version-id\":\"2022\",\"kernel-release\":\"20348\"}}");
    assertThat(report().system())
        .containsEntry("distro", "windows")
        .containsEntry("major", "2022")
        .containsEntry("uname", "20348");
  }

  @Test
  void whatWasSaidToSomebodyElseIsPassedOver() throws Exception {
    before = "{\"return\":{\"old\":1}}\n\u00ff{\"return\": 5}\n{\"re".getBytes("ISO-8859-1");
    assertThat(report().hostName()).isEqualTo("vm7");
  }

  @Test
  void whatAnAdministratorOfTheGuestHasForbiddenIsLeftOut() throws Exception {
    answers.put(
        "guest-info", OFFERED.replace("osinfo\",\"enabled\":true", "osinfo\",\"enabled\":0"));
    answers.put(
        "guest-get-host-name",
        "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"has been disabled\"}}");
    AgentReport report = report();
    assertThat(report.system()).isEmpty();
    assertThat(report.hostName()).isEmpty();
    assertThat(report.version()).isEqualTo("7.2.11");
  }

  @Test
  void textsAreCleanedAndCut() throws Exception {
    answers.put(
        "guest-get-host-name",
        "{\"return\":{\"host-name\":\"\\u001b[31m evil\\u0000\\n\\u202e\\ud800 name"
            + "x".repeat(5000)
            + "\"}}");
    assertThat(report().hostName())
        .startsWith("[31m evil name")
        .hasSize(AgentReport.TEXT)
        .matches("[\\x20-\\x7e]+");
  }

  @Test
  void lonesomeLiesAreDropped() throws Exception {
    answers.put(
        "guest-get-osinfo",
        "{\"return\":{\"id\":{\"a\":1},\"pretty-name\":7,\"version-id\":\"twelve\"}}");
    answers.put(
        "guest-network-get-interfaces",
        """
        {"return":[17,{"hardware-address":"02:00:00:00:00:01","ip-addresses":[\
        {"ip-address-type":"ipv4","ip-address":"1.2.3.4.5"},\
        {"ip-address-type":"ipv4","ip-address":"300.1.1.1"},\
        {"ip-address-type":"ipv4","ip-address":"1.2.3.4"},\
        {"ip-address-type":"ipv4","ip-address":"1.2.3.4"},\
        {"ip-address-type":"ipv6","ip-address":"2001:db8::1::2"},\
        {"ip-address-type":"ipv6","ip-address":"::ffff:1.2.3.4"},\
        {"ip-address-type":"ipv6","ip-address":"1:2:3:4:5:6:7"},\
        {"ip-address-type":"ipv6","ip-address":"<b>::"},\
        {"ip-address-type":"ipv6","ip-address":"fe80::1%eth0"}]},\
        {"hardware-address":"no address","ip-addresses":"none"}]}\
        """);
    AgentReport report = report();
    assertThat(report.system()).isEmpty();
    assertThat(report.interfaces())
        .containsExactly(
            new AgentReport.Interface(
                "02:00:00:00:00:01",
                java.util.List.of("1.2.3.4"),
                java.util.List.of("::ffff:1.2.3.4", "fe80::1")));
  }

  @Test
  void noMoreInterfacesAndAddressesThanTheLimitAreTaken() throws Exception {
    StringBuilder cards = new StringBuilder();
    for (int i = 0; i < 300; i++) {
      cards.append(i == 0 ? "" : ",").append("{\"hardware-address\":\"02:00:00:00:00:01\"");
      cards.append(",\"ip-addresses\":[");
      for (int j = 0; i == 0 && j < 100; j++) {
        cards.append(j == 0 ? "" : ",");
        cards.append("{\"ip-address-type\":\"ipv4\",\"ip-address\":\"10.0.0." + j + "\"}");
      }
      cards.append("]}");
    }
    answers.put("guest-network-get-interfaces", "{\"return\":[" + cards + "]}");
    AgentReport report = report();
    assertThat(report.interfaces()).hasSize(AgentReport.INTERFACES);
    assertThat(report.interfaces().getFirst().ipv4()).hasSize(AgentReport.Interface.ADDRESSES);
  }

  @Test
  void oneThatNeverEndsItsAnswerIsCutOff() {
    floods = true;
    refused(Kind.PROTOCOL, LONG);
  }

  @Test
  void oneThatTalksBeforeTheConversationForEverIsCutOff() {
    answers.put("deaf", "");
    floods = true;
    refused(Kind.PROTOCOL, LONG);
  }

  @Test
  void aLineThatIsTooLongIsRefused() {
    answers.put(
        "guest-get-osinfo", "{\"return\":\"" + "x".repeat(AgentConversation.LINE_LIMIT) + "\"}");
    refused(Kind.PROTOCOL, LONG);
  }

  @Test
  void deepJsonIsRefused() {
    answers.put(
        "guest-network-get-interfaces",
        "{\"return\":" + "[".repeat(50_000) + "]".repeat(50_000) + "}");
    refused(Kind.PROTOCOL, LONG);
  }

  @Test
  void whatIsNoJsonIsRefusedWithoutQuotingIt() {
    answers.put("guest-info", "{\u001b[31m");
    assertThatThrownBy(() -> AgentInquiry.run(socket, LONG))
        .hasMessage("the guest's agent answers no JSON of ours");
  }

  @Test
  void oneThatSaysNothingIsNotWaitedForLonger() throws Exception {
    answers.put("deaf", "");
    refused(Kind.TIMEOUT, SHORT);
    answers.remove("deaf");
    assertThat(report().hostName()).as("and may do better the next time").isEqualTo("vm7");
  }

  @Test
  void noPortIsNoAgent() throws Exception {
    port.close();
    agent.join(); // until then the port may still take somebody in
    refused(Kind.GONE, LONG);
    Files.delete(socket);
    refused(Kind.GONE, LONG);
  }

  @Test
  void itIsToldToShutDownAndNeedNotAnswer() throws Exception {
    AgentInquiry.shutdown(socket, LONG);
    assertThat(toldToShutDown.get(60, TimeUnit.SECONDS)).contains("\"mode\":\"powerdown\"");
  }
}
