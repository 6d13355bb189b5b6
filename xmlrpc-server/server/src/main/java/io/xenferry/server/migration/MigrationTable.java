package io.xenferry.server.migration;

import io.xenferry.cli.Migrations;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.PeerStanding;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.Steering;
import io.xenferry.model.XenApiException;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.stream.Collectors;

/** Migrations as {@code xe migration-list} shows them, and the operator's decisions. */
final class MigrationTable implements Migrations {
  private static final Duration DECISION = Duration.ofSeconds(30);

  private final Coordinator coordinator;
  private final Function<MigrationId, Optional<CopySnapshot>> copies;
  private final DryRuns dryRuns;
  private final MoveQueue queue;
  private final Sessions sessions;
  private final String caller;

  /**
   * @param copies what is known of the copy of a migration from here
   * @param caller who asks, as Origin has it
   */
  MigrationTable(
      Coordinator coordinator,
      Function<MigrationId, Optional<CopySnapshot>> copies,
      MoveQueue queue,
      DryRuns dryRuns,
      Sessions sessions,
      String caller) {
    this.caller = caller;
    this.coordinator = coordinator;
    this.copies = copies;
    this.dryRuns = dryRuns;
    this.queue = queue;
    this.sessions = sessions;
  }

  @Override
  public List<SequencedMap<String, String>> list(String session) throws XenApiException {
    sessions.check(session);
    List<SequencedMap<String, String>> rows = new ArrayList<>();
    // Those that wait are looked at first, so that one that begins meanwhile is not missed.
    List<MoveQueue.Waiting> waiting = queue.waiting();
    Set<MigrationId> begun = new HashSet<>();
    for (MigrationStatus status : coordinator.statuses()) {
      if (status.role() == Role.SOURCE) {
        begun.add(status.migration());
      }
      SequencedMap<String, String> row = new LinkedHashMap<>();
      row.put("uuid", status.migration().toString());
      row.put("vm_uuid", status.vm().toString());
      row.put("role", status.role().name().toLowerCase(Locale.ROOT));
      row.put("state", status.state().name());
      row.put("phase", status.phase());
      row.put(
          "strategy",
          status.disks().stream()
              .map(disk -> disk.device() + ": " + disk.strategy())
              .collect(Collectors.joining("; ")));
      row.put("progress", String.format(Locale.ROOT, "%.3f", status.progress()));
      row.put(
          "waiting",
          status
              .waiting()
              .filter(w -> !status.ended())
              .map(w ->
                  w.what()
                      + " of "
                      + w.from()
                      + " since "
                      + w.since()
                      + ", last tried "
                      + w.lastTried()
                      + w.lastAnswer().map(a -> ": " + a).orElse(""))
              .orElse(""));
      row.put("peer", status.peer().map(PeerStanding::words).orElse(""));
      Optional<CopySnapshot> copy =
          status.ended() || status.role() == Role.DESTINATION
              ? Optional.empty()
              : copies.apply(status.migration());
      row.put(
          "predicted_downtime",
          copy.flatMap(CopySnapshot::predictedDowntime).map(MigrationTable::seconds).orElse(""));
      row.put(
          "time_left",
          copy.flatMap(CopySnapshot::predictedRemaining).map(MigrationTable::seconds).orElse(""));
      Optional<Steering> steering = status.steering();
      row.put("paused", steering.map(s -> Boolean.toString(s.paused())).orElse(""));
      row.put("cutover", steering.map(s -> s.cutOver().word()).orElse(""));
      row.put("bandwidth", steering.flatMap(Steering::bandwidth).map(Object::toString).orElse(""));
      row.put(
          "disk_bandwidth",
          steering.flatMap(Steering::diskBandwidth).map(Object::toString).orElse(""));
      row.put(
          "max_downtime",
          steering.flatMap(Steering::downtime).map(d -> Long.toString(d.toMillis())).orElse(""));
      row.put("outcome", status.outcome().orElse(""));
      row.put("forced", Boolean.toString(status.forced()));
      row.put("ended", Boolean.toString(status.ended()));
      rows.add(row);
    }
    for (MoveQueue.Waiting waits : waiting) {
      if (begun.contains(waits.migration())) {
        continue;
      }
      SequencedMap<String, String> row = new LinkedHashMap<>();
      row.put("uuid", waits.migration().toString());
      row.put("vm_uuid", waits.vm().toString());
      row.put("role", "source");
      row.put("state", MoveQueue.QUEUED);
      row.put("phase", waits.phase());
      row.put("strategy", "");
      row.put("progress", "0.000");
      row.put(
          "waiting",
          waits.waitsFor().isEmpty() ? "" : waits.waitsFor() + " since " + waits.since());
      for (String none :
          List.of(
              "peer",
              "predicted_downtime",
              "time_left",
              "paused",
              "cutover",
              "bandwidth",
              "disk_bandwidth",
              "max_downtime",
              "outcome")) {
        row.put(none, "");
      }
      row.put("forced", "false");
      row.put("ended", "false");
      rows.add(row);
    }
    return rows;
  }

