package io.xenferry.server.migration;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.MoveLimits;
import java.util.Locale;
import java.util.Optional;

/**
 * A migration's status as the REST interface and the event stream show it; docs/rest.md lists it.
 */
final class MigrationJson {
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  private MigrationJson() {}

  static ObjectNode of(MigrationStatus status, Optional<CopySnapshot> copy) {
    ObjectNode node = JSON.objectNode();
    node.put("migration", status.migration().toString());
    node.put("role", status.role().name().toLowerCase(Locale.ROOT));
    node.put("vm", status.vm().toString());
    node.put("state", status.state().name());
    node.put("phase", status.phase());
    node.put("progress", status.progress());
    node.put("memory-sent", status.memorySent());
    node.put("memory-remaining", status.memoryRemaining());
    node.put("forced", status.forced());
    node.put("ended", status.ended());
    node.put("started", status.started().toString());
    node.put("updated", status.updated().toString());
    status
        .steering()
        .ifPresent(steering -> {
          node.put(SteeringWords.PAUSED, steering.paused());
          node.put(CutOver.OPTION, steering.cutOver().word());
          steering.bandwidth().ifPresent(rate -> node.put(MoveLimits.BANDWIDTH, rate));
          steering.diskBandwidth().ifPresent(rate -> node.put(MoveLimits.DISK_BANDWIDTH, rate));
          steering.downtime().ifPresent(time -> node.put(MoveLimits.DOWNTIME, time.toMillis()));
        });
    status.downtime().ifPresent(d -> node.put("downtime-ms", d.toNanos() / 1e6));
    status.outcome().ifPresent(o -> node.put("outcome", o));
    status
        .waiting()
        .filter(w -> !status.ended())
        .ifPresent(w -> {
          ObjectNode waiting = node.putObject("waiting");
          waiting.put("from", w.from());
          waiting.put("what", w.what());
          waiting.put("since", w.since().toString());
          waiting.put("last-tried", w.lastTried().toString());
          waiting.put("attempts", w.attempts());
          w.lastAnswer().ifPresent(a -> waiting.put("last-answer", a));
        });
    status
        .peer()
        .ifPresent(standing -> {
          ObjectNode peer = node.putObject("peer");
          peer.put("standing", standing.kind().word());
          peer.put("silent-ms", standing.silence().toNanos() / 1e6);
          standing.delay().ifPresent(late -> peer.put("late-ms", late.toNanos() / 1e6));
        });
    ArrayNode disks = node.putArray("disks");
    for (int i = 0; i < status.disks().size(); i++) {
      // By their places: the engine's disks have names of their own.
      int place = i;
      Optional<CopySnapshot.Disk> copied =
          copy.map(CopySnapshot::disks).filter(d -> place < d.size()).map(d -> d.get(place));
      disks.add(of(status.disks().get(i), copied));
    }
    MoveReport.of(status, copy).ifPresent(report -> node.set("report", report.json()));
    copy.ifPresent(c -> {
      node.put("bytes-per-second", c.bytesPerSecond());
      node.put("converges", c.converges());
      c.predictedDowntime().ifPresent(d -> node.put("predicted-downtime-ms", d.toNanos() / 1e6));
      c.predictedRemaining().ifPresent(r -> node.put("predicted-remaining-ms", r.toNanos() / 1e6));
    });
    return node;
  }

  /** A move that has not begun. */
  static ObjectNode of(MoveQueue.Waiting waits) {
    ObjectNode node = JSON.objectNode();
    node.put("migration", waits.migration().toString());
    node.put("role", "source");
    node.put("vm", waits.vm().toString());
    node.put("state", MoveQueue.QUEUED);
    node.put("phase", waits.phase());
    node.put("position", waits.position());
    node.put("progress", 0.0);
    node.put("ended", false);
    node.put("started", waits.since().toString());
    return node;
  }

  private static ObjectNode of(DiskProgress disk, Optional<CopySnapshot.Disk> copied) {
    ObjectNode node = JSON.objectNode();
    node.put("vdi", disk.vdi().toString());
    node.put("device", disk.device());
    node.put("phase", disk.phase());
    node.put("size", disk.size());
    node.put("sent", disk.sent());
    node.put("zero", disk.zero());
    node.put("remaining", disk.remaining());
    node.put("pass", disk.pass());
    node.put("bytes-per-second", disk.bytesPerSecond());
    node.put("dirty-per-second", disk.dirtyPerSecond());
    node.put("strategy", disk.strategy());
    copied.ifPresent(d -> {
      CopySnapshot.Mirror mirror = d.mirror();
      node.put("strategy-asked", mirror.strategy().word());
      node.put("mirrored-seconds", mirror.took().toNanos() / 1e9);
      node.put("mirrored-bytes", mirror.bytes());
      node.put("mirrored-writes", mirror.writes());
      node.put("fallbacks", mirror.fallbacks());
      if (!mirror.lastFallback().isEmpty()) {
        node.put("last-fallback", mirror.lastFallback());
      }
      node.put("allocated", d.allocated());
      node.put("already-there", d.saved());
      CopySnapshot.Proof proof = d.proof();
      node.put("verify", proof.verify().word());
      node.put("verified", proof.verified());
      node.put("to-verify", proof.left());
      node.put("verify-seconds", proof.took().toNanos() / 1e9);
      node.put("depth", d.depth());
      node.put("request-size", d.requestSize());
      node.put("bottleneck", d.bottleneck().name().toLowerCase(Locale.ROOT));
      ArrayNode passes = node.putArray("passes");
      for (CopySnapshot.Pass pass : d.passes()) {
        ObjectNode p = passes.addObject();
        p.put("number", pass.number());
        p.put("dirty", pass.dirty());
        p.put("sent", pass.sent());
        p.put("seconds", pass.took().toNanos() / 1e9);
      }
    });
    return node;
  }
}
