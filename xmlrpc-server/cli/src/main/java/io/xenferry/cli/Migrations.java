package io.xenferry.cli;

import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/** The migrations of this server, as an administrator sees and, in need, decides them. */
public interface Migrations {

  /**
   * A row for each migration, oldest first: the fields that {@code records.txt} names, with their
   * text. A migration from a server to itself has two rows, one for each role.
   *
   * @param session a session that the server checks the role of
   */
  List<SequencedMap<String, String>> list(String session) throws XenApiException;

  /**
   * Looks at the options of a move before anybody is asked for anything.
   *
   * @throws XenApiException INVALID_VALUE for one that no move can have, which names the option,
   *     its value and what is allowed
   */
  void checkOptions(Map<String, String> options) throws XenApiException;

  /**
   * What stands against a move, which is not begun.
   *
   * @param session a session that the server checks the role of
   * @return in the order in which the move would meet it
   * @throws XenApiException when that cannot be found out
   */
  List<Obstacle> dryRun(String session, Move move) throws XenApiException;

  /**
   * The same for a move to a host of this pool.
   *
   * @param vm and host: references
   */
  List<Obstacle> dryRun(String session, String vm, String host, Map<String, String> options)
      throws XenApiException;

  /**
   * What a move takes of its destination, which a dry run of it alone has found to be there.
   *
   * @param session a session that the server checks the role of
   * @throws XenApiException when that cannot be found out
   */
  Needs needs(String session, Move move) throws XenApiException;

  /**
   * Bytes that must be free at the destination.
   *
   * @param memory of its host; 0 unless the VM runs
   * @param srs of each SR, by reference there
   * @param brought what of these is taken by the move itself: the rest is for what the VM may write
   *     some day, which sparse disks do not keep from others. It is less where a disk begins as a
   *     copy of one that is there, or goes on as that
   * @param lineages by which such a one is known, of each SR: its uuid, or what its sm_config has
   *     as {@code xenferry-lineage}
   */
  record Needs(
      long memory,
      Map<String, Long> srs,
      Map<String, Long> brought,
      Map<String, Set<String>> lineages) {
    /** Of a move that does not leave the pool. */
    public static final Needs NONE = new Needs(0, Map.of(), Map.of(), Map.of());

    public Needs {
      srs = Map.copyOf(srs);
      brought = Map.copyOf(brought);
      lineages = Map.copyOf(lineages);
    }
  }

  /** The parameters of VM.migrate_send that concern a dry run; all but options by reference. */
  record Move(
      String vm,
      Map<String, String> dest,
      Map<String, String> vdis,
      Map<String, String> vifs,
      Map<String, String> options,
      Map<String, String> formats) {}

  /**
   * One thing that stands against a move.
   *
   * @param blocks whether the move fails with it; otherwise it is a warning
   * @param code with which the move would fail; of a warning what it is called
   * @param side {@code source} or {@code destination}: who sees it
   * @param remedy what may be done about it
   */
  record Obstacle(
      boolean blocks,
      String code,
      List<String> params,
      String side,
      String sentence,
      String remedy) {}

  /**
   * What a move from here has cost until now, or did: names with figures, in an order to be read.
   */
  SequencedMap<String, String> report(String session, String id) throws XenApiException;

  /**
   * Carries a move on otherwise, until its guest is being stopped.
   *
   * @param wanted any of {@code bandwidth} (bytes a second, 0 for no limit), {@code max-downtime}
   *     (milliseconds), {@code paused} (true, false), {@code cutover} (auto, hold, now, an
   *     instant), {@code strategy} (auto, log-dirty, mirror)
   */
  void steer(String session, String id, Map<String, String> wanted) throws XenApiException;

  /** Ends a move, the VM staying where it is; refused once only the destination may decide. */
  void cancel(String session, String id) throws XenApiException;

  /** Declares that the destination owns the VM, when the destination cannot be asked any more. */
  void forceCommit(String session, String id) throws XenApiException;

  /** Declares that the source owns the VM, when the destination cannot be asked any more. */
  void forceResume(String session, String id) throws XenApiException;

  /** Ends the row of a migration whose peer will never answer; deletes nothing. */
  void release(String session, String id) throws XenApiException;

  /** States that no VM of this host runs elsewhere, after its ledger was lost or put back. */
  void acceptRestoredLedger(String session) throws XenApiException;
}
