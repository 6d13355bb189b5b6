package io.xenferry.migration.flow;

import java.time.Duration;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.SequencedMap;

/**
 * How long a migration has been in each of its phases, in the order in which they came first.
 * Confined to the coordinator's scheduler; what {@link #at} answers is not.
 */
final class PhaseTimes {
  /** More than a migration has; what comes on top goes on the last one's account. */
  private static final int MOST = 40;

  private final SequencedMap<String, Duration> times = new LinkedHashMap<>();
  private String now = "";
  private long since;

  /**
   * @param phase in words; what follows " until " or a comma is no part of its name
   */
  void become(String phase, long nanoTime) {
    count(nanoTime);
    now = phase.split(" until |, ", 2)[0];
  }

  /** Nothing takes any more time. */
  void end(long nanoTime) {
    count(nanoTime);
    now = "";
  }

  private void count(long nanoTime) {
    if (!now.isEmpty()) {
      String account =
          times.containsKey(now) || times.size() < MOST ? now : times.lastEntry().getKey();
      times.merge(account, Duration.ofNanos(nanoTime - since), Duration::plus);
    }
    since = nanoTime;
  }

  /** Each phase with its time, the present one's until now. */
  SequencedMap<String, Duration> at(long nanoTime) {
    count(nanoTime);
    return Collections.unmodifiableSequencedMap(new LinkedHashMap<>(times));
  }
}
