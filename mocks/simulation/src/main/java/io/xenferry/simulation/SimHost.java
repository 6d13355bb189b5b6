package io.xenferry.simulation;

import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.flow.SourceMigration;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Randomness;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.time.Scheduler;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** One host: what survives its server (guests, disks, exports, ledger), and the server. */
final class SimHost {
  static final Deadlines DEADLINES =
      new Deadlines(
          Duration.ofSeconds(2),
          Duration.ofSeconds(15),
          Duration.ofSeconds(20),
          Duration.ofSeconds(10),
          Duration.ofSeconds(6),
          Duration.ofSeconds(3),
          Duration.ofSeconds(1),
          Duration.ofSeconds(2),
          Duration.ofSeconds(8),
          Duration.ofMillis(50),
          Duration.ofSeconds(2),
          Duration.ofHours(2),
          Duration.ofSeconds(1));

  /** Counted when its first record is durable. */
  static final String BEGUN = "migrations";

  /** Counted, with the role, when a server goes on with a copy that one before it had begun. */
  static final String GONE_ON = "copies taken up by the ";

  /** How soon the product notices that a ledger works again, at the latest. */
  private static final Duration LEDGER_NOTICED = DEADLINES.retryMost().multipliedBy(2);

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

  final Map<String, Export> exports = new TreeMap<>();
  final TreeSet<String> accounts = new TreeSet<>();
  final Map<UUID, VmRecord> vms = new TreeMap<>();
  final Map<UUID, SimGuest> guests = new TreeMap<>();

  /** The files of the durable dirty logs, by migration and disk. */
  final Map<String, MemoryDirtyLog> dirtyLogs = new TreeMap<>();

  int boot;

  /** Does not come back by itself. */
  boolean heldDown;

  /** Who waits for the end of the guest. */
  private List<CompletableFuture<GuestState>> watchers = new ArrayList<>();

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

  SimulatedScheduler.@Nullable Process process;
  @Nullable Coordinator coordinator;
  @Nullable Gate gate;
  @Nullable Ledger ledger;
  private Map<String, Double> progress = new HashMap<>();

  /** Moves in the middle of which a server of this host was started, until that goes on with it. */
  private Set<String> interrupted = new HashSet<>();

  /** A disk; the tag names the migration that created it, until it is the VM's own. */
  static final class Vdi {
    final SimDisk disk;
    @Nullable MigrationId tag;

    Vdi(SimDisk disk, @Nullable MigrationId tag) {
      this.disk = disk;
      this.tag = tag;
    }
  }

  static final class Export {
    final UUID vdi;

    Export(UUID vdi) {
      this.vdi = vdi;
    }
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
  }

  String url() {
    return "http://" + name.toLowerCase(java.util.Locale.ROOT) + ":1";
  }

  boolean serverUp() {
    return process != null && process.alive();
  }

  @Nullable Vdi diskOf(UUID vm, int index) {
    VmRecord record = vms.get(vm);
    return record == null || record.vdis.size() <= index ? null : vdis.get(record.vdis.get(index));
  }

  boolean exported(Vdi vdi) {
    return exports.values().stream().anyMatch(export -> vdis.get(export.vdi) == vdi);
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
    SimulatedScheduler.Process fresh = world.scheduler.process(name);
    process = fresh;
    Scheduler clock = new HostClock(fresh);
    progress = new HashMap<>();
    interrupted = new HashSet<>();
    ledgerDisk.unended().forEach(row -> interrupted.add(row.migration() + " " + row.state()));
    Ledger opened =
        new MemoryLedger(
            ledgerDisk, clock::now, (what, durable) -> probe(fresh, what, durable), lazy());
    opened = new BrokenLedger(opened, world.variant);
    ledger = opened;
    Gate fleshGate = new Gate(opened, name + boot);
    gate = fleshGate;
    Coordinator started =
        new Coordinator(
            clock,
            opened,
            fleshGate,
            new SeededRandomness(),
            DEADLINES,
            new SimSourcePorts(world, this, fresh),
            new SimDestinationPorts(world, this, fresh),
            new SimNetwork(world, this),
            name,
            new PeerAddress(url(), ""),
            name + boot);
    coordinator = started;
    started.listen(this::changed);
    world.trace(name + ": server starts");
    started.recover();
    fresh.schedule(Duration.ofMillis(700), () -> watchdog(fresh));
  }

