package io.xenferry.server.migration;

import io.xenferry.cli.Migrations;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.model.XenApiException;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

/** Migrations as {@code xe migration-list} shows them, and the operator's decisions. */
final class MigrationTable implements Migrations {
  private static final Duration DECISION = Duration.ofSeconds(30);

  private final Coordinator coordinator;
  private final DryRuns dryRuns;
  private final Sessions sessions;

  MigrationTable(Coordinator coordinator, DryRuns dryRuns, Sessions sessions) {
    this.coordinator = coordinator;
    this.dryRuns = dryRuns;
    this.sessions = sessions;
  }

  @Override
  public List<SequencedMap<String, String>> list(String session) throws XenApiException {
    sessions.check(session);
    List<SequencedMap<String, String>> rows = new ArrayList<>();
    for (MigrationStatus status : coordinator.statuses()) {
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
      row.put("outcome", status.outcome().orElse(""));
      row.put("forced", Boolean.toString(status.forced()));
      row.put("ended", Boolean.toString(status.ended()));
      rows.add(row);
    }
    return rows;
  }

  @Override
  public List<Obstacle> dryRun(String session, Move move) throws XenApiException {
    DryRuns.authorize(sessions.check(session));
    try {
      return shown(
          dryRuns.send(
              move.vm(), move.dest(), move.vdis(), move.vifs(), move.options(), move.formats()));
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
                o.code(), o.params(), DryRuns.word(o.side()), o.sentence(), o.kind().remedy()))
        .toList();
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
    Role role =
        coordinator.status(migration, Role.SOURCE).isPresent() ? Role.SOURCE : Role.DESTINATION;
    decide(coordinator.release(migration, role, operator));
  }

  @Override
  public void acceptRestoredLedger(String session) throws XenApiException {
    decide(coordinator.acceptRestoredLedger(operator(session).user()));
  }

  private Session operator(String ref) throws XenApiException {
    Session session = sessions.check(ref);
    if (!session.operator()) {
      throw new XenApiException(
          "RBAC_PERMISSION_DENIED", "migration.force", "only an operator may force a migration");
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
