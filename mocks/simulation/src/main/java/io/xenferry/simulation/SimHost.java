package io.xenferry.simulation;

import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.iscsi.target.Export;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * One host: what survives its server (guests, disks, exports, ledger), what goes wrong there, and
 * the server, which dies and is started anew.
 */
final class SimHost {
  /** What befalls a host or its guest. */
  enum Happening {
    SERVER_STARTS,
    SERVER_DIES,
    POWER_FAILS,
    /** A record could not be written, or nobody knows whether it was. */
    LEDGER_FAILS,
    GUEST_RUNS,
    /** By itself or by a fault, not by a command of ours. */
    GUEST_DIES
  }

  final World world;
  final String name;
  MemoryLedger.Disk ledgerDisk;
  final Map<UUID, Vdi> vdis = new TreeMap<>();

  /** Those of them that began as copies of what was there. */
  final Set<UUID> copies = new HashSet<>();

  final SimTgtd tgtd;

  /** Which exports are open, by the target service's own word, on stable storage. */
  final Map<String, Export> exportJournal = new TreeMap<>();

  /** What becomes of its server at commands to its target. */
  Fates fates;

  /** How long a command takes that outlives its server; a matter of chance unless set. */
  Optional<Duration> lateness = Optional.empty();

  /** Its target outlives its server for sure, else that is a matter of chance. */
  boolean targetStays;

  /** The disks that somebody can reach through the target. */
  private Set<UUID> reachable = Set.of();

  final Map<UUID, VmRecord> vms = new TreeMap<>();
  final Map<UUID, SimGuest> guests = new TreeMap<>();

  /** The files of the durable dirty logs, by migration and disk. */
  final Map<String, MemoryDirtyLog> dirtyLogs = new TreeMap<>();

  /**
   * The progress that was shown of each move and role, by the ledger that it was of: a ledger that
   * is put back knows less.
   */
  final Map<String, Double> progress = new HashMap<>();

  final SimDatabase database;

  final GuestEnds ends;

  int boot;

  /** Does not come back by itself. */
  boolean heldDown;

  /** How long its hypervisor takes to say what the guest is doing. */
  Duration observing = Duration.ZERO;

  /** How often its hypervisor fails to stop a guest, whose memory is then not sent either. */
  int failingPauses;

  /** How long its guests take to shut down when asked; empty for those that do not. */
  Optional<Duration> shutsDownIn = Optional.empty();

  /** How often its guests are asked to shut down before they do; they reboot meanwhile, say. */
  int asksUnheeded;

  /** How long its hypervisor thinks before it asks a guest to shut down. */
  Duration asking = Duration.ZERO;

  /** How long a process that is to receive memory takes to start, unless it is ended. */
  Duration starting = Duration.ZERO;

  /** Of those that start. */
  final Map<UUID, CompletableFuture<Void>> starts = new HashMap<>();

  /** How long its hypervisor takes to end a process. */
  Duration ending = Duration.ZERO;

  /** How long its hypervisor thinks before it stops a guest. */
  Duration stopping = Duration.ZERO;

  /** Moves that may arrive at once; 0 for no limit. */
  int places;

  /** Its SR has no room. */
  boolean full;

  /** Until when its SR has no room, on the scheduler's clock. */
  long fullUntil;

  /** How far its wall clock is ahead of the true time. */
  Duration clockAhead = Duration.ZERO;

  /** Until when whoever connects is shown another certificate, on the scheduler's clock. */
  long strangerUntil;

  /** The newest message that has come, by its kind and migration. */
  private final Map<String, Long> newest = new HashMap<>();

  /** Whether its hypervisor refuses to run guests. */
  boolean refusingToRun;

  /** Until when its ledger cannot be written, on the scheduler's clock. */
  long ledgerFailsUntil;

  /** The newest; it may be dead. */
  private @Nullable SimServer server;

  /** All that there were. */
  private final List<SimServer> servers = new ArrayList<>();

  /** A disk; the tag names the migration that created it, until it is the VM's own. */
  static final class Vdi {
    final SimDisk disk;
    @Nullable MigrationId tag;

    Vdi(SimDisk disk, @Nullable MigrationId tag) {
      this.disk = disk;
      this.tag = tag;
    }
  }