  private Predicate<LedgerRow> lazy() {
    return switch (world.variant) {
      case NO_STARTING_RECORD -> row -> row.state() == State.STARTING;
      case COMMIT_BEFORE_COMMITTING_IS_DURABLE -> row -> row.state() == State.COMMITTING;
      default -> row -> false;
    };
  }

  /** Either side may be killed just before and just after each record. */
  private void probe(SimulatedScheduler.Process mine, String what, boolean durable) {
    if (!mine.alive()) {
      throw new SimulatedCrash(name);
    }
    if (!durable) {
      failLedger(what);
    }
    if (durable) {
      world.trace(() -> name + ": durable: " + what);
      if (what.equals("insert SENDING")) {
        world.count(BEGUN);
      }
      world.onDurable.accept(this, what);
      switch (what) {
        case "COMMITTING" -> world.inspectCommit(world.other(this));
        case "COMMITTED" -> world.inspectCommit(this);
        default -> {}
      }
      Aim aim = world.aim;
      if (aim != null) {
        aim.durable(this, what);
      }
      if (!mine.alive()) {
        throw new SimulatedCrash(name);
      }
    }
    if (world.chance(Fault.SOURCE_KILLED)) {
      crash("at " + (durable ? "(after) " : "(before) ") + what);
      throw new SimulatedCrash(name);
    }
    if (durable && world.chance(Fault.LEDGER_FAILS)) {
      world.count("ledger records in doubt");
      world.met(Fault.LEDGER_FAILS, this);
      ledgerFailsUntil = Math.max(ledgerFailsUntil, world.scheduler.nanoTime());
      world.trace(name + ": fails, although durable: " + what);
      world.onHappening.accept(this, Happening.LEDGER_FAILS);
      throw new LedgerException("the disk does not answer");
    }
  }

  private void failLedger(String what) {
    if (world.chance(Fault.LEDGER_FAILS)) {
      world.count("ledgers unwritable");
      ledgerFailsUntil =
          world.scheduler.nanoTime()
              + Duration.ofMillis(100 + world.random.nextInt(12_000)).toNanos();
    }
    if (!world.quiet && world.scheduler.nanoTime() < ledgerFailsUntil) {
      world.trace(name + ": cannot be written: " + what);
      world.onHappening.accept(this, Happening.LEDGER_FAILS);
      world.met(Fault.LEDGER_FAILS, this);
      throw new LedgerException("the disk is full");
    }
  }

  /** Kills the server, perhaps the whole host; it comes back after a while. */
  void crash(String when) {
    crash(when, world.chance(Fault.UNFLUSHED_LOST));
  }

