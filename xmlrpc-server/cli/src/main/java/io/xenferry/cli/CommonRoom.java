package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * What a destination has free, for VMs that are to come one after the other: each alone has been
 * found to fit, and what those before it take is not there for it any more. How much that is of an
 * SR nobody knows where copies of their disks may be there already: then it stands against nothing,
 * as does what the destination does not tell. For one thread.
 */
final class CommonRoom {
  private static final String REMEDY =
      "Make room there, or move these VMs elsewhere; force=true moves those that fit.";

  private static final String LINEAGE = "xenferry-lineage";

  private final Calls there;
  private final String host;
  private final Map<String, Long> taken = new HashMap<>();
  private final Map<String, OptionalLong> free = new HashMap<>();
  private final Map<String, Set<String>> lineages = new HashMap<>();
  private final Map<String, Optional<Set<String>>> disks = new HashMap<>();

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
        .map(sr -> obstacle(needs, sr.getKey(), sr.getValue()))
        .forEach(obstacles::add);
    return obstacles;
  }

  private Migrations.Obstacle obstacle(Migrations.Needs needs, String sr, long bytes) {
    return mayHaveCopies(needs, sr)
        ? new Migrations.Obstacle(
            false,
            "target-sr-full",
            params(bytes, left(sr)),
            "destination",
            ("%d bytes would come to an SR in which the VMs that go before leave %d bytes free, or"
                    + " more: it may have copies of their disks already.")
                .formatted(bytes, left(sr)),
            "Make room there; a VM that does not fit stays here, and the others go.")
        : obstacle(
            "SR_FULL",
            bytes,
            left(sr),
            "%d bytes would come to an SR in which the VMs that go before leave %d bytes free.");
  }

  /** A VM goes, and has what it needs. */
  void take(Migrations.Needs needs) {
    taken.merge(host, needs.memory(), Long::sum);
    needs.brought().forEach((sr, bytes) -> taken.merge(sr, bytes, Long::sum));
    needs
        .lineages()
        .forEach((sr, more) -> lineages.computeIfAbsent(sr, any -> new HashSet<>()).addAll(more));
  }

  /** Of the disks of a VM, or of those of the VMs before it. */
  private boolean mayHaveCopies(Migrations.Needs needs, String sr) {
    Set<String> wanted = new HashSet<>(lineages.getOrDefault(sr, Set.of()));
    wanted.addAll(needs.lineages().getOrDefault(sr, Set.of()));
    return !wanted.isEmpty()
        && disks
            .computeIfAbsent(sr, this::disks)
            .map(known -> !Collections.disjoint(known, wanted))
            .orElse(true);
  }

  /** Uuids and lineages of the disks in an SR; empty where they are not told. */
  private Optional<Set<String>> disks(String sr) {
    Set<String> known = new HashSet<>();
    try {
      for (Map<String, Value> vdi : there.records("VDI", Calls.anyEquals(sr, "SR")).values()) {
        Value config = vdi.getOrDefault("sm_config", Value.EMPTY_STRUCT);
        known.add(Calls.field(vdi, "uuid"));
        known.add(Calls.textMap(config).getOrDefault(LINEAGE, ""));
      }
    } catch (XenApiException | IllegalArgumentException e) {
      return Optional.empty();
    }
    return Optional.of(known);
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
        true, code, params(needed, left), "destination", sentence.formatted(needed, left), REMEDY);
  }

  private static List<String> params(long needed, long left) {
    return List.of(Long.toString(needed), Long.toString(left));
  }
}
