package io.xenferry.server.schedule;

import io.xenferry.model.VmssFrequency;
import io.xenferry.model.XenApiException;
import java.time.DayOfWeek;
import java.time.LocalTime;
import java.time.ZonedDateTime;
import java.time.format.TextStyle;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * When a schedule is due: each hour, day or week, at a quarter of an hour, by the host's local
 * time.
 *
 * @param days none of them for a schedule that is not weekly
 */
record SnapshotTimes(VmssFrequency frequency, int hour, int minute, Set<DayOfWeek> days) {
  private static final String FIELD = "schedule";
  private static final String MINUTE = "min";
  private static final String HOUR = "hour";
  private static final String DAYS = "days";

  private static final Map<VmssFrequency, List<String>> KEYS =
      Map.of(
          VmssFrequency.HOURLY, List.of(MINUTE),
          VmssFrequency.DAILY, List.of(HOUR, MINUTE),
          VmssFrequency.WEEKLY, List.of(HOUR, MINUTE, DAYS));

  private static final Map<String, String> DEFAULTS =
      Map.of(MINUTE, "0", HOUR, "0", DAYS, "Monday");

  /** What is missing counts as its default, what another frequency needs as not there. */
  static SnapshotTimes of(VmssFrequency frequency, Map<String, String> schedule) {
    Map<String, String> complete = completed(frequency, schedule);
    Set<DayOfWeek> days = EnumSet.noneOf(DayOfWeek.class);
    for (String day : words(complete.getOrDefault(DAYS, ""))) {
      Arrays.stream(DayOfWeek.values()).filter(d -> name(d).equals(day)).forEach(days::add);
    }
    return new SnapshotTimes(
        frequency,
        Integer.parseInt(complete.getOrDefault(HOUR, "0")),
        Integer.parseInt(complete.getOrDefault(MINUTE, "0")),
        days);
  }

  /**
   * The keys that the frequency needs and no others, those that are missing with their defaults.
   */
  static Map<String, String> completed(VmssFrequency frequency, Map<String, String> schedule) {
    Map<String, String> complete = new LinkedHashMap<>();
    for (String key : KEYS.getOrDefault(frequency, List.of())) {
      complete.put(key, schedule.getOrDefault(key, DEFAULTS.getOrDefault(key, "")));
    }
    return complete;
  }

  /**
   * @throws XenApiException INVALID_VALUE for a key that the frequency has no use for, or a value
   *     that is none
   */
  static void check(VmssFrequency frequency, Map<String, String> schedule) throws XenApiException {
    for (Map.Entry<String, String> each : schedule.entrySet()) {
      if (!KEYS.getOrDefault(frequency, List.of()).contains(each.getKey())) {
        throw invalid(each.getKey(), each.getValue());
      }
    }
    check(schedule);
  }

  /** The same, for keys of any frequency. */
  static void check(Map<String, String> schedule) throws XenApiException {
    for (Map.Entry<String, String> each : schedule.entrySet()) {
      String value = each.getValue();
      boolean known =
          switch (each.getKey()) {
            case MINUTE -> value.matches("0|15|30|45");
            case HOUR -> value.matches("[0-9]|1[0-9]|2[0-3]");
            case DAYS -> !value.isEmpty() && words(value).stream().allMatch(SnapshotTimes::isDay);
            default -> false;
          };
      if (!known) {
        throw invalid(each.getKey(), value);
      }
    }
  }

  private static XenApiException invalid(String key, String value) {
    return new XenApiException("INVALID_VALUE", FIELD + ":" + key, value);
  }

  private static List<String> words(String days) {
    return days.isEmpty() ? List.of() : List.of(days.split(",", -1));
  }

  private static boolean isDay(String word) {
    return Arrays.stream(DayOfWeek.values()).anyMatch(day -> name(day).equals(word));
  }

  private static String name(DayOfWeek day) {
    return day.getDisplayName(TextStyle.FULL, Locale.ENGLISH);
  }

  /** The last time at which the schedule was due, {@code now} included. */
  ZonedDateTime latest(ZonedDateTime now) {
    if (frequency == VmssFrequency.HOURLY) {
      ZonedDateTime due = now.truncatedTo(ChronoUnit.HOURS).plusMinutes(minute);
      return due.isAfter(now) ? due.minusHours(1) : due;
    }
    LocalTime time = LocalTime.of(hour, minute);
    for (int back = 0; ; back++) {
      ZonedDateTime due = now.toLocalDate().minusDays(back).atTime(time).atZone(now.getZone());
      boolean day = frequency == VmssFrequency.DAILY || days.contains(due.getDayOfWeek());
      if (day && !due.isAfter(now)) {
        return due;
      }
      if (back > 14) { // without days: never
        return java.time.Instant.EPOCH.atZone(now.getZone());
      }
    }
  }
}
