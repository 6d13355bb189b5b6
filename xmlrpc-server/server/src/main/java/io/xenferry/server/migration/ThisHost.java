package io.xenferry.server.migration;

import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.flow.SourceMigration;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.VmLifecycle;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The host that moves are asked of, with its guests, storage and CDs. */
final class ThisHost implements MoveHost {
  private static final Logger log = LoggerFactory.getLogger(ThisHost.class);

  private final ObjectDatabase database;
  private final Ledger ledger;
  private final VmLifecycle lifecycle;
  private final MovePreparation preparation;
  private final EjectedCds cds;
  private final SourceCopies copies;
  private final PoolMoves pool;

  ThisHost(
      ObjectDatabase database,
      Ledger ledger,
      VmLifecycle lifecycle,
      MovePreparation preparation,
      EjectedCds cds,
      SourceCopies copies,
      PoolMoves pool) {
    this.database = database;
    this.ledger = ledger;
    this.lifecycle = lifecycle;
    this.preparation = preparation;
    this.cds = cds;
    this.copies = copies;
    this.pool = pool;
  }

  @Override
  public Optional<MoveRequest> prepare(Survey survey, Snapshot db, Request asked, Ref<VM> there)
      throws XenApiException, InterruptedException {
    return preparation.prepare(survey, db, asked, there);
  }

  @Override
  public void leaves(Ref<VM> vm, String task) throws XenApiException {
    lifecycle.firmware().note(vm);
    cds.eject(vm, task);
  }

  @Override
  public void left(Ref<VM> vm, String task) {
    cds.putBack(vm, task);
  }

  @Override
  public void stayed(Ref<VM> vm, boolean begunHere, String task) {
    if (!bootsAgain(vm)) {
      lifecycle.watch().stayed(vm, begunHere);
    }
    cds.putBack(vm, task);
  }

  /** Whether the guest of a VM, if it has ended, is dealt with by the migration that ended it. */
  private boolean bootsAgain(Ref<VM> vm) {
    try {
      UUID uuid = UUID.fromString(database.snapshot().get(vm, VM.UUID));
      return ledger.unended(uuid).stream().anyMatch(SourceMigration::bootsAgain);
    } catch (XenApiException e) {
      log.debug("{} is gone", vm, e);
      return false;
    }
  }

  @Override
  public Optional<CopySnapshot> copy(MigrationId migration) {
    return copies.snapshot(migration);
  }

  @Override
  public void surveyWithinPool(Survey survey, Snapshot db, Request asked) throws XenApiException {
    pool.survey(survey, db, asked);
  }

  @Override
  public void moveWithinPool(Request asked, Task task)
      throws XenApiException, InterruptedException {
    pool.move(asked, task);
  }
}
