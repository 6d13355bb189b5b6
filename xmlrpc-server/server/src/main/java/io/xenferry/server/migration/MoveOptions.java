package io.xenferry.server.migration;

import io.xenferry.copy.CopyOptions.Verify;
import io.xenferry.copy.Strategy;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.WarmMove;
import io.xenferry.model.Pool;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.OptionValues;
import io.xenferry.server.storage.Transport;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * What a move may be told. What the client leaves open stands in the VM's {@code other_config}, or
 * in the pool's, under the option's name with {@code xenferry:} before it.
 */
final class MoveOptions {
  static final String STRATEGY = "strategy";

  /** Before an option's name in an other_config. */
  private static final String PREFIX = "xenferry:";

  private static final String COPY = "copy";

  // 0 lifts what is the default elsewhere.
  static final OptionValues LIMIT =
      new OptionValues(
          value -> value.matches("0|[1-9][0-9]{0,14}"),
          "a number of bytes a second, 0 for no limit");

  /** A guest that may stand still for longer than a day is one that may be shut down. */
  static final OptionValues MILLISECONDS =
      new OptionValues(
          value -> value.matches("[1-9][0-9]{0,7}") && Integer.parseInt(value) <= 86_400_000,
          "a number of milliseconds, 1 to 86400000");

  static final OptionValues SECONDS =
      new OptionValues(
          value -> value.matches("[1-9][0-9]{0,4}") && Integer.parseInt(value) <= 86_400,
          "a number of seconds, 1 to 86400");
  static final OptionValues FLAG =
      new OptionValues(value -> value.matches("(?i)true|false"), "true, false");
  static final OptionValues CUT_OVER =
      new OptionValues(
          value -> CutOver.of(value).isPresent(),
          "auto, hold, now, a time as 2026-01-31T22:00:00Z");

  /** Those that may have a default. */
  private static final Map<String, OptionValues> LASTING =
      Map.of(
          STRATEGY,
          OptionValues.words(Arrays.stream(Strategy.values()).map(Strategy::word).toList()),
          MoveLimits.DOWNTIME,
          MILLISECONDS,
          MoveLimits.BANDWIDTH,
          LIMIT,
          MoveLimits.DISK_BANDWIDTH,
          LIMIT,
          Verify.OPTION,
          new OptionValues(Verify::isWord, "none, sampled, full, paused, true, false"),
          Transport.OPTION,
          OptionValues.words(Arrays.stream(Transport.values()).map(Transport::word).toList()),
          Lineages.OPTION,
          Lineages.VALUES,
          Lineages.KEEP_ATTEMPT,
          Lineages.KEPT);

  /** Those that are of one move only. */
  private static final Map<String, OptionValues> OF_ONE_MOVE =
      Map.ofEntries(
          Map.entry("force", FLAG),
          Map.entry(COPY, FLAG),
          Map.entry("live", FLAG),
          Map.entry(
              "compress", OptionValues.words(List.of("true", "on", "1", "false", "off", "0"))),
          Map.entry("network", new OptionValues(value -> true, "the reference of a network")),
          Map.entry(KeptVms.OPTION, KeptVms.VALUES),
          Map.entry(CutOver.OPTION, CUT_OVER),
          Map.entry(WarmMove.MODE, OptionValues.words(List.of(WarmMove.LIVE, WarmMove.WARM))),
          Map.entry(WarmMove.TIMEOUT, SECONDS),
          Map.entry(WarmMove.HARD, FLAG));

  /**
   * An option that is for moves between servers.
   *
   * @param harmless the values that ask for no more than a move within one does
   * @param why it makes no sense there
   */
  private record Between(Predicate<String> harmless, String why) {}

  private static final Map<String, Between> BETWEEN_SERVERS =
      Map.of(
          STRATEGY,
          new Between(Strategy.AUTO.word()::equals, "disks are copied as by auto"),
          Verify.OPTION,
          new Between(word -> Verify.of(word) == Verify.NOTHING, "nothing is verified"),
          Lineages.OPTION,
          new Between(Lineages::asksForNothing, "disks that change their SR are copied as a whole"),
          MoveLimits.DISK_BANDWIDTH,
          new Between("0"::equals, "disks go one after another, each by bandwidth"),
          Lineages.KEEP_ATTEMPT,
          new Between("false"::equals, "nothing is left of a disk that does not arrive"),
          MoveLimits.DOWNTIME,
          new Between(value -> false, "the guest stands still for a moment, which has no limit"),
          Transport.OPTION,
          new Between(value -> false, "no disk travels"),
          KeptVms.OPTION,
          new Between("false"::equalsIgnoreCase, "the VM stays, and nothing is left of it"),
          CutOver.OPTION,
          new Between("auto"::equals, "the disks go over one after another"),
          WarmMove.MODE,
          new Between(WarmMove.LIVE::equals, "the guest goes on"));

