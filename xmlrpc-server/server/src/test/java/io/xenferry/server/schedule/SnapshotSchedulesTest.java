package io.xenferry.server.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMSS;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.event.Alert;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.task.Tasks;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** When schedules run, by a clock that only this test moves. */
class SnapshotSchedulesTest {
  private static final Instant TUESDAY = Instant.parse("2026-03-03T10:10:00Z");

  /** Stands still until it is put forward, or back. */
  private static final class Hands extends Clock {
    private Instant now = TUESDAY;

    @Override
    public Instant instant() {
      return now;
    }

    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return this;
    }
  }

  private final ObjectDatabase database = MemoryDatabase.create();
  private final Hands clock = new Hands();
  private final List<String> done = new ArrayList<>();
  private @TempDir Path directory;
  private Alerts alerts;
  private SnapshotSchedules schedules;
  private boolean failing;

  @BeforeEach
  void begin() throws Exception {
    alerts = new Alerts(directory, clock);
    schedules =
        new SnapshotSchedules(
            database,
            new Tasks(database, new Schema(), clock),
            alerts,
            clock,
            ZoneOffset.UTC,
            (vm, name, memory, task) -> {
              if (failing) {
                throw new XenApiException("SR_FULL", "1", "0");
              }
              done.add((memory ? "checkpoint " : "snapshot ") + name);
              return database.write(tx ->
                  Ref.of(
                      tx.create(
                          "VM",
                          Map.of(
                              "is_a_snapshot", Value.of(true),
                              "is_vmss_snapshot", Value.of(true),
                              "snapshot_of", Value.of(vm),
                              "snapshot_time", Value.of(clock.instant()),
                              "name_label", Value.of(name)))));
            },
            (snapshot, task) -> {
              done.add("destroy " + database.snapshot().get(snapshot, VM.NAME_LABEL));
              database.change(tx -> tx.delete("VM", snapshot.opaque()));
            });
  }

  @AfterEach
  void end() {
    schedules.close();
  }

  private Ref<VMSS> schedule(String type, String frequency, Map<String, String> times)
      throws XenApiException {
    return database.write(tx ->
        Ref.of(
            tx.create(
                "VMSS",
                Map.of(
                    "name_label", Value.of("S"),
                    "enabled", Value.of(true),
                    "type", Value.of(type),
                    "frequency", Value.of(frequency),
                    "retained_snapshots", Value.of(2L),
                    "schedule", Value.ofTexts(times)))));
  }

  private void vm(String name, Ref<VMSS> schedule) throws XenApiException {
    database.change(tx ->
        tx.create(
            "VM", Map.of("name_label", Value.of(name), "snapshot_schedule", Value.of(schedule))));
  }

  /** Lets the clock go on, and whatever is due then be done. */
  private List<String> after(Duration time) {
    clock.now = clock.now.plus(time);
    done.clear();
    schedules.look().forEach(schedules::runDue);
    return List.copyOf(done);
  }

  @Test
  void aScheduleRunsOnceWhenItIsDue() throws Exception {
    Ref<VMSS> hourly = schedule("snapshot", "hourly", Map.of("min", "15"));
    vm("v", hourly);
    vm("w", hourly);
    assertThat(after(Duration.ofMinutes(4))).isEmpty();
    assertThat(after(Duration.ofMinutes(1)))
        .containsExactlyInAnyOrder(
            "snapshot v S 20260303T101500Z", "snapshot w S 20260303T101500Z");
    assertThat(database.snapshot().get(hourly, VMSS.LAST_RUN_TIME)).isEqualTo(clock.instant());
    assertThat(after(Duration.ofSeconds(10))).isEmpty();
    assertThat(after(Duration.ofMinutes(59))).isEmpty();
    assertThat(after(Duration.ofMinutes(1))).hasSize(2);
    assertThat(alerts.all()).extracting(Alert::name).containsOnly("VMSS_SNAPSHOT_SUCCEEDED");
  }

  @Test
  void theOldestGoOnceThereIsANewOne() throws Exception {
    vm("v", schedule("snapshot", "hourly", Map.of("min", "15")));
    assertThat(after(Duration.ofHours(1))).hasSize(1);
    assertThat(after(Duration.ofHours(1))).hasSize(1);
    assertThat(after(Duration.ofHours(1)))
        .containsExactly("snapshot v S 20260303T131000Z", "destroy v S 20260303T111000Z");
  }

  @Test
  void oneThatIsNotEnabledDoesNotRun() throws Exception {
    Ref<VMSS> daily = schedule("checkpoint", "daily", Map.of("hour", "11", "min", "0"));
    vm("v", daily);
    database.change(tx -> tx.set(daily, VMSS.ENABLED, false));
    assertThat(after(Duration.ofHours(1))).isEmpty();
    database.change(tx -> tx.set(daily, VMSS.ENABLED, true));
    assertThat(after(Duration.ofHours(1))).as("what has passed is not made up for").isEmpty();
    assertThat(after(Duration.ofDays(1))).containsExactly("checkpoint v S 20260304T121000Z");
  }

  @Test
  void aClockThatIsPutBackBringsNothingTwice() throws Exception {
    vm("v", schedule("snapshot", "hourly", Map.of("min", "15")));
    assertThat(after(Duration.ofMinutes(6))).hasSize(1);
    assertThat(after(Duration.ofMinutes(-6))).isEmpty();
    assertThat(after(Duration.ofMinutes(6))).isEmpty();
    assertThat(after(Duration.ofHours(1))).hasSize(1);
  }

  @Test
  void timesThatTheClockJumpsOverAreNotMadeUpFor() throws Exception {
    vm("v", schedule("snapshot", "hourly", Map.of("min", "15")));
    assertThat(after(Duration.ofDays(3))).as("the last one only").hasSize(1);
  }

  @Test
  void aFailureIsTold() throws Exception {
    Ref<VMSS> hourly = schedule("snapshot", "hourly", Map.of("min", "15"));
    vm("v", hourly);
    failing = true;
    assertThat(after(Duration.ofMinutes(6))).isEmpty();
    Alert alert = alerts.all().getFirst();
    assertThat(alert.name()).isEqualTo("VMSS_SNAPSHOT_FAILED");
    assertThat(alert.of()).isEqualTo("VMSS");
    assertThat(alert.body()).contains("SR_FULL");
    assertThatThrownBy(() -> schedules.run(hourly)).hasMessageContaining("OPERATION_PARTIALLY");
    failing = false;
    assertThat(schedules.run(hourly)).hasSize(1);
  }
}
