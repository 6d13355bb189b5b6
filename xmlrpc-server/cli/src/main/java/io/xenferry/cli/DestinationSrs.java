package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Where disks go at the destination for which the user names no SR. The choice does not depend on
 * how much is free just now, beyond that the disks must fit: two SRs of nearly the same room would
 * take turns otherwise. In this order: where the disks fit; the pool's default SR; one that is
 * shared; one that makes images of the disk's format by itself; the largest; the first by name and
 * by uuid.
 */
final class DestinationSrs {
  /** Of a VDI's sm_config, and of a PBD's device_config; without it images are raw. */
  private static final String FORMAT = "image-format";

  private static final String RAW = "raw";

  private final List<Candidate> candidates;

  private DestinationSrs(List<Candidate> candidates) {
    this.candidates = candidates;
  }

  /**
   * @param format what the SR makes where nothing is asked
   * @param room bytes that are free
   */
  private record Candidate(
      String ref,
      String uuid,
      String name,
      boolean standard,
      boolean shared,
      String format,
      long size,
      long room) {}

  /**
   * Those that a host sees, but for ISO libraries.
   *
   * @throws XenApiException or {@link IllegalArgumentException} where they cannot be compared
   */
  static DestinationSrs of(Calls remote, String host) throws XenApiException {
    Map<String, String> formats = new HashMap<>();
    String attached =
        "((field \"host\" = \"%s\") and (field \"currently_attached\" = \"true\"))".formatted(host);
    for (Map<String, Value> pbd : remote.records("PBD", attached).values()) {
      formats.put(Calls.field(pbd, "SR"), format(pbd, "device_config"));
    }
    List<String> standard = new ArrayList<>();
    for (Map<String, Value> pool : remote.records("pool", "true").values()) {
      standard.add(Calls.field(pool, "default_SR"));
    }
    List<Candidate> candidates = new ArrayList<>();
    for (Map.Entry<String, Map<String, Value>> sr : remote.records("SR", "true").entrySet()) {
      Map<String, Value> record = sr.getValue();
      String format = formats.get(sr.getKey());
      if (format != null && !Calls.field(record, "content_type").equals("iso")) {
        long size = number(record, "physical_size");
        candidates.add(
            new Candidate(
                sr.getKey(),
                Calls.field(record, "uuid"),
                Calls.field(record, "name_label"),
                standard.contains(sr.getKey()),
                Calls.field(record, "shared").equals("true"),
                format,
                size,
                size - number(record, "physical_utilisation")));
      }
    }
    return new DestinationSrs(candidates);
  }

  /** In which format a disk is; of a kind unknown to this server it counts as raw. */
  static String formatOf(Map<String, Value> vdi) {
    return format(vdi, "sm_config");
  }

  private static String format(Map<String, Value> record, String field) {
    return Calls.textMap(record.getOrDefault(field, Value.of(""))).getOrDefault(FORMAT, RAW);
  }

  static long number(Map<String, Value> record, String field) {
    return Calls.number(record.getOrDefault(field, Value.of(0)));
  }

  /**
   * The SR for a disk; empty where the host sees none.
   *
   * @param format that it is to have
   * @param bytes size of all disks that are to be placed, together
   */
  Optional<String> choose(String format, long bytes) {
    return candidates.stream()
        .min(
            first((Candidate sr) -> sr.room() >= bytes)
                .thenComparing(first(Candidate::standard))
                .thenComparing(first(Candidate::shared))
                .thenComparing(first(sr -> sr.format().equals(format)))
                .thenComparing(Candidate::size, Comparator.reverseOrder())
                .thenComparing(Candidate::name)
                .thenComparing(Candidate::uuid))
        .map(Candidate::ref);
  }

  private interface Property {
    boolean of(Candidate sr);
  }

  /** Those that have it before those that have it not. */
  private static Comparator<Candidate> first(Property property) {
    return Comparator.comparing(sr -> !property.of(sr));
  }
}
