package io.xenferry.migration.state;

import java.util.Map;

/**
 * How many moves may be under way at once.
 *
 * @param host on this host, in one direction; 0 for no limit
 * @param srs at each SR, by its reference; 0, and what is not named, for no limit
 */
public record Places(int host, Map<String, Integer> srs) {
  public Places {
    srs = Map.copyOf(srs);
  }

  /** Whether one more may begin beside so many. */
  public boolean hostHas(int underWay) {
    return host == 0 || underWay < host;
  }

  /** Whether one more may begin beside so many at the SR. */
  public boolean srHas(String sr, int underWay) {
    int limit = srs.getOrDefault(sr, 0);
    return limit == 0 || underWay < limit;
  }
}
