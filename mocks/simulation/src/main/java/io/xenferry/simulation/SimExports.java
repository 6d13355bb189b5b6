package io.xenferry.simulation;

import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.ExportJournal;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.tgt.TgtExports;
import io.xenferry.iscsi.tgt.Tgtadm;
import io.xenferry.migration.ports.DestinationPorts.ExportSpec;
import io.xenferry.migration.ports.RefusedException;
import io.xenferry.time.SimulatedScheduler;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Predicate;

/**
 * The exports of a host, by one of its servers: the product's own {@link TgtExports}, on a
 * simulated tgtd and stable storage. The server may be killed at any command to the one and at any
 * record on the other; of what it had begun its last command may come late, and nothing else.
 */
final class SimExports {
  private static final String PREFIX = "iqn.2026-01.io.xenferry:";
  private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(15);

  /** How often the daemon is looked after. */
  private static final Duration WATCH = Duration.ofSeconds(1);

  /** An export takes a dozen commands, and a ledger's record is worth as many. */
  private static final int COMMANDS = 12;

  /** What becomes of a server at a command to tgtd. */
  enum Fate {
    /** The command is done, and it goes on. */
    GOES_ON,
    KILLED_BEFORE,
    KILLED_AFTER,
    /** It is killed, and the command is done later. */
    KILLED_MEANWHILE
  }

  private final World world;
  private final SimHost host;
  private final SimulatedScheduler.Process server;
  private final TgtExports exports;

  SimExports(World world, SimHost host, SimulatedScheduler.Process server) {
    this.world = world;
    this.host = host;
    this.server = server;
    try {
      this.exports =
          new TgtExports(
              new Daemon(), new Journal(), PREFIX, CLOSE_TIMEOUT, world.random.nextInt(1 << 20));
    } catch (TargetException e) {
      throw new IllegalStateException(e);
    }
  }

  /** As a server does when it starts: one that cannot ends, and is started again. */
  void takeUp(Predicate<String> wanted) {
    try {
      exports.takeUp();
      closeIf(wanted.negate());
    } catch (TargetException e) {
      host.crash("as it starts: " + e.getMessage());
      throw new SimulatedCrash(host.name);
    }
    server.schedule(WATCH, this::look);
  }

  private void look() {
    try {
      exports.look();
    } catch (TargetException e) {
      world.trace(host.name + ": the watchdog will try again: " + e.getMessage());
    }
    server.schedule(WATCH, this::look);
  }

  /**
   * Opens an export.
   *
   * @return its target's name
   */
  String open(ExportSpec spec) {
    Export export = export(spec);
    try {
      endWithTheServer();
      exports.open(export);
    } catch (TargetException e) {
      throw failed(e);
    }
    return export.iqn();
  }

  void close(ExportSpec spec) {
    try {
      endWithTheServer();
      exports.close(iqn(spec.name(), spec.vdi()));
    } catch (TargetException e) {
      throw failed(e);
    }
  }

  /** Closes those that nobody wants, by their names, as far as that can be done now. */
  void sweep(Predicate<String> unwanted) {
    try {
      closeIf(unwanted);
    } catch (TargetException e) {
      world.trace(host.name + ": exports that nobody wants stay: " + e.getMessage());
    }
  }

  private void closeIf(Predicate<String> unwanted) throws TargetException {
    for (Export export : exports.list()) {
      String rest = export.iqn().substring(PREFIX.length());
      if (unwanted.test(rest.substring(0, rest.lastIndexOf(':')))) {
        world.count("exports closed that the ledger does not have open");
        exports.close(export.iqn());
      }
    }
  }

  private void endWithTheServer() {
    if (!server.alive()) {
      throw new SimulatedCrash(host.name);
    }
  }

  private static RuntimeException failed(TargetException e) {
    return e.kind() == TargetException.Kind.INVALID || e.kind() == TargetException.Kind.EXISTS
        ? new RefusedException("refused: " + e.getMessage())
        : new IllegalStateException(e);
  }

