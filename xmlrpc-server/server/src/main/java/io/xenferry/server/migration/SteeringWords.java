package io.xenferry.server.migration;

import io.xenferry.copy.Strategy;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.Steering;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.OptionValues;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** What an operator may change of a move under way, as clients write it. */
final class SteeringWords {
  static final String PAUSED = "paused";

  private static final SequencedMap<String, OptionValues> VALUES = new LinkedHashMap<>();

  static {
    VALUES.put(MoveLimits.BANDWIDTH, MoveOptions.LIMIT);
    VALUES.put(MoveLimits.DISK_BANDWIDTH, MoveOptions.LIMIT);
    VALUES.put(MoveLimits.DOWNTIME, MoveOptions.MILLISECONDS);
    VALUES.put(CutOver.OPTION, MoveOptions.CUT_OVER);
    VALUES.put(PAUSED, OptionValues.words(List.of("true", "false")));
    VALUES.put(
        MoveOptions.STRATEGY,
        OptionValues.words(
            Arrays.stream(Strategy.values())
                .filter(strategy -> strategy != Strategy.SNAPSHOT)
                .map(Strategy::word)
                .toList()));
  }

  private SteeringWords() {}

  /**
   * Reads names with their values.
   *
   * @throws XenApiException INVALID_VALUE [name, value and what is allowed] for a value that makes
   *     no sense, the same of "options" for a name that is none
   */
  static Steering.Change read(Map<String, String> wanted) throws XenApiException {
    for (Map.Entry<String, String> one : wanted.entrySet()) {
      OptionValues values = VALUES.get(one.getKey());
      if (values == null) {
        throw OptionValues.words(VALUES.sequencedKeySet()).refusal("options", one.getKey());
      }
      values.check(one.getKey(), one.getValue());
    }
    return new Steering.Change(
        Optional.ofNullable(wanted.get(PAUSED)).map(Boolean::valueOf),
        Optional.ofNullable(wanted.get(CutOver.OPTION)).flatMap(CutOver::of),
        Optional.ofNullable(wanted.get(MoveLimits.BANDWIDTH)).map(Long::valueOf),
        Optional.ofNullable(wanted.get(MoveLimits.DISK_BANDWIDTH)).map(Long::valueOf),
        Optional.ofNullable(wanted.get(MoveLimits.DOWNTIME))
            .map(millis -> Duration.ofMillis(Long.parseLong(millis))),
        Optional.ofNullable(wanted.get(MoveOptions.STRATEGY)));
  }

  /**
   * Reads a JSON object of them.
   *
   * @throws XenApiException as {@link #read}; INVALID_VALUE ["body", …] for what is no such object
   */
  static Steering.Change readJson(byte[] body) throws XenApiException {
    Map<String, String> wanted = new LinkedHashMap<>();
    try {
      Map<?, ?> object = StrictJson.read(body, Map.class);
      for (Map.Entry<?, ?> one : object.entrySet()) {
        Object value = one.getValue();
        boolean plain =
            value instanceof String || value instanceof Number || value instanceof Boolean;
        if (!plain) {
          throw new XenApiException("INVALID_VALUE", String.valueOf(one.getKey()), "" + value);
        }
        wanted.put(String.valueOf(one.getKey()), value.toString());
      }
    } catch (IllegalArgumentException e) {
      throw new XenApiException("INVALID_VALUE", "body", "no JSON object").withCause(e);
    }
    return read(wanted);
  }
}
