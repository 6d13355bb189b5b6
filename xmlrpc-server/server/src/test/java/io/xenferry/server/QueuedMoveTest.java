package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.model.Value;
import io.xenferry.xe.client.Xe;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.net.http.HttpClient;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Moves that wait for their turn, at the source or for the destination. */
class QueuedMoveTest {
  private TwoHosts hosts;
  private TestServer.Calls source;
  private TestServer.Calls destination;

  @BeforeEach
  void start() throws Exception {
    hosts = TwoHosts.start();
    source = hosts.source;
    destination = hosts.destination;
  }

  @AfterEach
  void stop() throws Exception {
    hosts.close();
  }

  /** What REST shows of the move of a VM that has not begun. */
  private JsonNode queued(Traveller t) throws Exception {
    for (JsonNode move : Rest.get(hosts.here, "/v1/migrations")) {
      if (move.path("vm").asText().equals(t.uuid())
          && move.path("state").asText().equals("QUEUED")) {
        return move;
      }
    }
    return com.fasterxml.jackson.databind.node.MissingNode.getInstance();
  }

  /** What {@code migration-list} says that a move waits for. */
  private String listed(Traveller t) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    new Xe(Map.of(), InputStream.nullInputStream(), out, out)
        .run(
            List.of(
                "migration-list",
                "vm-uuid=" + t.uuid(),
                "state=QUEUED",
                "params=waiting",
                "--minimal",
                "-s",
                hosts.here.address,
                "--nossl",
                "-p",
                "" + hosts.here.httpPort(),
                "-u",
                "root",
                "-pw",
                hosts.here.password));
    return out.toString(StandardCharsets.UTF_8).strip();
  }

  private void awaitQueued(Traveller t, String phase) {
    await()
        .atMost(TwoHosts.LONG)
        .untilAsserted(() -> assertThat(queued(t).path("phase").asText()).contains(phase));
  }

  private void cutOver(Traveller t) throws Exception {
    String id = hosts.movesOf(t).getFirst().migration().toString();
    assertThat(Rest.patch(hosts.here, "/v1/migrations/" + id, "{\"cutover\": \"auto\"}").status())
        .isEqualTo(200);
  }

  @Test
  void whoFindsNoPlaceWaitsWithoutHoldingAnything() throws Exception {
    source.call("pool.add_to_other_config", source.only("pool"), "xenferry:moves-out", "1");
    Traveller first = hosts.traveller("first", 1);
    Traveller second = hosts.traveller("second", 1);
    Traveller third = hosts.traveller("third", 1);
    first.start();
    final String one = first.moveAsync("cutover", "hold");
    hosts.awaitPhase(first, "following");
    Map<String, Integer> there = TwoHosts.objects(hosts.there);
    final String two = second.moveAsync("cutover", "auto");
    awaitQueued(second, "one of the 1 places for moves from this host");
    String three = third.moveAsync("cutover", "auto");
    awaitQueued(third, "places");
    assertThat(queued(third).path("position").asInt()).isEqualTo(2);
    assertThat(hosts.movesOf(second)).as("in the ledger").isEmpty();
    Map<String, Integer> now = TwoHosts.objects(hosts.there);
    now.keySet().retainAll(java.util.Set.of("VM", "VDI", "VBD", "VIF"));
    assertThat(there).containsAllEntriesOf(now);
    assertThat(
            ((Value.Struct) source.call("task.get_other_config", two))
                .members()
                .get("xenferry:waiting"))
        .isEqualTo(Value.of("one of the 1 places for moves from this host"));

    String path = "/v1/migrations/" + queued(third).path("migration").asText();
    Rest.Answer changed = Rest.patch(hosts.here, path, "{\"paused\": true}");
    assertThat(changed.status()).isEqualTo(409);
    assertThat(changed.json().path("params").toString()).contains("has not begun");
    try (HttpClient client = HttpClient.newHttpClient();
        InputStream events = Rest.follow(client, hosts.here, path + "/events")) {
      source.call("task.cancel", three);
      List<String> told =
          new String(events.readAllBytes(), StandardCharsets.UTF_8)
              .lines()
              .filter(line -> line.startsWith("data: "))
              .toList();
      assertThat(told.getFirst()).contains("\"QUEUED\"", "\"ended\":false");
      assertThat(told.getLast()).contains("\"did not begin\"", "\"ended\":true");
    }
    assertThat(hosts.awaitEnd(three)).isEqualTo("cancelled");
    assertThat(source.call("VM.get_current_operations", third.vm())).isEqualTo(Value.EMPTY_STRUCT);
    path = "/v1/migrations/" + queued(second).path("migration").asText();
    try (HttpClient client = HttpClient.newHttpClient();
        InputStream events = Rest.follow(client, hosts.here, path + "/events")) {
      cutOver(first);
      hosts.awaitSuccess(one);
      hosts.awaitSuccess(two);
      assertThat(new String(events.readAllBytes(), StandardCharsets.UTF_8))
          .contains("\"QUEUED\"", "\"SENDING\"", "\"GIVEN\"");
    }
    assertThat(
            destination.text(
                "VM.get_power_state", destination.text("VM.get_by_uuid", second.uuid())))
        .isEqualTo("Halted");
    destination.call("VM.hard_shutdown", destination.text("VM.get_by_uuid", first.uuid()));
  }

  @Test
  void theDestinationsPlacesAreWaitedForToo() throws Exception {
    destination.call(
        "pool.add_to_other_config", destination.only("pool"), "xenferry:moves-in", "1");
    Traveller first = hosts.traveller("first", 1);
    Traveller second = hosts.traveller("second", 1);
    first.start();
    String one = first.moveAsync("cutover", "hold");
    hosts.awaitPhase(first, "following");
    String two = second.moveAsync("cutover", "auto");
    awaitQueued(second, "1 moves are arriving at the destination or expected there");
    assertThat(listed(second))
        .startsWith("1 moves are arriving at the destination or expected there since ");
    // Whoever only asks whether it could go is told yes: it need but wait.
    Traveller third = hosts.traveller("third", 1);
    third.check();
    String id = queued(second).path("migration").asText();
    assertThat(Rest.get(hosts.here, "/v1/migrations/" + id).path("state").asText())
        .isEqualTo("QUEUED");
    assertThat(
            Rest.post(
                hosts.here, "/v1/migrations/" + id + "/cancel", "root:" + hosts.here.password))
        .isEqualTo(200);
    assertThat(hosts.awaitEnd(two)).isEqualTo("cancelled");
    String again = second.moveAsync("cutover", "auto");
    awaitQueued(second, "1 moves are arriving");
    cutOver(first);
    hosts.awaitSuccess(one);
    hosts.awaitSuccess(again);
    destination.call("VM.hard_shutdown", destination.text("VM.get_by_uuid", first.uuid()));
  }

  @Test
  void anSrHasItsOwnPlaces() throws Exception {
    source.call("SR.add_to_other_config", hosts.from, "xenferry:moves", "1");
    Traveller first = hosts.traveller("first", 1);
    Traveller second = hosts.traveller("second", 1);
    first.start();
    final String one = first.moveAsync("cutover", "hold");
    hosts.awaitPhase(first, "following");
    final String two = second.moveAsync("cutover", "auto");
    awaitQueued(second, "one of the 1 places for moves from the SR");
    // The session that asked for it may end.
    source.call("SR.remove_from_other_config", hosts.from, "xenferry:moves");
    hosts.awaitSuccess(two);
    cutOver(first);
    hosts.awaitSuccess(one);
    destination.call("VM.hard_shutdown", destination.text("VM.get_by_uuid", first.uuid()));
  }
}