  private static Export export(ExportSpec spec) {
    String vdi = spec.vdi().toString();
    return new Export(
        iqn(spec.name(), spec.vdi()),
        1,
        new Export.Backing.File(Path.of(backing(spec.vdi()))),
        vdi.replace("-", "").substring(0, 24),
        vdi,
        Optional.of(new Credentials(spec.account(), spec.secret())),
        new Acl.Everybody(),
        true,
        false);
  }

  private static String iqn(String name, UUID vdi) {
    return PREFIX + name + ":" + vdi;
  }

  /** The path of a disk. */
  static String backing(UUID vdi) {
    return "/" + vdi;
  }

  /** The disk at a path. */
  static UUID disk(String backing) {
    return UUID.fromString(backing.substring(1));
  }

  private final class Daemon implements TgtExports.Daemon {
    private int life;

    @Override
    public Tgtadm up() {
      life = host.tgtd.start();
      return SimExports.this::command;
    }

    @Override
    public boolean isGone() {
      return !host.tgtd.lives(life);
    }

    @Override
    public boolean isOurs() {
      return true;
    }
  }

  private String command(String... arguments) throws TargetException {
    endWithTheServer();
    String words = String.join(" ", arguments);
    if (words.endsWith("--op show")) {
      return host.tgtd.run(arguments);
    }
    Fate fate = host.fates.of(words);
    switch (fate) {
      case GOES_ON -> {}
      case KILLED_BEFORE -> kill("(before) ", words);
      case KILLED_AFTER -> {
        host.tgtd.run(arguments);
        kill("(after) ", words);
      }
      case KILLED_MEANWHILE -> {
        int boot = host.boot;
        world.later(host.lateness(), () -> comesLate(boot, words, arguments));
        kill("(during) ", words);
      }
    }
    return host.tgtd.run(arguments);
  }

  private void kill(String when, String what) {
    world.count("servers killed at a command to the target");
    host.crash("at " + when + what);
    throw new SimulatedCrash(host.name);
  }

  private void comesLate(int boot, String words, String... arguments) {
    if (host.boot != boot) {
      return; // it has ended with its host
    }
    world.count("commands to the target that came late");
    try {
      host.tgtd.run(arguments);
      world.trace(host.name + ": late: " + words);
    } catch (TargetException e) {
      world.trace(host.name + ": late, and refused: " + words + ": " + e.getMessage());
    }
  }

  /** By chance. */
  static Fate chance(World world) {
    if (!world.chance(Fault.SOURCE_KILLED) || world.random.nextInt(COMMANDS) > 0) {
      return Fate.GOES_ON;
    }
    List<Fate> deaths =
        List.of(
            Fate.KILLED_BEFORE, Fate.KILLED_AFTER, Fate.KILLED_MEANWHILE, Fate.KILLED_MEANWHILE);
    return deaths.get(world.random.nextInt(deaths.size()));
  }

  /** The journal's file is the host's; the server may be killed before and after each record. */
  private final class Journal implements ExportJournal {
    @Override
    public void opened(Export export) throws IOException {
      record("OPEN " + export.iqn(), () -> host.exportJournal.put(export.iqn(), export));
    }

    @Override
    public void closed(String iqn) throws IOException {
      if (host.exportJournal.containsKey(iqn)) {
        record(
            "CLOSED " + iqn,
            () -> {
              if (world.variant != Variant.CLOSED_EXPORT_NOT_JOURNALED) {
                host.exportJournal.remove(iqn);
              }
            });
      }
    }

    private void record(String what, Runnable write) throws IOException {
      if (!world.quiet && world.scheduler.nanoTime() < host.ledgerFailsUntil) {
        throw new IOException("the disk is full");
      }
      dieAt("(before) ", what);
      write.run();
      world.trace(() -> host.name + ": journal of exports: " + what);
      dieAt("(after) ", what);
    }

    private void dieAt(String when, String what) {
      if (world.chance(Fault.SOURCE_KILLED)) {
        kill(when, what);
      }
    }

    @Override
    public List<Export> open() {
      return List.copyOf(host.exportJournal.values());
    }
  }
}
