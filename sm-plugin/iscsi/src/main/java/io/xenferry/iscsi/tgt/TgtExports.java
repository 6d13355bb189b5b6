package io.xenferry.iscsi.tgt;

import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.ExportJournal;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import java.io.IOException;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What is open in a tgtd: each change is in the journal before its effect, and what the daemon has
 * is made equal to the journal whenever somebody looks. Without threads of its own; blocks as long
 * as sessions take to end. One thread at a time, but for {@link #list} and {@link #find}.
 */
public final class TgtExports {
  private static final Logger log = LoggerFactory.getLogger(TgtExports.class);

  /** tgtd takes any positive number. */
  static final int TIDS = 1 << 30;

  /** After so many the accounts are looked at, too, which is a command more. */
  private static final int LOOKS_AT_TARGETS = 60;

  /** A tgtd that may die. */
  public interface Daemon {
    /**
     * Finds it, or starts it where it is ours to start.
     *
     * @throws TargetException DOWN, TIMEOUT when there is none
     */
    Tgtadm up() throws TargetException;

    /** Whether it has ended since it was found, and every session with it. Unknown is no. */
    boolean isGone();

    /** Whether all of its targets and accounts are ours. */
    boolean isOurs();
  }

  private final Daemon daemon;
  private final ExportJournal journal;
  private final String prefix;
  private final Duration closeTimeout;

  private final Map<String, Export> open = new ConcurrentSkipListMap<>();

  /** Those of {@link #open} that the journal has as closed and that may still be in the daemon. */
  private final Set<String> closing = new HashSet<>();

  private TgtTargets targets =
      new TgtTargets(arguments -> {
        throw new TargetException(Kind.DOWN, "tgtd has not been looked for yet");
      });

  /** The last that was given to a target. */
  private int tid;

  /** How often somebody has looked. */
  private int looks;

  /**
   * @param prefix targets whose names begin so are ours to remove
   * @param closeTimeout how long sessions may take to end when an export is closed
   * @param tid a number, from 0, after which no other service has numbered targets of late: a
   *     command of a server that was killed may still name one of its own
   */
  public TgtExports(
      Daemon daemon, ExportJournal journal, String prefix, Duration closeTimeout, int tid)
      throws TargetException {
    this.daemon = daemon;
    this.journal = journal;
    this.prefix = prefix;
    this.closeTimeout = closeTimeout;
    this.tid = tid;
    try {
      for (Export export : journal.open()) {
        open.put(export.iqn(), export);
      }
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "cannot read the journal: " + e.getMessage(), e);
    }
  }

  /**
   * Finds or starts the daemon, removes the targets that are not open in the journal, makes anew
   * those that are.
   */
  public void takeUp() throws TargetException {
    targets = new TgtTargets(daemon.up());
    reconcile();
  }

  /**
   * Makes the daemon's targets equal to what is open. One that a killed server has half made is
   * made anew: nobody can log in to it.
   */
  private void reconcile() throws TargetException {
    Set<String> whole = new HashSet<>();
    for (TgtTargets.Existing target : targets.show().values()) {
      boolean wanted = open.containsKey(target.iqn()) && !closing.contains(target.iqn());
      if (wanted && target.isWhole()) {
        whole.add(target.iqn());
      } else if (wanted || target.iqn().startsWith(prefix)) {
        log.info(
            "removing target {}: it is {}",
            target.iqn(),
            wanted ? "half made" : "not open in the journal");
        targets.remove(target.iqn(), closeTimeout);
      }
    }
    if (daemon.isOurs()) {
      forgetAccounts();
    }
    for (Export export : open.values()) {
      if (!whole.contains(export.iqn()) && !closing.contains(export.iqn())) {
        log.info("re-creating target {}", export.iqn());
        try {
          targets.create(export, freeTid());
        } catch (TargetException e) {
          if (e.kind() == Kind.DOWN) {
            throw e;
          }
          // One lost backing file must not keep the others from coming back.
          log.error("cannot re-create target {}: {}", export.iqn(), e.getMessage());
        }
      }
    }
  }

  /** Of targets that were half made, or half removed, by a server that was killed meanwhile. */
  private void forgetAccounts() throws TargetException {
    Set<String> wanted = new HashSet<>();
    for (Export export : open.values()) {
      export.account().ifPresent(account -> wanted.add(account.user()));
    }
    for (String user : targets.accounts()) {
      if (!wanted.contains(user)) {
        log.info("removing account {}: no export that is open has it", user);
        targets.forget(user);
      }
    }
  }

  /** None that was in use before: a command of a server that was killed may still name that one. */
  private int freeTid() throws TargetException {
    List<Integer> used = targets.show().values().stream().map(TgtTargets.Existing::tid).toList();
    do {
      tid = tid % TIDS + 1;
    } while (used.contains(tid));
    return tid;
  }

  /**
   * Opens an export; initiators can log in when this returns. The same export again changes
   * nothing.
   *
   * @throws TargetException EXISTS when the name, the account or the unit is taken by another one,
   *     or its export could not be closed yet; INVALID when the backing is unusable; JOURNAL
   */
  public void open(Export export) throws TargetException {
    if (closing.contains(export.iqn())) {
      throw new TargetException(Kind.EXISTS, export.iqn() + " could not be closed yet");
    }
    Export before = open.get(export.iqn());
    if (before == null) {
      openNew(export);
    } else if (before.equals(export)) {
      TgtTargets.Existing there = targets.show().get(export.iqn());
      if (there == null || !there.isWhole()) {
        create(export);
      }
    } else {
      throw new TargetException(Kind.EXISTS, export.iqn() + " is open with other parameters");
    }
  }

  private void openNew(Export export) throws TargetException {
    export.requireDistinct(open.values());
    try {
      journal.opened(export);
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "journal: " + e.getMessage(), e);
    }
    open.put(export.iqn(), export);
    try {
      create(export);
    } catch (TargetException e) {
      open.remove(export.iqn());
      journalClosed(export.iqn());
      throw e;
    }
  }

  /** In place of whatever is there. */
  private void create(Export export) throws TargetException {
    targets.remove(export.iqn(), closeTimeout);
    targets.create(export, freeTid());
  }

  private void journalClosed(String iqn) throws TargetException {
    try {
      journal.closed(iqn);
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "journal: " + e.getMessage(), e);
    }
  }

  /**
   * Takes an export away: no session can change the disk any more when this returns. An unknown
   * name is fine.
   *
   * @throws TargetException TIMEOUT when sessions do not end; JOURNAL, and nothing has changed. The
   *     export stays in {@link #list} until closing it has succeeded
   */
  public void close(String iqn) throws TargetException {
    journalClosed(iqn);
    if (open.containsKey(iqn)) {
      closing.add(iqn); // it stays in the list until it is gone, so that closing can be repeated
    }
    try {
      targets.remove(iqn, closeTimeout);
    } catch (TargetException e) {
      // A daemon that is gone has no session that could write; whoever looks starts another.
      if (e.kind() != Kind.DOWN || !daemon.isGone()) {
        throw e;
      }
    }
    open.remove(iqn);
    closing.remove(iqn);
  }

  /** What is open, and what could not be closed yet. From any thread. */
  public List<Export> list() {
    return List.copyOf(open.values());
  }

  /** One of {@link #list}. From any thread. */
  public Optional<Export> find(String iqn) {
    return Optional.ofNullable(open.get(iqn));
  }

  /** Whether no session is logged in to the export, or none of that name exists. */
  public boolean drained(String iqn) throws TargetException {
    TgtTargets.Existing target = targets.show().get(iqn);
    return target == null || target.sessions() == 0;
  }

  void closeAll() throws TargetException {
    for (Export export : list()) {
      close(export.iqn());
    }
  }

  /** Removes all targets of a daemon that is to end: one that has any does not. */
  void removeAll() throws TargetException {
    for (TgtTargets.Existing left : targets.show().values()) {
      targets.remove(left.iqn(), closeTimeout);
    }
  }

  /**
   * Whether what is open is there and nothing else of ours is: of what a killed server was making
   * its last command may come late, when a server after it has closed that already.
   */
  private boolean agrees(Map<String, TgtTargets.Existing> existing) {
    return existing.keySet().stream()
            .noneMatch(iqn -> iqn.startsWith(prefix) && !open.containsKey(iqn))
        && open.keySet().stream()
            .filter(iqn -> !closing.contains(iqn))
            .allMatch(iqn -> existing.containsKey(iqn) && existing.get(iqn).isWhole());
  }

  /**
   * Looks after the daemon: one that has died is started anew with what is open, and what it has
   * lost, or has too much, is put right.
   */
  public void look() throws TargetException {
    if (daemon.isGone()) {
      log.warn("tgtd is gone; starting another");
      takeUp();
      return;
    }
    looks++;
    if (!agrees(targets.show())) {
      reconcile();
    } else if (looks % LOOKS_AT_TARGETS == 0 && daemon.isOurs()) {
      forgetAccounts();
    }
  }
}
