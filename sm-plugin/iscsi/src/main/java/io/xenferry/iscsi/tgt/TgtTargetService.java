package io.xenferry.iscsi.tgt;

import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.ExportJournal;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import io.xenferry.iscsi.target.TargetService;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The target service on tgtd: on one of its own, which it starts, finds again after a restart and
 * brings back when it dies, or on one that the administrator runs.
 *
 * <p>One lock serialises opening, closing and the watchdog, so that a target that is being closed
 * is never re-created. Closing goes first: guests stand still until their exports are closed.
 */
public final class TgtTargetService implements TargetService {
  private static final Logger log = LoggerFactory.getLogger(TgtTargetService.class);

  /** tgtd takes any positive number. */
  private static final int TIDS = 1 << 30;

  /** After so many the accounts are looked at, too, which is a command more. */
  private static final int LOOKS_AT_TARGETS = 60;

  /**
   * @param state directory for what must survive a restart
   * @param address of the portal
   * @param port of the portal; 0 lets the system choose once
   * @param attachTo control number of a tgtd that somebody else runs; empty starts one
   * @param prefix in an attached daemon only targets whose names begin so are ours to remove
   * @param commandTimeout of one tgtadm call
   * @param closeTimeout how long sessions may take to end when an export is closed
   * @param watch how often the daemon is looked after
   */
  public record Settings(
      Path state,
      InetAddress address,
      int port,
      Optional<Integer> attachTo,
      String prefix,
      Duration commandTimeout,
      Duration closeTimeout,
      Duration watch) {

    /** A daemon of our own on a free port of the address. */
    public static Settings own(Path state, InetAddress address) {
      return new Settings(
          state,
          address,
          0,
          Optional.empty(),
          "iqn.",
          Duration.ofSeconds(10),
          Duration.ofSeconds(15),
          Duration.ofSeconds(1));
    }

    public Settings onPort(int chosen) {
      return new Settings(
          state, address, chosen, attachTo, prefix, commandTimeout, closeTimeout, watch);
    }

    /** A daemon that listens on the port already. */
    public Settings attachedTo(int control, int itsPort, String ourPrefix) {
      return new Settings(
          state,
          address,
          itsPort,
          Optional.of(control),
          ourPrefix,
          commandTimeout,
          closeTimeout,
          watch);
    }
  }

  private final Settings settings;
  private final ExportJournal journal;
  private final TgtDaemon daemon;
  private final TwoClassLock lock = new TwoClassLock();

  /** Changed under the lock only. */
  private final Map<String, Export> open = new ConcurrentSkipListMap<>();

  /** Those of {@link #open} that the journal has as closed and that may still be in the daemon. */
  private final Set<String> closing = new HashSet<>();

  private final Thread watchdog;
  private TgtDaemon.@Nullable Running running;
  private TgtTargets targets;
  private int port;

  /** The last that was given to a target; no other service is likely to have come here. */
  private int tid = ThreadLocalRandom.current().nextInt(TIDS);

  /** How often the watchdog has looked. */
  private int looks;

  private volatile boolean closed;