  private static String seconds(Duration time) {
    return String.format(Locale.ROOT, "%.3f s", time.toNanos() / 1e9);
  }

  @Override
  public SequencedMap<String, String> report(String session, String id) throws XenApiException {
    sessions.check(session);
    MigrationId migration = parse(id);
    return coordinator
        .status(migration, Role.SOURCE)
        .flatMap(status -> MoveReport.of(status, copies.apply(migration)))
        .map(MoveReport::lines)
        .orElseThrow(() ->
            new XenApiException(
                "OPERATION_NOT_ALLOWED",
                "Of migration "
                    + id
                    + " this server has no figures: it is not one from here, or"
                    + " too long ago."));
  }

  @Override
  public void checkOptions(Map<String, String> options) throws XenApiException {
    MoveOptions.check(options);
  }

  @Override
  public List<Obstacle> dryRun(String session, Move move) throws XenApiException {
    DryRuns.authorize(sessions.check(session));
    try {
      return shown(
          dryRuns.send(
              move.vm(),
              move.dest(),
              move.vdis(),
              move.vifs(),
              move.options(),
              move.formats(),
              caller));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("INTERNAL_ERROR", "interrupted").withCause(e);
    }
  }

  @Override
  public Needs needs(String session, Move move) throws XenApiException {
    DryRuns.authorize(sessions.check(session));
    try {
      return dryRuns
          .plan(move.vm(), move.dest(), move.vdis(), move.vifs(), move.options(), move.formats())
          .map(plan ->
              new Needs(
                  plan.memoryBytes(),
                  Layers.bytesBySr(plan),
                  dryRuns.occupied(plan),
                  Lineages.bySr(plan)))
          .orElse(Needs.NONE);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("INTERNAL_ERROR", "interrupted").withCause(e);
    }
  }

  @Override
  public List<Obstacle> dryRun(String session, String vm, String host, Map<String, String> options)
      throws XenApiException {
    DryRuns.authorize(sessions.check(session));
    return shown(dryRuns.toHost(vm, host, options));
  }

  private static List<Obstacle> shown(List<io.xenferry.migration.preflight.Obstacle> found) {
    return found.stream()
        .map(o ->
            new Obstacle(
                o.kind().blocks(),
                o.kind().blocks() ? o.code() : DryRuns.word(o.kind()),
                o.params(),
                DryRuns.word(o.side()),
                o.sentence(),
                o.kind().remedy()))
        .toList();
  }

  @Override
  public void steer(String session, String id, Map<String, String> wanted) throws XenApiException {
    operator(session);
    MigrationId migration = parse(id);
    Steering.Change change = SteeringWords.read(wanted);
    boolean waits = queue.waiting(migration).isPresent();
    Role role = role(migration);
    if (waits && role == Role.DESTINATION) {
      throw MoveQueue.notBegun(migration);
    }
    decide(coordinator.steer(migration, role, change));
  }

  @Override
  public void cancel(String session, String id) throws XenApiException {
    operator(session);
    MigrationId migration = parse(id);
    decide(queue.cancel(migration).orElseGet(() -> coordinator.cancel(migration, role(migration))));
  }

  /** Of one from this server to itself, the source's. */
  private Role role(MigrationId migration) {
    return coordinator.status(migration, Role.SOURCE).isPresent() ? Role.SOURCE : Role.DESTINATION;
  }

  @Override
  public void forceCommit(String session, String id) throws XenApiException {
    decide(coordinator.forceCommit(parse(id), operator(session).user()));
  }

  @Override
  public void forceResume(String session, String id) throws XenApiException {
    decide(coordinator.forceResume(parse(id), operator(session).user()));
  }

  @Override
  public void release(String session, String id) throws XenApiException {
    String operator = operator(session).user();
    MigrationId migration = parse(id);
    decide(coordinator.release(migration, role(migration), operator));
  }

  @Override
  public void acceptRestoredLedger(String session) throws XenApiException {
    decide(coordinator.acceptRestoredLedger(operator(session).user()));
  }

  private Session operator(String ref) throws XenApiException {
    Session session = sessions.check(ref);
    if (!session.operator()) {
      throw new XenApiException(
          "RBAC_PERMISSION_DENIED", "migration", "only an operator may decide about a migration");
    }
    return session;
  }

  private static MigrationId parse(String id) throws XenApiException {
    try {
      return MigrationId.parse(id);
    } catch (IllegalArgumentException e) {
      throw new XenApiException("UUID_INVALID", "migration", id).withCause(e);
    }
  }

  private static void decide(CompletableFuture<Void> decision) throws XenApiException {
    try {
      decision.get(DECISION.toSeconds(), TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof MigrationException refused) {
        throw refused.toXenApi();
      }
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getCause())).withCause(e);
    } catch (TimeoutException e) {
      throw new XenApiException("INTERNAL_ERROR", "the decision is not durable yet").withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("INTERNAL_ERROR", "interrupted").withCause(e);
    }
  }
}