  /** What becomes of a server at each command that it gives to its target, but for looks. */
  @FunctionalInterface
  interface Fates {
    SimExports.Fate of(String words);
  }

  static final class VmRecord {
    final List<UUID> vdis;
    @Nullable MigrationId tag;

    VmRecord(List<UUID> vdis, @Nullable MigrationId tag) {
      this.vdis = List.copyOf(vdis);
      this.tag = tag;
    }

    boolean hidden() {
      return tag != null;
    }
  }

  SimHost(World world, String name) {
    this.world = world;
    this.name = name;
    byte[] secret = new byte[32];
    world.random.nextBytes(secret);
    this.ledgerDisk = new MemoryLedger.Disk(world.uuid(), secret);
    this.ends = new GuestEnds(world, this);
    this.fates = words -> SimExports.chance(world);
    this.tgtd = new SimTgtd(path -> vdis.containsKey(SimExports.disk(path)), this::targetChanged);
    this.database = new SimDatabase(world, this);
  }

  String url() {
    return "http://" + name.toLowerCase(Locale.ROOT) + ":1";
  }

  /** The newest server there was; it may be dead. */
  SimServer server() {
    return Objects.requireNonNull(server, "no server was ever started");
  }

  boolean serverUp() {
    return server != null && server.alive();
  }

  /** Who answers for the host; null while its server is away. */
  @Nullable Coordinator answering() {
    return server != null && server.alive() ? server.coordinator : null;
  }

  /** Who answers clients' calls; null while its server is away, or takes up what was before it. */
  @Nullable SimApi calls() {
    return serverUp() && server().api.ready() ? server().api : null;
  }

  @Nullable Vdi diskOf(UUID vm, int index) {
    VmRecord record = vms.get(vm);
    return record == null || record.vdis.size() <= index ? null : vdis.get(record.vdis.get(index));
  }

  boolean exported(Vdi vdi) {
    return reachable.stream().anyMatch(uuid -> vdis.get(uuid) == vdi);
  }

  /** Whether somebody can write disks through the target. */
  boolean exports() {
    return !reachable.isEmpty();
  }

  /** The disks that somebody can write through the target. */
  Set<UUID> reachable() {
    return reachable;
  }

  private void targetChanged() {
    Set<UUID> now =
        tgtd.reachable().stream().map(SimExports::disk).collect(Collectors.toUnmodifiableSet());
    if (!now.equals(reachable)) {
      reachable = now;
      now.forEach(this::checkUnused);
    }
  }

  private void checkUnused(UUID vdi) {
    boolean used =
        vms.entrySet().stream()
            .filter(vm -> vm.getValue().vdis.contains(vdi))
            .map(vm -> guests.get(vm.getKey()))
            .anyMatch(guest -> guest != null && guest.active);
    world.check(!used, Invariant.ONE_WRITES, name + " exports a disk that its guest has open");
  }

  Duration lateness() {
    return lateness.orElseGet(() -> Duration.ofMillis(world.random.nextInt(5_000)));
  }

  boolean shows(UUID vm) {
    VmRecord record = vms.get(vm);
    return record != null && !record.hidden();
  }

  boolean isFull() {
    return full || (!world.quiet && world.scheduler.nanoTime() < fullUntil);
  }

  boolean showsAnotherCertificate() {
    return !world.quiet && world.scheduler.nanoTime() < strangerUntil;
  }

  /**
   * Whether a message that was sent as the {@code number}th of all was overtaken on its way here.
   */
  boolean overtaken(String stream, long number) {
    return newest.merge(stream, number, Math::max) > number;
  }

  void startServer() {
    world.onHappening.accept(this, Happening.SERVER_STARTS);
    SimServer started = new SimServer(world, this);
    server = started;
    servers.add(started);
    started.start();
  }

  /** Kills the server, perhaps the whole host; it comes back after a while. */
  void crash(String when) {
    crash(when, world.chance(Fault.UNFLUSHED_LOST));
  }