  private MoveOptions() {}

  /**
   * The options of a move, with the defaults of the VM and its pool. What cannot be had is left
   * out: INVALID_VALUE for an unknown option, which would go unnoticed, and for a value that makes
   * no sense, wherever it stands; a default that does not count is not looked at.
   */
  static Map<String, String> of(Survey survey, Snapshot db, Ref<VM> vm, Map<String, String> given)
      throws XenApiException {
    return of(survey, db, vm, given, LASTING.keySet());
  }

  /**
   * The same for a move that stays within one server, INVALID_VALUE also for an option that could
   * not be obeyed. The defaults of what is for moves between servers are not looked at: they stand
   * for other moves.
   */
  static Map<String, String> withinServer(
      Survey survey, Snapshot db, Ref<VM> vm, Map<String, String> given) throws XenApiException {
    Map<String, String> all = of(survey, db, vm, given, Set.of(MoveLimits.BANDWIDTH));
    for (Map.Entry<String, String> option : given.entrySet()) {
      Between between = BETWEEN_SERVERS.get(option.getKey());
      if (between != null
          && all.containsKey(option.getKey())
          && !between.harmless().test(option.getValue())) {
        raise(
            survey,
            option.getKey(),
            option.getValue() + " is for moves between servers; within one " + between.why());
      }
    }
    return all;
  }

  /**
   * What no move can be told, whichever VM it moves and wherever to.
   *
   * @throws XenApiException INVALID_VALUE [option, value and what is allowed]
   */
  static void check(Map<String, String> given) throws XenApiException {
    for (Map.Entry<String, String> option : given.entrySet()) {
      values(option.getKey()).check(option.getKey(), option.getValue());
    }
    checkTogether(given);
  }

  private static OptionValues values(String name) throws XenApiException {
    OptionValues values = LASTING.getOrDefault(name, OF_ONE_MOVE.get(name));
    if (values == null) {
      Set<String> names = new TreeSet<>(LASTING.keySet());
      names.addAll(OF_ONE_MOVE.keySet());
      throw OptionValues.words(names).refusal("options", name);
    }
    return values;
  }

  private static void checkTogether(Map<String, String> options) throws XenApiException {
    if ("true".equalsIgnoreCase(options.get(COPY)) && KeptVms.asked(options)) {
      throw new XenApiException(
          "INVALID_VALUE",
          KeptVms.OPTION,
          options.get(KeptVms.OPTION) + " is for moves; a copy leaves the VM here as it is");
    }
    for (String name : List.of(WarmMove.TIMEOUT, WarmMove.HARD)) {
      if (options.containsKey(name) && !WarmMove.WARM.equals(options.get(WarmMove.MODE))) {
        throw new XenApiException(
            "INVALID_VALUE",
            name,
            options.get(name) + " is for " + WarmMove.MODE + "=" + WarmMove.WARM);
      }
    }
  }

  private static void raise(Survey survey, String field, String value) {
    survey.raise(new XenApiException("INVALID_VALUE", field, value), ObstacleKind.BAD_OPTION);
  }

  private static Map<String, String> of(
      Survey survey, Snapshot db, Ref<VM> vm, Map<String, String> given, Set<String> defaulted)
      throws XenApiException {
    Map<String, String> all = new LinkedHashMap<>();
    Map<String, String> defaults = new LinkedHashMap<>();
    for (Row row : db.rows("pool")) {
      defaults.putAll(db.get(new Ref<Pool>(row.ref()), Pool.OTHER_CONFIG));
    }
    defaults.putAll(db.get(vm, VM.OTHER_CONFIG));
    for (Map.Entry<String, OptionValues> option : LASTING.entrySet()) {
      String name = PREFIX + option.getKey();
      String value = defaults.get(name);
      if (value != null
          && defaulted.contains(option.getKey())
          && !given.containsKey(option.getKey())) {
        survey.look(
            () -> put(all, option.getKey(), value, option.getValue(), name),
            ObstacleKind.BAD_OPTION);
      }
    }
    for (Map.Entry<String, String> option : given.entrySet()) {
      String name = option.getKey();
      survey.look(
          () -> put(all, name, option.getValue(), values(name), name), ObstacleKind.BAD_OPTION);
    }
    survey.look(() -> checkTogether(all), ObstacleKind.BAD_OPTION);
    return all;
  }

  private static void put(
      Map<String, String> all, String name, String value, OptionValues values, String shown)
      throws XenApiException {
    values.check(shown, value);
    all.put(name, FLAG.has(value) ? value.toLowerCase(Locale.ROOT) : value);
  }
}
