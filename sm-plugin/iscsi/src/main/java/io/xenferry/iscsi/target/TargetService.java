package io.xenferry.iscsi.target;

import io.xenferry.iscsi.IscsiUrl;
import java.util.List;
import java.util.Optional;

/**
 * Offers disks over iSCSI, and takes them back for certain.
 *
 * <p>Every change is durable in the {@link ExportJournal} before its effect. A service that starts
 * re-creates what the journal says is open, with the same names, units and accounts, and removes
 * what it does not. Thread-safe; methods block, up to the deadlines of the implementation.
 */
public interface TargetService extends AutoCloseable {

  /**
   * Opens an export; initiators can log in when this returns. The same export again changes
   * nothing.
   *
   * @return the URL with the account: a secret
   * @throws TargetException EXISTS when the name, the account or the unit is taken by another one,
   *     INVALID when the backing is unusable; then nothing is left behind
   */
  IscsiUrl open(Export export) throws TargetException;

  /**
   * Takes an export away: a fence. When this returns no session can change the disk any more, and
   * the backing is no longer open here. An unknown name is fine.
   *
   * @throws TargetException TIMEOUT when sessions do not end; the export is CLOSED in the journal
   *     all the same, and the call may be repeated
   */
  void close(String iqn) throws TargetException;

  /** What is open, and what could not be closed yet. Does not block. */
  List<Export> list();

  /** The URL of an open export, account included. */
  Optional<IscsiUrl> url(String iqn);

  /** Whether no session is logged in to the export, or none of that name exists. */
  boolean drained(String iqn) throws TargetException;

  /**
   * Ends the service in this process. Exports stay as the journal has them: a target that lives in
   * a daemon goes on serving and is found again by the next service.
   */
  @Override
  void close();
}