  /**
   * Finds or starts the daemon, removes the targets that are not open in the journal, re-creates
   * those that are.
   */
  public TgtTargetService(Settings settings, ExportJournal journal) throws TargetException {
    this.settings = settings;
    this.journal = journal;
    this.daemon = new TgtDaemon(settings.state(), settings.address(), settings.commandTimeout());
    try {
      Files.createDirectories(settings.state());
      for (Export export : journal.open()) {
        open.put(export.iqn(), export);
      }
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "cannot read the journal: " + e.getMessage(), e);
    }
    targets = new TgtTargets(new Tgtadm(0, settings.commandTimeout()));
    lock.lock();
    try {
      up();
      reconcile();
    } finally {
      lock.unlock();
    }
    watchdog = Thread.ofPlatform().daemon().name("tgtd watchdog").start(this::watch);
  }

  /** Makes sure that there is a daemon. */
  private void up() throws TargetException {
    int control;
    if (settings.attachTo().isPresent()) {
      control = settings.attachTo().get();
      port = settings.port();
    } else {
      TgtDaemon.Running found = running;
      if (found == null || !found.process().isAlive()) {
        Optional<TgtDaemon.Running> earlier = daemon.find();
        found = earlier.isPresent() ? earlier.get() : daemon.start(settings.port());
        running = found;
      }
      control = found.control();
      port = found.port();
    }
    targets = new TgtTargets(new Tgtadm(control, settings.commandTimeout()));
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
      } else if (wanted || target.iqn().startsWith(settings.prefix())) {
        log.info(
            "removing target {}: it is {}",
            target.iqn(),
            wanted ? "half made" : "not open in the journal");
        targets.remove(target.iqn(), settings.closeTimeout());
      }
    }
    if (settings.attachTo().isEmpty()) {
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
      tid++;
    } while (used.contains(tid));
    return tid;
  }

  @Override
  public IscsiUrl open(Export export) throws TargetException {
    lock.lock();
    try {
      requireRunning();
      Export before = open.get(export.iqn());
      if (closing.contains(export.iqn())) {
        throw new TargetException(Kind.EXISTS, export.iqn() + " could not be closed yet");
      }
      if (export.equals(before)) {
        TgtTargets.Existing there = targets.show().get(export.iqn());
        if (there == null || !there.isWhole()) {
          targets.remove(export.iqn(), settings.closeTimeout());
          targets.create(export, freeTid());
        }
        return urlOf(export);
      }
      if (before != null) {
        throw new TargetException(Kind.EXISTS, export.iqn() + " is open with other parameters");
      }
      export.requireDistinct(open.values());
      try {
        journal.opened(export);
      } catch (IOException e) {
        throw new TargetException(Kind.JOURNAL, "journal: " + e.getMessage(), e);
      }
      open.put(export.iqn(), export);
      try {
        if (targets.show().containsKey(export.iqn())) {
          targets.remove(export.iqn(), settings.closeTimeout());
        }
        targets.create(export, freeTid());
        return urlOf(export);
      } catch (TargetException e) {
        open.remove(export.iqn());
        journalClosed(export.iqn());
        throw e;
      }
    } finally {
      lock.unlock();
    }
  }

  private void requireRunning() throws TargetException {
    if (closed) {
      throw new TargetException(Kind.DOWN, "the target service is closed");
    }
  }

  private void journalClosed(String iqn) throws TargetException {
    try {
      journal.closed(iqn);
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "journal: " + e.getMessage(), e);
    }
  }

  @Override
  public void close(String iqn) throws TargetException {
    lock.lockUrgently();
    try {
      requireRunning();
      journalClosed(iqn);
      if (open.containsKey(iqn)) {
        closing.add(iqn); // it stays in the list until it is gone, so that closing can be repeated
      }
      try {
        targets.remove(iqn, settings.closeTimeout());
      } catch (TargetException e) {
        // A daemon that is gone has no session that could write; the watchdog starts another.
        TgtDaemon.Running ours = running;
        if (e.kind() != Kind.DOWN || ours == null || ours.process().isAlive()) {
          throw e;
        }
      }
      open.remove(iqn);
      closing.remove(iqn);
    } finally {
      lock.unlock();
    }
  }

  @Override
  public List<Export> list() {
    return List.copyOf(open.values());
  }

  @Override
  public Optional<IscsiUrl> url(String iqn) {
    lock.lock();
    try {
      return Optional.ofNullable(open.get(iqn)).map(this::urlOf);
    } finally {
      lock.unlock();
    }
  }

  private IscsiUrl urlOf(Export export) {
    return new IscsiUrl(
        export.account(), settings.address().getHostAddress(), port, export.iqn(), export.lun());
  }

  @Override
  public boolean drained(String iqn) throws TargetException {
    lock.lock();
    try {
      TgtTargets.Existing target = targets.show().get(iqn);
      return target == null || target.sessions() == 0;
    } finally {
      lock.unlock();
    }
  }

  /** The process of our own daemon; empty when attached. */
  public Optional<ProcessHandle> process() {
    lock.lock();
    try {
      return Optional.ofNullable(running).map(TgtDaemon.Running::process);
    } finally {
      lock.unlock();
    }
  }

  /** The daemon's control number, for {@code tgtadm -C}. */
  public int control() {
    lock.lock();
    try {
      TgtDaemon.Running ours = running;
      return ours != null ? ours.control() : settings.attachTo().orElse(0);
    } finally {
      lock.unlock();
    }
  }

  // ---- the watchdog

  private void watch() {
    while (!closed) {
      try {
        awaitDeathOrTick();
        lock.lockInterruptibly();
        try {
          if (!closed) {
            look();
          }
        } finally {
          lock.unlock();
        }
      } catch (InterruptedException e) {
        return;
      }
    }
  }

  private void awaitDeathOrTick() throws InterruptedException {
    Optional<ProcessHandle> process = process();
    try {
      if (process.isPresent() && process.get().isAlive()) {
        process.get().onExit().get(settings.watch().toMillis(), TimeUnit.MILLISECONDS);
      } else {
        TimeUnit.NANOSECONDS.sleep(settings.watch().toNanos());
      }
    } catch (java.util.concurrent.ExecutionException | java.util.concurrent.TimeoutException e) {
      // Time to look.
    }
  }

  /**
   * Whether what is open is there and nothing else of ours is: of what a killed server was making
   * its last command may come late, when a server after it has closed that already.
   */
  private boolean agrees(Map<String, TgtTargets.Existing> existing) {
    return existing.keySet().stream()
            .noneMatch(iqn -> iqn.startsWith(settings.prefix()) && !open.containsKey(iqn))
        && open.keySet().stream()
            .filter(iqn -> !closing.contains(iqn))
            .allMatch(iqn -> existing.containsKey(iqn) && existing.get(iqn).isWhole());
  }

  private void look() {
    try {
      TgtDaemon.Running before = running;
      if (before != null && !before.process().isAlive()) {
        log.warn("tgtd {} is gone; starting another", before.process().pid());
        up();
        reconcile();
        return;
      }
      looks++;
      if (!agrees(targets.show())) {
        reconcile();
      } else if (looks % LOOKS_AT_TARGETS == 0 && settings.attachTo().isEmpty()) {
        forgetAccounts();
      }
    } catch (TargetException e) {
      log.warn("the watchdog will try again: {}", e.getMessage());
    }
  }

  /**
   * Closes every export and ends our own daemon: for an orderly stop for good, not for a restart of
   * the server.
   */
  public void stop() throws TargetException {
    lock.lock();
    try {
      for (Export export : List.copyOf(open.values())) {
        close(export.iqn());
      }
      closed = true;
      TgtDaemon.Running ours = running;
      if (ours != null && ours.process().isAlive()) {
        for (TgtTargets.Existing left : targets.show().values()) {
          targets.remove(left.iqn(), settings.closeTimeout());
        }
        daemon.stop(ours);
      }
      running = null;
    } finally {
      lock.unlock();
    }
    close();
  }

  /** The daemon goes on for a later server if it has exports to serve, else it ends too. */
  @Override
  public void close() {
    closed = true;
    watchdog.interrupt();
    try {
      watchdog.join(settings.commandTimeout().toMillis());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    lock.lock();
    try {
      TgtDaemon.Running ours = running;
      if (open.isEmpty() && ours != null && ours.process().isAlive()) {
        daemon.stop(ours);
        running = null;
      }
    } catch (TargetException e) {
      log.warn("our tgtd stays: {}", e.getMessage());
    } finally {
      lock.unlock();
    }
  }
}
