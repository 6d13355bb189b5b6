package io.xenferry.migration.peer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpServer;
import io.xenferry.copy.Digest;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class PeerProtocolTest {
  private static final String KEY = "ab".repeat(32);
  private static final Duration SOON = Duration.ofSeconds(10);
  private final UUID incarnation = UUID.randomUUID();
  private final MigrationId migration = new MigrationId(UUID.randomUUID());
  private final Map<MigrationId, String> keys = new HashMap<>();
  private final List<PeerMessage> heard = new ArrayList<>();
  private final HttpPeerTransport transport = new HttpPeerTransport();
  private final PeerClient client = new PeerClient(transport);
  private HttpServer server;
  private PeerAddress address;
  private TokenMint mint;
  private PeerEndpoint endpoint;

  private final class Recorder implements PeerHandler {
    @Override
    public UUID incarnation() {
      return incarnation;
    }

    @Override
    public Optional<String> key(MigrationId id, Role role) {
      return Optional.ofNullable(keys.get(id));
    }

    @Override
    public CompletableFuture<PeerAnswer> handle(
        MigrationId id, PeerMessage message, Caller caller) {
      heard.add(message);
      if (message instanceof PeerMessage.Open open) {
        keys.put(id, open.key());
        return CompletableFuture.completedFuture(
            PeerAnswer.of(incarnation, State.RECEIVING, false, false)
                .withTargets(
                    List.of(
                        new DiskTarget(
                            open.plan().disks().getFirst().vdi(),
                            UUID.randomUUID(),
                            "iscsi://u%p@h/iqn/1",
                            512))));
      }
      return CompletableFuture.completedFuture(
          PeerAnswer.of(incarnation, State.READY, false, false));
    }
  }

  @BeforeEach
  void serve() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    address = new PeerAddress("http://127.0.0.1:" + server.getAddress().getPort(), "");
    mint = new TokenMint(new byte[32], incarnation, "host", address);
    endpoint = new PeerEndpoint(new Recorder(), mint);
    server.createContext(
        "/",
        exchange -> {
          Map<String, String> headers = new HashMap<>();
          exchange
              .getRequestHeaders()
              .forEach((name, all) -> headers.put(name.toLowerCase(Locale.ROOT), all.getFirst()));
          PeerResponse response =
              endpoint
                  .handle(
                      new PeerRequest(
                          exchange.getRequestMethod(),
                          exchange.getRequestURI().getPath(),
                          headers,
                          exchange.getRequestBody().readAllBytes()))
                  .join();
          exchange.sendResponseHeaders(response.status(), response.body().length);
          exchange.getResponseBody().write(response.body());
          exchange.close();
        });
    server.start();
  }

  @AfterEach
  void stop() {
    transport.close();
    server.stop(0);
  }

  private String token() {
    return mint.issue(
        migration, List.of("sr:x"), address.url(), Instant.now(), Duration.ofMinutes(1));
  }

  private PeerMessage.Open open() {
    UUID vm = UUID.randomUUID();
    Plan plan =
        new Plan(
            vm,
            vm,
            "vm",
            Plan.Power.RUNNING,
            4096,
            List.of(new Plan.Disk(UUID.randomUUID(), "xvda", 512, "sr", "log-dirty", false)),
            false,
            false,
            Map.of("k", "v"));
    return new PeerMessage.Open(
        List.of(1), KEY, UUID.randomUUID(), "http://source:1", "", plan, "{\"a\":1}");
  }

  @Test
  void aCheckGoesByTheTokenAloneAndUsesNothingUp() {
    PeerMessage.Check check = new PeerMessage.Check(List.of(1), open().plan(), "{}");
    assertThat(send(token(), "", check).refused()).isFalse();
    assertThat(send(token(), "", check).refused()).isFalse();
    assertThat(heard).containsExactly(check, check);
    assertThat(keys).isEmpty();
    assertThat(send("", "", check).code()).isEqualTo("SESSION_AUTHENTICATION_FAILED");
    assertThat(send(token() + "x", "", check).code()).isEqualTo("SESSION_AUTHENTICATION_FAILED");
    PeerResponse outgoing =
        endpoint
            .handle(
                new PeerRequest(
                    "POST",
                    "/v1/outgoing/" + migration + "/check",
                    Map.of(PeerRequest.TOKEN, token()),
                    StrictJson.write(check)))
            .join();
    assertThat(outgoing.status()).isGreaterThanOrEqualTo(400);
    assertThat(heard).hasSize(2);
  }

  /** Whoever asks it has a token of its own host, if any. */
  @Test
  void aSourceThatKnowsNothingOfItSaysSoToAnybody() {
    assertThat(send("", KEY, new PeerMessage.SourceStatus()).refused()).isFalse();
    assertThat(heard).containsExactly(new PeerMessage.SourceStatus());
    assertThat(send("", KEY, new PeerMessage.Status()).code())
        .isEqualTo("SESSION_AUTHENTICATION_FAILED");
  }

  private PeerAnswer send(String token, String key, PeerMessage message) {
    return client.send(address, migration, token, key, message, SOON).join();
  }

  @Test
  void everyMessageArrivesAsItWasSent() {
    List<PeerMessage> all =
        List.of(
            open(),
            new PeerMessage.Heartbeat(),
            new PeerMessage.StartGuest(),
            new PeerMessage.CloseExports(List.of(UUID.randomUUID())),
            new PeerMessage.Room(),
            new PeerMessage.Digests(UUID.randomUUID(), 1 << 16, 1 << 20, 1 << 16, Digest.CHECKSUM),
            new PeerMessage.Prepare(),
            new PeerMessage.Commit(incarnation),
            new PeerMessage.Abort(incarnation),
            new PeerMessage.Status(),
            new PeerMessage.Acknowledge(),
            new PeerMessage.SourceStatus());
    String token = token();
    for (PeerMessage message : all) {
      assertThat(send(token, KEY, message).refused()).isFalse();
    }
    assertThat(heard).isEqualTo(all);
  }

  @Test
  void whoOnlyCarriedTheTokenCannotForgeACommit() {
    String token = token();
    send(token, KEY, open());
    PeerAnswer forged = send(token, "cd".repeat(32), new PeerMessage.Commit(incarnation));
    assertThat(forged.refused()).isTrue();
    assertThat(forged.code()).isEqualTo("SESSION_AUTHENTICATION_FAILED");
    assertThat(heard).hasSize(1);
  }

  @Test
  void aTokenOfAnotherHostOrIncarnationOrMigrationOpensNothing() {
    TokenMint forger = new TokenMint(new byte[] {1}, incarnation, "host", address);
    TokenMint older = new TokenMint(new byte[32], UUID.randomUUID(), "host", address);
    TokenMint other = new TokenMint(new byte[32], incarnation, "host", address);
    Instant now = Instant.now();
    assertThat(
            send(forger.issue(migration, List.of(), address.url(), now, SOON), KEY, open())
                .refused())
        .isTrue();
    assertThat(
            send(older.issue(migration, List.of(), address.url(), now, SOON), KEY, open())
                .refused())
        .isTrue();
    assertThat(
            send(
                    other.issue(
                        new MigrationId(UUID.randomUUID()), List.of(), address.url(), now, SOON),
                    KEY,
                    open())
                .refused())
        .isTrue();
    assertThat(heard).isEmpty();
  }

  @Test
  void anUnknownMigrationNeedsTheTokenOnly() {
    assertThat(send(token(), KEY, new PeerMessage.Abort(incarnation)).refused()).isFalse();
    assertThat(send("", KEY, new PeerMessage.Abort(incarnation)).refused()).isTrue();
  }

  @Test
  void junkIsRefusedAndReachesNobody() {
    Random random = new Random(4);
    send(token(), KEY, open());
    heard.clear();
    String[] paths = {
      "/",
      "/v1",
      "/v1/incoming",
      "/v1/incoming/",
      "/v1/incoming/x",
      "/v1/incoming/../x",
      "/v1/incoming/" + migration + "/commit",
      "/v1/incoming/" + migration + "/nothing",
      "/v1/outgoing/" + migration + "/commit",
      "/v1/incoming/" + migration
    };
    for (int i = 0; i < 2000; i++) {
      byte[] body = new byte[random.nextInt(200)];
      random.nextBytes(body);
      String path = paths[random.nextInt(paths.length)];
      String method = random.nextBoolean() ? "POST" : "PUT";
      Map<String, String> headers = new HashMap<>();
      if (random.nextBoolean()) {
        headers.put(PeerRequest.MAC, Keys.sign(KEY, method, path, body));
      }
      if (random.nextBoolean()) {
        headers.put(PeerRequest.TOKEN, random.nextBoolean() ? token() : "a.b");
      }
      PeerResponse response = endpoint.handle(new PeerRequest(method, path, headers, body)).join();
      assertThat(response.status()).isBetween(400, 499);
      assertThat(PeerAnswer.read(response.body()).refused()).isTrue();
    }
    assertThat(heard).isEmpty();
  }

  @Test
  void strictJsonRefusesWhatIsNotExactlyIt() {
    String good = StrictJson.text(new PeerMessage.Commit(incarnation));
    assertThat(StrictJson.read(good, PeerMessage.Commit.class).incarnation())
        .isEqualTo(incarnation);
    for (String bad :
        List.of(
            "",
            "null",
            "{}",
            "[]",
            good + good,
            good.replace("}", ",\"x\":1}"),
            good.replace("}", "," + good.substring(1)),
            "{\"incarnation\":null}",
            "{\"incarnation\":5}",
            "[".repeat(100_000))) {
      assertThatThrownBy(() -> StrictJson.read(bad, PeerMessage.Commit.class))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void aBodyBeyondTheLimitGets413() {
    send(token(), KEY, open());
    PeerResponse response =
        endpoint
            .handle(
                new PeerRequest(
                    "POST",
                    "/v1/incoming/" + migration + "/status",
                    Map.of(),
                    new byte[PeerEndpoint.MAX_MESSAGE + 1]))
            .join();
    assertThat(response.status()).isEqualTo(413);
  }

  @Test
  void aPeerThatSaysNothingOrNonsenseIsAFailureInTime() throws IOException {
    try (ServerSocket silent = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      PeerAddress mute = new PeerAddress("http://127.0.0.1:" + silent.getLocalPort(), "");
      CompletableFuture<PeerAnswer> answer =
          client.send(mute, migration, "", KEY, new PeerMessage.Status(), Duration.ofMillis(300));
      assertThatThrownBy(() -> answer.get(10, TimeUnit.SECONDS))
          .hasCauseInstanceOf(Exception.class);
    }
    server.removeContext("/");
    server.createContext(
        "/",
        exchange -> {
          byte[] nonsense = "<html>".repeat(200_000).getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(200, nonsense.length);
          exchange.getResponseBody().write(nonsense);
          exchange.close();
        });
    assertThatThrownBy(() -> send("", KEY, new PeerMessage.Status()))
        .isInstanceOf(RuntimeException.class);
  }

  @Test
  void onlyTheKeyAdmitsTheMemoryStream() {
    send(token(), KEY, open());
    assertThat(endpoint.admitMemory(PeerClient.memoryRequest(migration, KEY))).contains(migration);
    assertThat(endpoint.admitMemory(PeerClient.memoryRequest(migration, "cd".repeat(32))))
        .isEmpty();
  }

  @Test
  void secretsAreNotPrinted() {
    assertThat(open().toString()).doesNotContain(KEY);
    assertThat(
            new DiskTarget(UUID.randomUUID(), UUID.randomUUID(), "iscsi://u%secret@h", 1)
                .toString())
        .doesNotContain("secret");
  }

  /** A peer that speaks only the first version reads everything but an answer with findings. */
  @Test
  void findingsAreForThoseWhoAskForThem() {
    PeerAnswer plain = PeerAnswer.unknown(incarnation);
    assertThat(new String(plain.write(), StandardCharsets.UTF_8)).doesNotContain("findings");
    assertThat(PeerAnswer.read(plain.write())).isEqualTo(plain);
    Obstacle full =
        new Obstacle(
            ObstacleKind.TARGET_SR_FULL,
            Role.DESTINATION,
            "SR_FULL",
            List.of("2", "1"),
            "2 bytes do not fit");
    PeerAnswer told = plain.with(1234, List.of(full));
    assertThat(PeerAnswer.read(told.write())).isEqualTo(told);
    assertThat(PeerAnswer.read(told.write()).findings().found()).containsExactly(full);
    String newer =
        new String(told.write(), StandardCharsets.UTF_8).replace("TARGET_SR_FULL", "UNHEARD_OF");
    Obstacle read =
        PeerAnswer.read(newer.getBytes(StandardCharsets.UTF_8)).findings().found().getFirst();
    assertThat(read.kind()).isEqualTo(ObstacleKind.OTHER);
    assertThat(read.sentence()).isEqualTo("2 bytes do not fit");
    for (String bad :
        List.of(
            newer.replace("\"SR_FULL\"", "\"sr full\""),
            newer.replace("1234", "null"),
            newer.replace("[\"2\",\"1\"]", "[null]"))) {
      assertThat(bad).isNotEqualTo(newer);
      assertThatThrownBy(() -> PeerAnswer.read(bad.getBytes(StandardCharsets.UTF_8)))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }
}
