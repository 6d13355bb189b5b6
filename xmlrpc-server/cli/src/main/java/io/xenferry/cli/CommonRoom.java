package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;

/**
 * What a destination has free, for VMs that are to come one after the other: each alone has been
 * found to fit, and what those before it take is not there for it any more. What the destination
 * does not tell stands against nothing. For one thread.
 */
final class CommonRoom {
  private static final String REMEDY =
      "Make room there, or move these VMs elsewhere; force=true moves those that fit.";

  private final Calls there;
  private final String host;
  private final Map<String, Long> taken = new HashMap<>();
  private final Map<String, OptionalLong> free = new HashMap<>();

  /**
   * @param host reference
   */
  CommonRoom(Calls there, String host) {
    this.there = there;
    this.host = host;
  }

  /** A question to the destination. */
  private interface Question {
    OptionalLong ask() throws XenApiException;
  }

  /** What the VMs before one have left too little of for it. */
  List<Migrations.Obstacle> obstacles(Migrations.Needs needs) {
    List<Migrations.Obstacle> obstacles = new ArrayList<>();
    if (lacks(host, needs.memory(), this::memory)) {
      obstacles.add(
          obstacle(
              "HOST_NOT_ENOUGH_FREE_MEMORY",
              needs.memory(),
              left(host),
              "The VM has %d bytes of memory, and the VMs that go before it leave %d bytes free."));
    }
    needs.srs().entrySet().stream()
        .sorted(Map.Entry.comparingByKey())
        .filter(sr -> lacks(sr.getKey(), sr.getValue(), () -> room(sr.getKey())))
        .map(sr ->
            obstacle(
                "SR_FULL",
                sr.getValue(),
                left(sr.getKey()),
                "%d bytes would come to an SR in which the VMs that go before leave %d bytes free."))
        .forEach(obstacles::add);
    return obstacles;
  }

  /** A VM goes, and has what it needs. */
  void take(Migrations.Needs needs) {
    taken.merge(host, needs.memory(), Long::sum);
    needs.brought().forEach((sr, bytes) -> taken.merge(sr, bytes, Long::sum));
  }

  /** The destination itself knows best whether the first one fits. */
  private boolean lacks(String what, long bytes, Question question) {
    if (bytes <= 0 || taken.getOrDefault(what, 0L) <= 0) {
      return false;
    }
    return free.computeIfAbsent(what, any -> answer(question)).isPresent() && bytes > left(what);
  }

  private static OptionalLong answer(Question question) {
    try {
      return question.ask();
    } catch (XenApiException | IllegalArgumentException e) {
      return OptionalLong.empty();
    }
  }

  private long left(String what) {
    return Math.max(
        0, free.getOrDefault(what, OptionalLong.empty()).orElse(0) - taken.getOrDefault(what, 0L));
  }

  /** A host that does not know how much memory it has refuses no VM. */
  private OptionalLong memory() throws XenApiException {
    String metrics = there.of(host, "host.get_metrics");
    long total = DestinationSrs.number(there.record("host_metrics", metrics), "memory_total");
    return total <= 0
        ? OptionalLong.empty()
        : OptionalLong.of(Calls.number(there.call("host.compute_free_memory", Value.of(host))));
  }

  private OptionalLong room(String sr) throws XenApiException {
    Map<String, Value> record = there.record("SR", sr);
    return OptionalLong.of(
        DestinationSrs.number(record, "physical_size")
            - DestinationSrs.number(record, "physical_utilisation"));
  }

  private static Migrations.Obstacle obstacle(
      String code, long needed, long left, String sentence) {
    return new Migrations.Obstacle(
        true,
        code,
        List.of(Long.toString(needed), Long.toString(left)),
        "destination",
        sentence.formatted(needed, left),
        REMEDY);
  }
}
