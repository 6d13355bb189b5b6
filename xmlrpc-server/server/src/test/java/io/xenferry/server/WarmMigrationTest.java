package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Moves with a reboot, as clients see them. */
class WarmMigrationTest extends BetweenHosts {
  private static String moveWarm(Traveller t, String... more) throws XenApiException {
    Stream<String> warm = Stream.of("mode", "warm");
    return t.move(Stream.concat(warm, Stream.of(more)).toArray(String[]::new));
  }

  private static String startTime(TestServer.Calls host, String vm) throws Exception {
    return host.call("VM_metrics.get_start_time", host.text("VM.get_metrics", vm)).toString();
  }

  private static Map<String, String> processorThere() throws Exception {
    return hosts
        .there
        .server
        .context()
        .db()
        .snapshot()
        .get(new Ref<Host>(destination.only("host")), Host.CPU_INFO);
  }

  private static void processorThere(Map<String, String> other) throws Exception {
    var host = new Ref<Host>(destination.only("host"));
    hosts.there.server.context().db().change(tx -> tx.set(host, Host.CPU_INFO, other));
  }

  @Test
  void oneThatCannotGoOnThereRunsThereWhereItHasBooted() throws Exception {
    Traveller t = hosts.traveller("warm", 2);
    // Its own end is no end that anybody has to do something about.
    source.call("VM.set_actions_after_shutdown", t.vm(), "restart");
    t.start();
    String started = startTime(source, t.vm());
    long second = Instant.now().getEpochSecond(); // a date has no more
    await().until(() -> Instant.now().getEpochSecond() > second);

    Map<String, String> processor = processorThere();
    Map<String, String> other = new LinkedHashMap<>(processor);
    other.put("vendor", "another");
    processorThere(other);

    assertCode("VM_INCOMPATIBLE_WITH_THIS_HOST", t::move);
    String moved = moveWarm(t);
    processorThere(processor);

    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    assertThat(destination.call("VM.get_last_boot_CPU_flags", moved).toString())
        .contains("another");
    assertThat(destination.call("VM.get_current_operations", moved)).isEqualTo(Value.EMPTY_STRUCT);
    assertThat(startTime(destination, moved)).isNotEqualTo(started);
    assertCode("HANDLE_INVALID", () -> source.call("VM.get_power_state", t.vm()));
    MigrationStatus status = hosts.movesOf(t).getFirst();
    assertThat(status.ended()).isTrue();
    assertThat(status.memorySent()).isZero();
    assertThat(status.downtime()).isPresent();
    assertThat(status.phases().keySet())
        .contains("waiting for the guest to shut down")
        .noneMatch(phase -> phase.contains("memory"));
    t.awaitWrites();
    t.endThere(moved);
  }

  /** At 64 KiB a second, which its guest fills, it would stand still for long. */
  @Test
  void whatItWroteWhileTheMoveWasPausedIsSentBeforeItIsToldToShutDown() throws Exception {
    Traveller t = hosts.traveller("held", 1);
    t.start();
    String task = t.moveAsync("mode", "warm", "cutover", "hold", "max-downtime", "500");
    hosts.awaitPhase(t, "following the guest's writes");
    steer(t, "{\"paused\": true}");
    hosts.awaitPhase(t, "paused");
    for (int i = 0; i < 5; i++) {
      t.awaitWrites();
    }
    steer(t, "{\"paused\": false, \"cutover\": \"auto\", \"bandwidth\": 65536}");
    hosts.awaitPhase(t, "preparing the disks for the switch");
    t.awaitWrites();
    assertThat(hosts.movesOf(t).getFirst().phase()).startsWith("preparing the disks");
    assertThat(t.powerState()).isEqualTo("Running");

    steer(t, "{\"bandwidth\": 0}");
    hosts.awaitSuccess(task);
    String moved = destination.text("VM.get_by_uuid", t.uuid());
    t.awaitWrites();
    t.endThere(moved);
  }

  private static void steer(Traveller t, String change) throws Exception {
    String path = "/v1/migrations/" + hosts.movesOf(t).getFirst().migration();
    assertThat(Rest.patch(hosts.here, path, change).status()).isEqualTo(200);
  }

  private static Traveller deaf(String name) throws Exception {
    return faulty(name, "ignore-power");
  }

  private static Traveller faulty(String name, String fault) throws Exception {
    Traveller t = hosts.traveller(name, 1);
    source.call("VM.add_to_platform", t.vm(), "xenferry:fault", fault);
    t.start();
    return t;
  }

