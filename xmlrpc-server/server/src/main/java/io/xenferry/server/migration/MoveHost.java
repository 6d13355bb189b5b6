package io.xenferry.server.migration;

import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.task.Task;
import java.util.Optional;

/** What clients' moves ask of their host, its guests and its storage, beside the coordinator. */
public interface MoveHost {
  /**
   * Looks at everything here that stands against a move to another host, and changes nothing.
   *
   * @param there what the VM's reference shall be at the destination
   * @return what the coordinator needs; it is good for a move only if the survey has found nothing.
   *     Empty where there is nothing to ask a destination about
   * @throws XenApiException HANDLE_INVALID for a VM that is gone
   */
  Optional<MoveRequest> prepare(Survey survey, Snapshot db, Request asked, Ref<VM> there)
      throws XenApiException, InterruptedException;

  /**
   * A VM is about to leave: its record is brought up to date, and what only this host has is taken
   * from it.
   *
   * @param task of the move
   */
  void leaves(Ref<VM> vm, String task) throws XenApiException;

  /** The call for the move is over; does nothing for one that has moved. */
  void left(Ref<VM> vm, String task);

  /**
   * A VM's move has come to nothing, and its task has not ended yet.
   *
   * @param begunHere whether this server began the move, and not one before it
   * @param task of the move
   */
  void stayed(Ref<VM> vm, boolean begunHere, String task);

  /** What the copying of a move's disks comes to. */
  Optional<CopySnapshot> copy(MigrationId migration);

  /** All that stands against a move of disks within this host. */
  void surveyWithinPool(Survey survey, Snapshot db, Request asked) throws XenApiException;

  /** Moves disks within this host. */
  void moveWithinPool(Request asked, Task task) throws XenApiException, InterruptedException;
}
