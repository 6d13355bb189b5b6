package io.xenferry.server.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.VmssFrequency;
import java.time.ZonedDateTime;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** When a schedule was due last. 2026-03-04 is a Wednesday. */
class SnapshotTimesTest {
  private static String latest(VmssFrequency frequency, Map<String, String> schedule, String now) {
    return SnapshotTimes.of(frequency, schedule).latest(ZonedDateTime.parse(now)).toString();
  }

  @Test
  void eachHour() {
    Map<String, String> schedule = Map.of("min", "30");
    assertThat(latest(VmssFrequency.HOURLY, schedule, "2026-03-04T10:30:00Z"))
        .isEqualTo("2026-03-04T10:30Z");
    assertThat(latest(VmssFrequency.HOURLY, schedule, "2026-03-04T10:29:59Z"))
        .isEqualTo("2026-03-04T09:30Z");
    assertThat(latest(VmssFrequency.HOURLY, schedule, "2026-03-01T00:10:00Z"))
        .isEqualTo("2026-02-28T23:30Z");
  }

  @Test
  void eachDay() {
    Map<String, String> schedule = Map.of("hour", "2", "min", "15");
    assertThat(latest(VmssFrequency.DAILY, schedule, "2026-03-04T02:15:00Z"))
        .isEqualTo("2026-03-04T02:15Z");
    assertThat(latest(VmssFrequency.DAILY, schedule, "2026-03-04T02:14:59Z"))
        .isEqualTo("2026-03-03T02:15Z");
    assertThat(latest(VmssFrequency.DAILY, Map.of(), "2026-03-04T02:14:59Z"))
        .as("midnight, where nothing is said")
        .isEqualTo("2026-03-04T00:00Z");
  }

  @Test
  void onSomeDaysOfTheWeek() {
    Map<String, String> schedule = Map.of("hour", "2", "min", "0", "days", "Tuesday,Sunday");
    assertThat(latest(VmssFrequency.WEEKLY, schedule, "2026-03-04T10:00:00Z"))
        .isEqualTo("2026-03-03T02:00Z");
    assertThat(latest(VmssFrequency.WEEKLY, schedule, "2026-03-03T01:59:59Z"))
        .isEqualTo("2026-03-01T02:00Z");
    assertThat(latest(VmssFrequency.WEEKLY, Map.of("days", "Wednesday"), "2026-03-03T23:59:59Z"))
        .isEqualTo("2026-02-25T00:00Z");
  }

  @Test
  void byTheHostsOwnClock() {
    Map<String, String> schedule = Map.of("hour", "2", "min", "30");
    // The clocks of Berlin leave 02:00 to 03:00 out on that day.
    assertThat(latest(VmssFrequency.DAILY, schedule, "2026-03-29T12:00:00+02:00[Europe/Berlin]"))
        .isEqualTo("2026-03-29T03:30+02:00[Europe/Berlin]");
    assertThat(latest(VmssFrequency.DAILY, schedule, "2026-03-28T12:00:00+01:00[Europe/Berlin]"))
        .isEqualTo("2026-03-28T02:30+01:00[Europe/Berlin]");
  }
}