  /**
   * @return the task of a move whose guest is to shut down and does not
   */
  private static String untilToldToStop(Traveller t) throws Exception {
    String task = t.moveAsync("mode", "warm");
    hosts.awaitPhase(t, "waiting for the guest to shut down");
    return task;
  }

  @Test
  void oneThatDoesNotShutDownGoesOnAndTheMoveSaysWhatMayBeDone() throws Exception {
    Traveller t = deaf("deaf");
    Map<String, Integer> before = TwoHosts.objects(hosts.there);

    XenApiException refused =
        assertCode("VM_MIGRATE_FAILED", () -> moveWarm(t, "shutdown-timeout", "1"));

    assertThat(refused.params())
        .last()
        .asString()
        .contains("did not shut down within 1 s")
        .contains("hard-shutdown=true");
    assertThat(t.powerState()).isEqualTo("Running");
    t.awaitWrites();
    t.end();
    hosts.awaitNothingLeft(t, before);
  }

  @Test
  void oneThatDoesNotShutDownIsStoppedWhereThatIsWanted() throws Exception {
    Traveller t = deaf("stopped");

    String moved = moveWarm(t, "shutdown-timeout", "1", "hard-shutdown", "true");

    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    t.endThere(moved);
  }

  @Test
  void oneThatRebootsInsteadIsAskedOnceMore() throws Exception {
    Traveller t = faulty("rebooter", "reboot-power");

    String moved = moveWarm(t, "shutdown-timeout", "4");

    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    destination.call("VM.hard_shutdown", moved);
  }

  @ParameterizedTest
  @CsvSource({"restart, Running", "destroy, Halted"})
  void oneWhoseProcessDiesIsDealtWithAsItsActionsSay(String action, String state) throws Exception {
    Traveller t = faulty("dying-" + action, "die=power-button");
    source.call("VM.set_actions_after_crash", t.vm(), action);
    Map<String, Integer> before = TwoHosts.objects(hosts.there);

    XenApiException refused = assertCode("VM_MIGRATE_FAILED", () -> moveWarm(t));

    assertThat(refused.params()).last().asString().contains("stopped while it was being moved");
    await()
        .atMost(TwoHosts.LONG)
        .until(() ->
            t.powerState().equals(state)
                && source.call("VM.get_current_operations", t.vm()).equals(Value.EMPTY_STRUCT));
    hosts.awaitNothingLeft(t, before);
    if (state.equals("Running")) {
      t.end();
    }
  }

  @Test
  void whileItIsToShutDownNobodyElseStartsOrStopsItAndACancelLetsItRunOn() throws Exception {
    Traveller t = deaf("wavering");
    String task = untilToldToStop(t);

    assertCode("VM_BAD_POWER_STATE", () -> source.call("VM.start", t.vm(), false, false));
    for (String operation : List.of("hard_shutdown", "clean_shutdown", "hard_reboot", "pause")) {
      assertCode("OTHER_OPERATION_IN_PROGRESS", () -> source.call("VM." + operation, t.vm()));
    }
    hosts.cancel(task);

    assertThat(t.powerState()).isEqualTo("Running");
    t.awaitWrites();
    // What a client does with it from here on counts, though its guest might still shut down.
    t.end();
    await().atMost(TwoHosts.LONG).until(() -> hosts.movesOf(t).getFirst().ended());
    assertThat(t.powerState()).isEqualTo("Halted");
  }

  @Test
  void oneThatShutsDownWhenItsMoveWasCancelledAlreadyBootsAgain() throws Exception {
    Traveller t = faulty("late", "slow-power");
    String started = startTime(source, t.vm());
    String task = untilToldToStop(t);
    hosts.cancel(task);
    await().atMost(TwoHosts.LONG).until(() -> !startTime(source, t.vm()).equals(started));
    assertThat(t.powerState()).isEqualTo("Running");
    t.awaitWrites();
    t.end();
  }

  @Test
  void whatUefiFirmwareKeepsIsNotLeftBehindUnnoticed() throws Exception {
    Traveller t = hosts.traveller("firm", 1);
    t.start();
    source.call("VM.set_HVM_boot_params", t.vm(), Map.of("order", "c", "firmware", "uefi"));

    XenApiException refused = assertCode("OPERATION_NOT_ALLOWED", () -> moveWarm(t));

    assertThat(refused.params().getFirst()).contains("UEFI variables");
    t.end();
  }
}
