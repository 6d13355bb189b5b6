package io.xenferry.migration;

import io.xenferry.migration.flow.DestinationMigration;
import io.xenferry.migration.flow.Host;
import io.xenferry.migration.flow.Migration;
import io.xenferry.migration.flow.SourceMigration;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.ledger.LedgerConflictException;
import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.ToDoubleFunction;

/**
 * The migrations at work on this host, and those that ended of late. Changed on the scheduler only;
 * {@link #find} and {@link #leaving} may be called on any thread.
 */
final class Roster {
  /** How much longer than its token a tombstone is kept, for clocks that differ. */
  private static final Duration TOMBSTONE_MARGIN = Duration.ofHours(1);

  /** Ended ones are told from the ledger; a few hundred are kept for their figures. */
  private static final int REMEMBERED = 200;

  private final Host host;
  private final Map<Key, Migration> migrations = new ConcurrentHashMap<>();
  private boolean takenUp;

  private record Key(MigrationId migration, Role role) {}

  Roster(Host host) {
    this.host = host;
  }

  /** Whether the ledger of a server before this one has been read and acted upon. */
  boolean takenUp() {
    return takenUp;
  }

  /**
   * Takes up every unended row.
   *
   * @param shown see {@link Coordinator#recover}
   */
  void takeUp(ToDoubleFunction<LedgerRow> shown) {
    purge();
    for (LedgerRow row : host.ledger().rows()) {
      if (!row.ended()) {
        Migration migration = add(row);
        if (row.role() == Role.SOURCE) {
          migration.shown(shown.applyAsDouble(row));
        }
        migration.takeUp();
      }
    }
    takenUp = true;
  }

  /** Forgets ended rows whose time is up. */
  void purge() {
    host.ledger().purge(host.scheduler().now().minus(TOMBSTONE_MARGIN));
  }

  private Migration add(LedgerRow row) {
    Migration migration =
        row.role() == Role.SOURCE
            ? new SourceMigration(host, row)
            : new DestinationMigration(host, row);
    add(migration);
    return migration;
  }

  Optional<Migration> find(MigrationId migration, Role role) {
    return Optional.ofNullable(migrations.get(new Key(migration, role)));
  }

  /** What arrives here, as planned, until its guest runs or nothing comes of it. */
  List<Plan> arriving() {
    return migrations.values().stream()
        .filter(known -> known.role() == Role.DESTINATION && !known.row().state().outcome())
        .map(Migration::plan)
        .toList();
  }

  /** What leaves from here, as planned, until that is decided. Any thread. */
  Map<MigrationId, Plan> leaving() {
    Map<MigrationId, Plan> leaving = new HashMap<>();
    for (Migration known : migrations.values()) {
      MigrationStatus status = known.status();
      if (status.role() == Role.SOURCE && !status.state().outcome()) {
        leaving.put(status.migration(), known.plan());
      }
    }
    return leaving;
  }

  private void add(Migration migration) {
    migrations.put(new Key(migration.id(), migration.role()), migration);
  }

  void forget(MigrationId migration, Role role) {
    migrations.remove(new Key(migration, role));
  }

  /** Writes the first row of a migration from here. */
  SourceMigration beginSource(LedgerRow row) {
    SourceMigration migration = new SourceMigration(host, insert(row));
    add(migration);
    return migration;
  }

  /** Writes the first row of a migration to here. */
  DestinationMigration beginDestination(LedgerRow row) {
    DestinationMigration migration = new DestinationMigration(host, insert(row));
    add(migration);
    return migration;
  }

  /** Claims the VM at the gate while the row is written, so that no start slips in between. */
  private LedgerRow insert(LedgerRow row) {
    if (migrations.size() > REMEMBERED) {
      migrations.values().removeIf(Migration::ended);
    }
    try (Gate.Permit claim = host.gate().claim(row.vm())) {
      return host.ledger().insert(row);
    } catch (XenApiException e) {
      throw new MigrationException(
          e.code(), e.params(), "another operation on the VM is in progress", e);
    } catch (LedgerConflictException e) {
      throw Refusals.busy(row.vm(), String.valueOf(e.getMessage()), e);
    } catch (LedgerException e) {
      CompletableFuture<Void> settled = new CompletableFuture<>();
      takeUpInDoubt(row, settled);
      throw new BeginningInDoubtException(e, settled);
    }
  }

  /** A row whose writing failed may be there all the same: then somebody has to end it. */
  private void takeUpInDoubt(LedgerRow row, CompletableFuture<Void> settled) {
    host.scheduler()
        .schedule(
            host.deadlines().retryMost(),
            () -> {
              try {
                Optional<LedgerRow> unended =
                    host.ledger()
                        .find(row.migration(), row.role())
                        .filter(found -> !found.ended())
                        .filter(found -> find(row.migration(), row.role()).isEmpty());
                if (unended.isEmpty()) {
                  settled.complete(null);
                } else {
                  takeBack(unended.get(), settled);
                }
              } catch (LedgerException e) {
                takeUpInDoubt(row, settled);
              }
            });
  }

  private void takeBack(LedgerRow row, CompletableFuture<Void> settled) {
    Migration migration = add(row);
    if (migration instanceof SourceMigration source) {
      source.outcome().whenComplete((moved, stayed) -> settled.complete(null));
    }
    migration.takeUpInDoubt();
  }
}
