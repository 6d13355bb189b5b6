package io.xenferry.server.migration;

import io.xenferry.copy.Strategy;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.Steering;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** What an operator may change of a move under way, as clients write it. */
final class SteeringWords {
  static final String PAUSED = "paused";

  private SteeringWords() {}

  /**
   * Reads names with their values.
   *
   * @throws XenApiException INVALID_VALUE [name, value] for a name that is none, or a value that
   *     makes no sense
   */
  static Steering.Change read(Map<String, String> wanted) throws XenApiException {
    Optional<Boolean> paused = Optional.empty();
    Optional<CutOver> cutOver = Optional.empty();
    Optional<Long> bandwidth = Optional.empty();
    Optional<Duration> downtime = Optional.empty();
    Optional<String> strategy = Optional.empty();
    for (Map.Entry<String, String> one : wanted.entrySet()) {
      String value = one.getValue();
      boolean understood =
          switch (one.getKey()) {
            case PAUSED -> {
              paused = Optional.of(value.equals("true"));
              yield value.equals("true") || value.equals("false");
            }
            case CutOver.OPTION -> {
              cutOver = CutOver.of(value);
              yield cutOver.isPresent();
            }
            case MoveLimits.BANDWIDTH -> {
              bandwidth = Optional.of(value).filter(MoveOptions.LIMIT).map(Long::valueOf);
              yield bandwidth.isPresent();
            }
            case MoveLimits.DOWNTIME -> {
              downtime =
                  Optional.of(value)
                      .filter(MoveOptions.NUMBER)
                      .map(millis -> Duration.ofMillis(Long.parseLong(millis)));
              yield downtime.isPresent();
            }
            case MoveOptions.STRATEGY -> {
              strategy = Optional.of(value);
              yield Strategy.of(value).filter(s -> s != Strategy.SNAPSHOT).isPresent();
            }
            default -> false;
          };
      if (!understood) {
        throw new XenApiException("INVALID_VALUE", one.getKey(), value);
      }
    }
    return new Steering.Change(paused, cutOver, bandwidth, downtime, strategy);
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