  /** Kills the server or, with the power, the guests and the target too. */
  void crash(String when, boolean power) {
    if (!serverUp()) {
      return;
    }
    world.count(power ? "hosts lost power" : "servers killed");
    world.trace(name + (power ? ": power lost " : ": server killed ") + when);
    for (LedgerRow row : ledgerDisk.unended()) {
      world.met(
          row.role() == Role.SOURCE ? Fault.SOURCE_KILLED : Fault.DESTINATION_KILLED,
          row.migration());
      if (power) {
        world.met(Fault.UNFLUSHED_LOST, row.migration());
      }
    }
    SimServer killed = server();
    killed.process.kill();
    world.scheduler.execute(killed.api::end);
    world.onHappening.accept(this, power ? Happening.POWER_FAILS : Happening.SERVER_DIES);
    mayHaveRun();
    breakStreams();
    if (power) {
      losePower();
    } else if (world.random.nextBoolean() && !targetStays) {
      tgtd.die();
    }
    long millis = 100 + world.random.nextInt(world.random.nextInt(4) == 0 ? 20_000 : 2_000);
    if (!heldDown) {
      world.scheduler.schedule(Duration.ofMillis(millis), this::startServer);
    }
  }

  /**
   * A run was refused and the process ended, but RETURNED is not durable: what is durable says that
   * it may have run, so the VM arrives halted. That is the one loss the specification has.
   */
  void mayHaveRun() {
    for (SimVm each : world.vms) {
      if (!guests.containsKey(each.uuid)
          && ledgerDisk.rows().stream()
              .anyMatch(row -> row.state() == State.STARTING && row.vm().equals(each.uuid))) {
        each.memoryLost = true;
      }
    }
  }

  /** The guests' memory goes through the servers of both sides. */
  private void breakStreams() {
    for (SimGuest guest : guests.values()) {
      guest.receiver = null;
    }
    for (SimGuest guest : world.other(this).guests.values()) {
      guest.receiver = null;
    }
  }

  private void losePower() {
    boot++;
    ends.losePower();
    for (SimVm each : world.vms) {
      SimGuest lost = guests.remove(each.uuid);
      if (lost != null && lost.state != GuestState.INCOMING) {
        each.memoryLost = true;
      }
    }
    tgtd.die();
    vdis.values().forEach(vdi -> vdi.disk.losePower(world.random));
  }

  void inspectCopies() {
    for (Vdi vdi : vdis.values()) {
      for (SimSource copy : vdi.disk.copies) {
        copy.inspect();
      }
    }
  }

  /** What a clean host does not have. */
  List<String> leftovers() {
    List<String> left = new ArrayList<>();
    tgtd.whole().forEach(export -> left.add("export " + export));
    tgtd.half().forEach(target -> left.add("half-made target " + target));
    tgtd.accounts().forEach(account -> left.add("account " + account));
    exportJournal.keySet().forEach(export -> left.add("export, by its journal, " + export));
    vms.forEach((vm, record) -> {
      if (record.hidden()) {
        left.add("hidden VM " + vm);
      }
    });
    vdis.forEach((uuid, vdi) -> {
      if (vms.values().stream().noneMatch(record -> record.vdis.contains(uuid))
          && !isForAnOperator(vdi.tag)) {
        left.add("VDI " + uuid);
      }
      if (!vdi.disk.trackers.isEmpty()) {
        left.add("dirty bitmap on " + uuid);
      }
      if (!vdi.disk.mirrors.isEmpty()) {
        left.add("mirror of " + uuid);
      }
    });
    dirtyLogs.keySet().forEach(log -> left.add("dirty log " + log));
    guests.forEach((vm, guest) -> {
      if (!shows(vm)) {
        left.add("guest process");
      }
    });
    ledgerDisk.journal().forEach(entry -> left.add("journal " + entry.kind() + " " + entry.name()));
    return left;
  }

  /** With a ledger that was lost or put back nothing is removed of a migration without a row. */
  private boolean isForAnOperator(@Nullable MigrationId tag) {
    return tag != null
        && world.operated
        && !server().ledger.whole()
        && ledgerDisk.find(tag, Role.DESTINATION).isEmpty();
  }

  boolean allEnded() {
    return ledgerDisk.allEnded();
  }

  /** The world is over: nobody waits on in it. */
  void end() {
    for (SimServer each : servers) {
      each.process.kill();
      each.api.end();
    }
  }
}
