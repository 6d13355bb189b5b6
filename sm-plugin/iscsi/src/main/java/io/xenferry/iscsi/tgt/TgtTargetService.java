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
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The target service on tgtd: on one of its own, which it starts, finds again after a restart and
 * brings back when it dies, or on one that the administrator runs. What it does there {@link
 * TgtExports} knows; here are the processes and threads.
 *
 * <p>One lock serialises opening, closing and the watchdog, so that a target that is being closed
 * is never re-created. Closing goes first: guests stand still until their exports are closed.
 */
public final class TgtTargetService implements TargetService {
  private static final Logger log = LoggerFactory.getLogger(TgtTargetService.class);

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
  private final TgtDaemon daemon;
  private final TgtExports exports;
  private final TwoClassLock lock = new TwoClassLock();
  private final Thread watchdog;

  /** Changed under the lock only, as the port. */
  private TgtDaemon.@Nullable Running running;

  private int port;
  private volatile boolean closed;

  /**
   * Finds or starts the daemon, removes the targets that are not open in the journal, re-creates
   * those that are.
   */
  public TgtTargetService(Settings settings, ExportJournal journal) throws TargetException {
    this.settings = settings;
    this.daemon = new TgtDaemon(settings.state(), settings.address(), settings.commandTimeout());
    try {
      Files.createDirectories(settings.state());
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "cannot make " + settings.state(), e);
    }
    exports =
        new TgtExports(
            settings.attachTo().isPresent() ? new Attached(settings.attachTo().get()) : new Own(),
            journal,
            settings.prefix(),
            settings.closeTimeout(),
            ThreadLocalRandom.current().nextInt(TgtExports.TIDS));
    lock.lock();
    try {
      exports.takeUp();
    } finally {
      lock.unlock();
    }
    watchdog = Thread.ofPlatform().daemon().name("tgtd watchdog").start(this::watch);
  }

  /** The one that we run. With the lock held. */
  private final class Own implements TgtExports.Daemon {
    @Override
    public Tgtadm up() throws TargetException {
      TgtDaemon.Running found = running;
      if (found == null || !found.process().isAlive()) {
        Optional<TgtDaemon.Running> earlier = daemon.find();
        found = earlier.isPresent() ? earlier.get() : daemon.start(settings.port());
        running = found;
      }
      port = found.port();
      return new TgtadmProgram(found.control(), settings.commandTimeout());
    }

    @Override
    public boolean isGone() {
      TgtDaemon.Running ours = running;
      return ours != null && !ours.process().isAlive();
    }

    @Override
    public boolean isOurs() {
      return true;
    }
  }

  /** One that somebody else runs, and nobody here can tell whether it has ended. */
  private final class Attached implements TgtExports.Daemon {
    private final int control;

    Attached(int control) {
      this.control = control;
    }

    @Override
    public Tgtadm up() {
      port = settings.port();
      return new TgtadmProgram(control, settings.commandTimeout());
    }

    @Override
    public boolean isGone() {
      return false;
    }

    @Override
    public boolean isOurs() {
      return false;
    }
  }

  @Override
  public IscsiUrl open(Export export) throws TargetException {
    lock.lock();
    try {
      requireRunning();
      exports.open(export);
      return urlOf(export);
    } finally {
      lock.unlock();
    }
  }

  private void requireRunning() throws TargetException {
    if (closed) {
      throw new TargetException(Kind.DOWN, "the target service is closed");
    }
  }

  @Override
  public void close(String iqn) throws TargetException {
    lock.lockUrgently();
    try {
      requireRunning();
      exports.close(iqn);
    } finally {
      lock.unlock();
    }
  }

  @Override
  public List<Export> list() {
    return exports.list();
  }

  @Override
  public Optional<IscsiUrl> url(String iqn) {
    lock.lock();
    try {
      return exports.find(iqn).map(this::urlOf);
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
      return exports.drained(iqn);
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

  private void look() {
    try {
      exports.look();
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
      exports.closeAll();
      closed = true;
      TgtDaemon.Running ours = running;
      if (ours != null && ours.process().isAlive()) {
        exports.removeAll();
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
      if (exports.list().isEmpty() && ours != null && ours.process().isAlive()) {
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
