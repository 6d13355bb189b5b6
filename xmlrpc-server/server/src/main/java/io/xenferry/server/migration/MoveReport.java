package io.xenferry.server.migration;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Function;
import java.util.function.ToLongFunction;

/**
 * What a move has cost, and what it waited for most; while it runs, until now. All of its disks
 * together.
 *
 * @param took from its beginning to its end, by the phases that this server has seen
 * @param logical bytes of the disks as the guest sees them
 * @param allocated bytes that the first passes were about
 * @param sent bytes written to the destination, repeated ones included
 * @param saved what was not sent of the disks, and would have been by a copy of every block, once;
 *     0 of a move that has come to nothing
 * @param zero bytes of zeroes that were not sent as data
 * @param alreadyThere bytes that the destination held already, by comparison, and was not sent
 * @param verify what was to be verified: {@code none}, {@code sampled}, {@code full}, {@code
 *     paused}
 * @param verified bytes that were compared at both ends and are the same
 * @param verifying how long comparisons were under way, of the disk for which that was longest
 * @param mirrored bytes that the guest wrote to both sides
 * @param memory bytes of the guest's memory that were sent
 * @param bottleneck what the copy waited for most: {@code source_read}, {@code network}, {@code
 *     encryption}, {@code cpu}, {@code destination_write}, which is the destination's disk, and all
 *     of these where nothing tells them apart, {@code rate_limit}, {@code buffers}, {@code none}
 * @param waits seconds by what was waited for, of all requests together
 */
record MoveReport(
    Duration took,
    long logical,
    long allocated,
    long sent,
    long saved,
    long zero,
    long alreadyThere,
    String verify,
    long verified,
    Duration verifying,
    long mirrored,
    long memory,
    Optional<Duration> downtime,
    String bottleneck,
    SequencedMap<String, Duration> waits,
    SequencedMap<String, Duration> phases) {

  /** Of a migration at its source; empty where this server has not copied for it. */
  static Optional<MoveReport> of(MigrationStatus status, Optional<CopySnapshot> copy) {
    return copy.map(snapshot -> of(status, snapshot.disks()));
  }

  private static MoveReport of(MigrationStatus status, List<CopySnapshot.Disk> disks) {
    SequencedMap<String, Duration> waits = new LinkedHashMap<>();
    waits.put("source_read", sum(disks, CopySnapshot.Waits::sourceRead));
    waits.put("destination_write", sum(disks, CopySnapshot.Waits::destinationWrite));
    waits.put("network", sum(disks, CopySnapshot.Waits::network));
    waits.put("encryption", sum(disks, CopySnapshot.Waits::encryption));
    waits.put("cpu", sum(disks, CopySnapshot.Waits::processor));
    waits.put("rate_limit", sum(disks, CopySnapshot.Waits::rateLimit));
    waits.put("buffers", sum(disks, CopySnapshot.Waits::buffers));
    waits.put("flush", sum(disks, CopySnapshot.Waits::flush));
    long logical = bytes(disks, CopySnapshot.Disk::logical);
    long sent = bytes(disks, CopySnapshot.Disk::sent);
    return new MoveReport(
        status.phases().values().stream().reduce(Duration.ZERO, Duration::plus),
        logical,
        bytes(disks, CopySnapshot.Disk::allocated),
        sent,
        status.state() == State.OWNED ? 0 : Math.max(0, logical - sent),
        bytes(disks, disk -> disk.skipped() + disk.zeroed()),
        bytes(disks, CopySnapshot.Disk::saved),
        disks.stream().findFirst().map(disk -> disk.proof().verify().word()).orElse("none"),
        bytes(disks, disk -> disk.proof().verified()),
        disks.stream()
            .map(disk -> disk.proof().took())
            .max(Duration::compareTo)
            .orElse(Duration.ZERO),
        bytes(disks, disk -> disk.mirror().bytes()),
        status.memorySent(),
        status.downtime(),
        bottleneck(disks),
        waits,
        status.phases());
  }

  private static long bytes(List<CopySnapshot.Disk> disks, ToLongFunction<CopySnapshot.Disk> what) {
    return disks.stream().mapToLong(what).sum();
  }

  private static Duration sum(
      List<CopySnapshot.Disk> disks, Function<CopySnapshot.Waits, Duration> what) {
    return disks.stream()
        .map(CopySnapshot.Disk::waits)
        .map(what)
        .reduce(Duration.ZERO, Duration::plus);
  }

  /** That of the disk that had the most to send. */
  private static String bottleneck(List<CopySnapshot.Disk> disks) {
    return disks.stream()
        .max((a, b) -> Long.compare(a.sent(), b.sent()))
        .map(disk -> disk.bottleneck().name().toLowerCase(Locale.ROOT))
        .orElse("none");
  }

  /** Bytes a second, of disks and memory together, over the whole time. */
  long rate() {
    return (long) ((sent + memory) / Math.max(1e-3, took.toNanos() / 1e9));
  }

  /** The figures by the names that REST has for them; times in seconds. */
  SequencedMap<String, Number> figures() {
    SequencedMap<String, Number> all = new LinkedHashMap<>();
    all.put("seconds", seconds(took));
    downtime.ifPresent(time -> all.put("downtime-ms", time.toNanos() / 1e6));
    all.put("logical", logical);
    all.put("allocated", allocated);
    all.put("sent", sent);
    all.put("zero", zero);
    all.put("saved", saved);
    all.put("already-there", alreadyThere);
    all.put("verified", verified);
    all.put("verify-seconds", seconds(verifying));
    all.put("mirrored", mirrored);
    all.put("memory-sent", memory);
    all.put("bytes-per-second", rate());
    return all;
  }

  ObjectNode json() {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    figures()
        .forEach((name, value) -> {
          if (value instanceof Long bytes) {
            node.put(name, bytes);
          } else {
            node.put(name, value.doubleValue());
          }
        });
    node.put("verify", verify);
    node.put("bottleneck", bottleneck);
    put(node.putObject("waits"), waits);
    put(node.putObject("phases"), phases);
    return node;
  }

  private static void put(ObjectNode node, Map<String, Duration> times) {
    times.forEach((name, time) -> node.put(name, seconds(time)));
  }

  /** The same as lines of names and values. */
  SequencedMap<String, String> lines() {
    SequencedMap<String, String> lines = new LinkedHashMap<>();
    figures().forEach((name, value) -> lines.put(name, text(value)));
    lines.put("verify", verify);
    lines.put("bottleneck", bottleneck);
    waits.forEach((name, time) -> lines.put("waited for " + name, text(seconds(time)) + " s"));
    phases.forEach((name, time) -> lines.put(name, text(seconds(time)) + " s"));
    return lines;
  }

  private static String text(Number value) {
    return value instanceof Long bytes
        ? Long.toString(bytes)
        : String.format(Locale.ROOT, "%.3f", value.doubleValue());
  }

  private static double seconds(Duration time) {
    return time.toNanos() / 1e9;
  }
}
