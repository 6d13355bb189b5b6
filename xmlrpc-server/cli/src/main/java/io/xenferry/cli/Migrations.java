package io.xenferry.cli;

import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.SequencedMap;

/** The migrations of this server, as an administrator sees and, in need, decides them. */
public interface Migrations {

  /**
   * A row for each migration, oldest first: the fields that {@code records.txt} names, with their
   * text. A migration from a server to itself has two rows, one for each role.
   *
   * @param session a session that the server checks the role of
   */
  List<SequencedMap<String, String>> list(String session) throws XenApiException;

  /** Declares that the destination owns the VM, when the destination cannot be asked any more. */
  void forceCommit(String session, String id) throws XenApiException;

  /** Declares that the source owns the VM, when the destination cannot be asked any more. */
  void forceResume(String session, String id) throws XenApiException;

  /** Ends the row of a migration whose peer will never answer; deletes nothing. */
  void release(String session, String id) throws XenApiException;

  /** States that no VM of this host runs elsewhere, after its ledger was lost or put back. */
  void acceptRestoredLedger(String session) throws XenApiException;
}