  /** Kills the server or, with the power, the guests and the target too. */
  void crash(String when, boolean power) {
    SimulatedScheduler.Process mine = process;
    if (mine == null || !mine.alive()) {
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
    mine.kill();
    world.onHappening.accept(this, power ? Happening.POWER_FAILS : Happening.SERVER_DIES);
    mayHaveRun();
    breakStreams();
    if (power) {
      losePower();
    } else if (world.random.nextBoolean()) {
      exports.clear(); // the target is the server's own
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

  CompletableFuture<GuestState> guestEnd(UUID vm) {
    CompletableFuture<GuestState> end = new CompletableFuture<>();
    SimGuest guest = guests.get(vm);
    if (!vm.equals(world.vm)) {
      return end; // only the first VM's guest ends by itself
    }
    if (guest == null || guest.state.ended()) {
      tellEnd(List.of(end), guest == null ? GuestState.GONE : guest.state);
    } else {
      watchers.add(end);
    }
    return end;
  }

  /**
   * A guest that was asked to shut down for its move does so, if it still runs. After the move it
   * is as any other guest that ends; while that is being taken back it may be booted again or not.
   */
  void guestHeeds(UUID vm, SimGuest guest) {
    if (guests.get(vm) == guest && guest.state == GuestState.RUNNING) {
      boolean byItsMove = toldToStop(vm);
      world.first.memoryLost |= !byItsMove;
      if (!byItsMove
          && ledgerDisk.unended().stream()
              .noneMatch(row -> row.vm().equals(vm) && SourceMigration.bootsAgain(row))) {
        guestEnds(GuestState.SHUTDOWN);
        return;
      }
      world.trace(name + ": the guest shuts down");
      guest.state = GuestState.SHUTDOWN;
      List<CompletableFuture<GuestState>> told = watchers;
      watchers = new ArrayList<>();
      tellEnd(told, GuestState.SHUTDOWN);
    }
  }

  /** Whether a move has durably said that it tells the VM's guest to shut down. */
  boolean toldToStop(UUID vm) {
    return ledgerDisk.unended().stream()
        .anyMatch(row ->
            row.vm().equals(vm)
                && row.role() == Role.SOURCE
                && row.state() == State.SENDING
                && row.steering().contains("\"stopping\""));
  }

  /** The guest shuts down by itself, or its process dies: no command of ours. */
  void guestEnds(GuestState how) {
    SimGuest guest = java.util.Objects.requireNonNull(guests.get(world.vm));
    world.trace(name + ": the guest, " + guest.state + ", ends by itself: " + how);
    world.onHappening.accept(this, Happening.GUEST_DIES);
    if (how == GuestState.SHUTDOWN) {
      guest.state = how;
    } else {
      guests.remove(world.vm);
    }
    List<CompletableFuture<GuestState>> told = watchers;
    watchers = new ArrayList<>();
    tellEnd(told, how);
    expectMoveToEnd();
  }

  private void tellEnd(List<CompletableFuture<GuestState>> told, GuestState how) {
    world.scheduler.schedule(
        world.latency(10), () -> told.forEach(watcher -> watcher.complete(how)));
  }

  /**
   * A move of a running guest from here ends soon after it, if the server lives and its ledger
   * works.
   */
  private void expectMoveToEnd() {
    SimulatedScheduler.Process mine = process;
    List<MigrationId> moves = new ArrayList<>();
    ledgerDisk.rows().stream()
        .filter(SimHost::undecided)
        .filter(row -> StrictJson.read(row.plan(), Plan.class).running())
        .forEach(row -> moves.add(row.migration()));
    checkEnded(mine, moves);
  }

  private void checkEnded(SimulatedScheduler.@Nullable Process mine, List<MigrationId> moves) {
    world.scheduler.schedule(
        Duration.ofSeconds(1),
        () -> {
          if (world.scheduler.nanoTime() < ledgerFailsUntil + LEDGER_NOTICED.toNanos()) {
            checkEnded(mine, moves);
            return;
          }
          world.check(
              mine == null
                  || !mine.alive()
                  || ledgerDisk.rows().stream()
                      .noneMatch(row -> moves.contains(row.migration()) && undecided(row)),
              Invariant.ENDS_WITH_ITS_GUEST,
              name);
        });
  }

  private static boolean undecided(LedgerRow row) {
    return row.state() == State.SENDING || row.state() == State.SWITCHING;
  }

  /** What records of VMs follow: a guest that has shut down is ended, once it is surely ours. */
  private void reap() {
    SimGuest guest = guests.get(world.vm);
    if (guest != null
        && guest.state == GuestState.SHUTDOWN
        && ledgerDisk.rows().stream()
            .allMatch(row ->
                row.ended() || (row.state() == State.OWNED && !SourceMigration.bootsAgain(row)))) {
      guests.remove(world.vm);
      world.trace(name + ": the guest that has shut down is ended");
    }
  }

  private void losePower() {
    boot++;
    watchers.clear();
    for (SimVm each : world.vms) {
      SimGuest lost = guests.remove(each.uuid);
      if (lost != null && lost.state != GuestState.INCOMING) {
        each.memoryLost = true;
      }
    }
    exports.clear();
    accounts.clear();
    vdis.values().forEach(vdi -> vdi.disk.losePower(world.random));
  }

  /** Makes anew what the journal says is OPEN and the target has lost. */
  private void watchdog(SimulatedScheduler.Process mine) {
    Ledger reading = ledger;
    if (reading != null && !reading.restored()) {
      for (JournalEntry entry : reading.journal()) {
        UUID vdi =
            entry.kind() == JournalEntry.Kind.EXPORT ? UUID.fromString(entry.detail()) : null;
        if (vdi != null
            && entry.standing() == JournalEntry.Standing.OPEN
            && vdis.containsKey(vdi)
            && !exports.containsKey(entry.name())) {
          world.count("exports made anew");
          openExport(entry.name(), vdi);
        }
      }
      sweep(reading);
      reap();
    }
    mine.schedule(Duration.ofMillis(700), () -> watchdog(mine));
  }

  /**
   * Intent goes before effect, so what is tagged as ours, not in the journal, and of no unended
   * row, is an orphan: an effect that a killed server had begun, and that came about after its
   * successor's clean-up. A ledger that was replaced does not know of every row there was.
   */
  private void sweep(Ledger reading) {
    List<JournalEntry> journal = reading.journal();
    Set<String> known = new HashSet<>();
    journal.forEach(entry -> known.add(entry.kind() + " " + entry.name()));
    int before = exports.size() + accounts.size() + vms.size() + vdis.size() + guests.size();
    exports.keySet().removeIf(name -> !known(known, JournalEntry.Kind.EXPORT, name));
    accounts.removeIf(name -> !known(known, JournalEntry.Kind.ACCOUNT, name));
    vms.entrySet()
        .removeIf(vm ->
            over(reading, vm.getValue().tag)
                && !known(known, JournalEntry.Kind.VM, vm.getKey().toString()));
    vdis.entrySet()
        .removeIf(vdi ->
            over(reading, vdi.getValue().tag)
                && !known(known, JournalEntry.Kind.VDI, vdi.getKey().toString()));
    guests
        .entrySet()
        .removeIf(guest ->
            (guest.getValue().state == GuestState.INCOMING
                    || guest.getValue().fresh && !vms.containsKey(guest.getKey()))
                && reading.unended(guest.getKey()).isEmpty()
                && !known(known, JournalEntry.Kind.GUEST, guest.getKey().toString()));
    if (exports.size() + accounts.size() + vms.size() + vdis.size() + guests.size() < before) {
      world.count("orphans removed");
      world.trace(name + ": orphans are removed");
      world.checkCompleteCopy(name + " removed orphans");
    }
  }

  private static boolean over(Ledger reading, @Nullable MigrationId tag) {
    return tag != null
        && reading.find(tag, Role.DESTINATION).map(LedgerRow::ended).orElse(reading.whole());
  }

  private static boolean known(Set<String> known, JournalEntry.Kind kind, String object) {
    return known.contains(kind + " " + object);
  }

  void inspectCopies() {
    for (Vdi vdi : vdis.values()) {
      for (SimSource copy : vdi.disk.copies) {
        copy.inspect();
      }
    }
  }

  void openExport(String export, UUID vdi) {
    boolean open =
        vms.entrySet().stream()
            .filter(vm -> vm.getValue().vdis.contains(vdi))
            .map(vm -> guests.get(vm.getKey()))
            .anyMatch(guest -> guest != null && guest.active);
    world.check(!open, Invariant.ONE_WRITES, name + " exports a disk that its guest has open");
    exports.put(export, new Export(vdi));
  }

  private void changed(MigrationStatus status) {
    String key = status.migration() + " " + status.role();
    double before = progress.getOrDefault(key, 0.0);
    world.check(status.progress() >= before, Invariant.PROGRESS, key);
    progress.put(key, status.progress());
    boolean goesOn =
        switch (status.state()) {
          case RECEIVING -> status.phase().equals("receiving");
          case SENDING -> status.phase().equals("copying the disks");
          default -> false;
        };
    if (goesOn && interrupted.remove(status.migration() + " " + status.state())) {
      world.count(GONE_ON + status.role());
    }
  }

  /** What a clean host does not have. */
  List<String> leftovers() {
    List<String> left = new ArrayList<>();
    exports.keySet().forEach(export -> left.add("export " + export));
    accounts.forEach(account -> left.add("account " + account));
    vms.forEach((vm, record) -> {
      if (record.hidden()) {
        left.add("hidden VM " + vm);
      }
    });
    vdis.forEach((uuid, vdi) -> {
      if (vms.values().stream().noneMatch(record -> record.vdis.contains(uuid))) {
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

  boolean allEnded() {
    return ledgerDisk.allEnded();
  }

  /** What the server lives on, with the host's wall clock. */
  private final class HostClock implements Scheduler {
    private final SimulatedScheduler.Process server;

    HostClock(SimulatedScheduler.Process server) {
      this.server = server;
    }

    @Override
    public long nanoTime() {
      return server.nanoTime();
    }

    @Override
    public Instant now() {
      return server.now().plus(clockAhead);
    }

    @Override
    public void execute(Runnable task) {
      server.execute(task);
    }

    @Override
    public Cancellable schedule(Duration delay, Runnable task) {
      return server.schedule(delay, task);
    }
  }

  private final class SeededRandomness implements Randomness {
    @Override
    public UUID uuid() {
      return world.uuid();
    }

    @Override
    public byte[] bytes(int count) {
      byte[] bytes = new byte[count];
      world.random.nextBytes(bytes);
      return bytes;
    }

    @Override
    public double fraction() {
      return world.random.nextDouble();
    }
  }
}
