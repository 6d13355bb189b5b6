package io.xenferry.migration;

import io.xenferry.migration.flow.Host;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Places;
import io.xenferry.migration.state.Plan;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The places for moves to this host: those that arrive have one, and who has just been promised one
 * has it for a moment. They bound load, nothing else: a source that opens unasked is not refused.
 * Confined to the coordinator's scheduler.
 */
final class Arrivals {
  static final String TOO_MANY = "TOO_MANY_STORAGE_MIGRATES";

  /** From the promise until the source opens; its disks are prepared by then. */
  private static final Duration PROMISED = Duration.ofSeconds(30);

  /** Sources that ask and never come are forgotten; a bound for what they may take meanwhile. */
  private static final int MOST_PROMISES = 1000;

  private final Host host;
  private final Roster roster;
  private final Map<MigrationId, Promise> promises = new LinkedHashMap<>();

  private record Promise(Set<String> srs, long until) {}

  Arrivals(Host host, Roster roster) {
    this.host = host;
    this.roster = roster;
  }

  /** The SRs that a plan's disks go to. */
  static Set<String> srs(Plan plan) {
    return plan.disks().stream().map(Plan.Disk::sr).collect(Collectors.toSet());
  }

  /**
   * Promises a place.
   *
   * @param srs that the disks go to
   * @throws MigrationException TOO_MANY_STORAGE_MIGRATES [limit] while there is none
   */
  void promise(MigrationId id, Set<String> srs) {
    long now = host.scheduler().nanoTime();
    promises.values().removeIf(promise -> promise.until() - now <= 0);
    promises.remove(id);
    int arriving = promises.size();
    Map<String, Integer> atSr = new HashMap<>();
    promises
        .values()
        .forEach(promise -> promise.srs().forEach(sr -> atSr.merge(sr, 1, Integer::sum)));
    for (Plan plan : roster.arriving()) {
      arriving++;
      srs(plan).forEach(sr -> atSr.merge(sr, 1, Integer::sum));
    }
    Places places = host.destination().places(srs);
    if (!places.hostHas(arriving) || promises.size() >= MOST_PROMISES) {
      throw tooMany(
          places.host(), arriving + " moves are arriving at the destination or expected there");
    }
    for (String sr : srs) {
      int there = atSr.getOrDefault(sr, 0);
      if (!places.srHas(sr, there)) {
        throw tooMany(
            places.srs().getOrDefault(sr, 0),
            there + " moves are arriving at its SR " + sr + " or expected there");
      }
    }
    promises.put(id, new Promise(Set.copyOf(srs), now + PROMISED.toNanos()));
  }

  /** The move has come, or never will: its place is kept for it no longer. */
  void over(MigrationId id) {
    promises.remove(id);
  }

  private static MigrationException tooMany(int limit, String sentence) {
    return new MigrationException(TOO_MANY, List.of(Integer.toString(limit)), sentence);
  }
}
