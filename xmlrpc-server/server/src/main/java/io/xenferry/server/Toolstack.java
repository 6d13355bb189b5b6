package io.xenferry.server;

import io.xenferry.copy.CopyEngine;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.target.ExportJournal;
import io.xenferry.iscsi.target.FileExportJournal;
import io.xenferry.iscsi.target.TargetService;
import io.xenferry.iscsi.tgt.TgtTargetService;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.SqliteLedger;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.server.call.Registry;
import io.xenferry.server.call.ServerContext;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.config.ToolstackConfig;
import io.xenferry.server.console.ConsoleRecords;
import io.xenferry.server.console.ConsoleService;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.http.Router;
import io.xenferry.server.messages.AllowedOperations;
import io.xenferry.server.messages.VmAlerts;
import io.xenferry.server.metrics.Metrics;
import io.xenferry.server.migration.Decorators;
import io.xenferry.server.migration.MigrationService;
import io.xenferry.server.plugin.HostPlugins;
import io.xenferry.server.plugin.PluginMessages;
import io.xenferry.server.schedule.ScheduleMessages;
import io.xenferry.server.schedule.SnapshotSchedules;
import io.xenferry.server.storage.DatapathMessages;
import io.xenferry.server.storage.DiskCopies;
import io.xenferry.server.storage.DiskMoves;
import io.xenferry.server.storage.HostStorage;
import io.xenferry.server.storage.LayeredDisks;
import io.xenferry.server.storage.LiveMerging;
import io.xenferry.server.storage.StorageMessages;
import io.xenferry.server.storage.StorageRoutes;
import io.xenferry.server.storage.VdiSettingMessages;
import io.xenferry.server.vm.AgentRecords;
import io.xenferry.server.vm.AgentWatch;
import io.xenferry.server.vm.ApplianceMessages;
import io.xenferry.server.vm.Appliances;
import io.xenferry.server.vm.BootFiles;
import io.xenferry.server.vm.DeviceGuard;
import io.xenferry.server.vm.DeviceMessages;
import io.xenferry.server.vm.FirmwareMessages;
import io.xenferry.server.vm.GuestClock;
import io.xenferry.server.vm.GuestLeavings;
import io.xenferry.server.vm.GuestMemory;
import io.xenferry.server.vm.InterruptedOperations;
import io.xenferry.server.vm.SnapshotDisks;
import io.xenferry.server.vm.TuningMessages;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.server.vm.VmCheckpoint;
import io.xenferry.server.vm.VmCloneMessages;
import io.xenferry.server.vm.VmDevices;
import io.xenferry.server.vm.VmLifecycle;
import io.xenferry.server.vm.VmLifecycleMessages;
import io.xenferry.server.vm.VmSnapshotMessages;
import io.xenferry.server.vm.VmSuspend;
import io.xenferry.server.vm.VmTuning;
import io.xenferry.server.vm.VtpmMessages;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorProvider;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.ZoneId;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.ServiceLoader;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.Predicate;

/**
 * What makes this server more than a database: the ledger with its gate, storage, VMs, migrations;
 * put together in one place, in the order of dependence.
 *
 * <pre>
 *  Ledger ── Gate ──┬── HostStorage (SR drivers, exports)
 *                   ├── VmLifecycle (hypervisor)
 *                   └── MigrationService (coordinator and its ports)
 * </pre>
 */
final class Toolstack implements AutoCloseable {
  /** Where distributions install it. */
  private static final List<Path> TGTD =
      List.of(Path.of("/usr/sbin/tgtd"), Path.of("/usr/bin/tgtd"), Path.of("/sbin/tgtd"));

  /** Where distributions install OVMF. */
  private static final List<Path> FIRMWARE =
      List.of(Path.of("/usr/share/OVMF"), Path.of("/usr/share/edk2/x64"));

  private static final int HTTPS = 443;

  private static final Path BOOT_ID = Path.of("/proc/sys/kernel/random/boot_id");

  private final Ledger ledger;
  private final TargetService targets;
  private final Hypervisor hypervisor;
  private final HostStorage storage;
  private final StorageRoutes storageRoutes;
  private final VmLifecycle lifecycle;
  private final VmDevices devices;
  private final ConsoleService consoles;
  private final AgentWatch agents;
  private final Metrics metrics;
  private final MigrationService migrations;
  private final DiskMoves moves;
  private final LiveMerging merging;
  private final InterruptedOperations interrupted;
  private final GuestLeavings leavings;
  private final HostPlugins plugins;
  private final SnapshotSchedules schedules;

  /**
   * @param port of this server's TLS listener
   * @param decorators of what migrations use, the ledger that everything here uses among it
   */
  Toolstack(
      ServerConfig config,
      ServerContext context,
      Registry registry,
      AllowedOperations allowed,
      Certificate certificate,
      int port,
      Decorators decorators)
      throws IOException, XenApiException {
    ObjectDatabase database = context.db();
    Path state = config.stateDirectory();
    ToolstackConfig toolstack = config.toolstack();
    HypervisorProvider guestsOn = hypervisor(toolstack.hypervisor());
    Row hostRow = database.snapshot().rows("host").iterator().next();
    Ref<Host> host = new Ref<>(hostRow.ref());
    String hostUuid = database.snapshot().get(host, Host.UUID);
    Deque<AutoCloseable> begun = new ArrayDeque<>();
    try {
      ledger =
          decorators
              .ledger()
              .apply(
                  SqliteLedger.open(
                      state.resolve("ledger.db"),
                      state.resolve("ledger.marker"),
                      hostUuid,
                      new SecureRandomness(),
                      Instant::now));
      begun.push(ledger);
      String boot = Files.readString(BOOT_ID).strip();
      Gate gate = new Gate(ledger, boot);
      InetAddress address = InetAddress.getByName(config.listen().address());
      targets = targets(toolstack.targets(), state, address);
      begun.push(targets);
      hypervisor = guestsOn.open(state.resolve("guests"), toolstack.guestUser());
      begun.push(hypervisor);
      storage =
          new HostStorage(
              database,
              targets,
              new HostStorage.Nbds(
                  address, toolstack.nbdsPort(), state.resolve("nbds"), certificate),
              gate,
              host,
              state.resolve("datapaths.json"));
      begun.push(storage);
      storageRoutes =
          new StorageRoutes(storage, context.sessions(), config.limits(), context.audit());
      Predicate<UUID> moving = vm -> ledger.unended(vm).stream().anyMatch(row -> !settledHere(row));
      VmAdmission admission = new VmAdmission(database, allowed::refresh);
      lifecycle =
          new VmLifecycle(
              database,
              hypervisor,
              gate,
              storage,
              admission,
              bootFiles(toolstack, state),
              host,
              moving);
      merging = new LiveMerging(database, storage, hypervisor, gate, context.tasks(), moving);
      begun.push(merging);
      admission.keepStill(merging);
      devices = new VmDevices(database, hypervisor, storage, merging, allowed::refresh);
      lifecycle.watch().alsoFor(devices::watch);
      lifecycle.watch().alsoFor(new GuestClock(database)::follow);
      String authority = config.listen().address() + (port == HTTPS ? "" : ":" + port);
      ConsoleRecords consoleRecords = new ConsoleRecords(database, "https://" + authority);
      lifecycle.watch().alsoFor(consoleRecords::appear);
      agents =
          new AgentWatch(new AgentRecords(database, context.clock()), AgentWatch.Pace.defaults());
      begun.push(agents);
      lifecycle.watch().alsoFor(agents::follow);
      metrics = new Metrics(context, hypervisor, state.resolve("rrd"), host, storage::noteUse);
      begun.push(metrics);
      consoles =
          new ConsoleService(consoleRecords, hypervisor, context.sessions(), context.audit());
      begun.push(consoles);
      leavings = new GuestLeavings(database, hypervisor);
      begun.push(leavings);
      CopyEngine engine = new CopyEngine(CopyEngine.DEFAULT_REQUEST_SIZE, toolstack.copyMemory());
      moves =
          new DiskMoves(
              database, storage, hypervisor, admission, gate, engine, state.resolve("moves"));
      DiskCopies copies = new DiskCopies(database, storage);
      SnapshotDisks snapshots =
          new SnapshotDisks(
              database, hypervisor, copies, new LayeredDisks(database, storage), merging);
      migrations =
          new MigrationService(
              new MigrationService.Parts(
                  database,
                  ledger,
                  gate,
                  hypervisor,
                  storage,
                  lifecycle,
                  devices,
                  admission,
                  context.sessions(),
                  context.tasks(),
                  context.audit(),
                  engine,
                  moves,
                  snapshots,
                  context.alerts()),
              toolstack.downtime(),
              toolstack.resumeWindow(),
              toolstack.iscsi(),
              state.resolve("dirty"),
              boot,
              host,
              hostUuid,
              config.listen().address(),
              port,
              certificate,
              decorators);
      begun.push(migrations);
      migrations
          .coordinator()
          .listen(status -> {
            if (status.ended()) {
              merging.wake();
            }
          });
      plugins = new HostPlugins(config.plugins());
      begun.push(plugins);
      new PluginMessages(plugins).register(registry);
      new StorageMessages(storage, copies, moves).register(registry);
      new VdiSettingMessages(storage).register(registry);
      new DatapathMessages(storage).register(registry);
      GuestMemory memory = new GuestMemory(database, copies, host);
      VmSuspend suspend =
          new VmSuspend(database, hypervisor, gate, storage, copies, admission, lifecycle, memory);
      VmLifecycleMessages power =
          new VmLifecycleMessages(database, lifecycle, suspend, gate, admission);
      power.register(registry);
      new ApplianceMessages(new Appliances(database, lifecycle, power)).register(registry);
      new DeviceMessages(devices).register(registry);
      new FirmwareMessages(lifecycle, admission, gate).register(registry);
      new VtpmMessages(lifecycle, admission, gate).register(registry);
      new TuningMessages(new VmTuning(database, hypervisor, gate, admission)).register(registry);
      new VmCloneMessages(copies, admission).register(registry);
      VmCheckpoint checkpoints = new VmCheckpoint(database, hypervisor, snapshots, memory, suspend);
      interrupted =
          new InterruptedOperations(
              database,
              hypervisor,
              gate,
              admission,
              suspend,
              lifecycle,
              context.tasks(),
              moving,
              vm -> ledger.unended(vm).stream().anyMatch(row -> !settledHere(row) && !row.letGo()));
      VmSnapshotMessages taking =
          new VmSnapshotMessages(
              database, copies, snapshots, checkpoints, suspend, lifecycle, admission, gate);
      taking.register(registry);
      schedules =
          new SnapshotSchedules(
              database,
              context.tasks(),
              context.alerts(),
              context.clock(),
              ZoneId.systemDefault(),
              taking::takeScheduled,
              (snapshot, task) -> power.destroyWithDisks(snapshot, copies, task.ref()));
      begun.push(schedules);
      new ScheduleMessages(schedules).register(registry);
      migrations.register(registry);
      metrics.register(registry);
      new DeviceGuard(gate).register(registry);
      moves.guard(registry);
      VmAlerts alerts = new VmAlerts(database, context.alerts());
      alerts.register(registry);
      lifecycle.watch().onCrash(alerts::crashed);
    } catch (IOException | XenApiException | RuntimeException | Error e) {
      endAll(begun, e);
      throw e;
    }
  }

  /** Ends what had begun, the last first: tgtd outlives this process unless it is told. */
  private static void endAll(Deque<AutoCloseable> begun, Throwable failure) {
    for (AutoCloseable part : begun) {
      try {
        part.close();
      } catch (Exception e) {
        failure.addSuppressed(e);
      }
    }
  }

  /** Whether the guest is this host's for good: the other host is only still to be told. */
  private static boolean settledHere(LedgerRow row) {
    return row.cleaned() && (row.state() == State.OWNED || row.state() == State.RUNNING);
  }

  private static TargetService targets(
      ToolstackConfig.Targets wanted, Path state, InetAddress address) throws IOException {
    ExportJournal journal = new FileExportJournal(state.resolve("exports"));
    boolean tgtd =
        switch (wanted) {
          case TGTD -> true;
          case EMBEDDED -> false;
          case AUTO -> TGTD.stream().anyMatch(Files::isExecutable);
        };
    if (tgtd) {
      return new TgtTargetService(
          TgtTargetService.Settings.own(state.resolve("tgtd"), address), journal);
    }
    return new EmbeddedTargetService(
        EmbeddedTargetService.Settings.at(state.resolve("targets"), address), journal);
  }

  private static BootFiles bootFiles(ToolstackConfig toolstack, Path state) {
    List<Path> kernels = new ArrayList<>(List.of(state.resolve("boot")));
    kernels.addAll(toolstack.bootDirectories());
    return new BootFiles(kernels, FIRMWARE, state.resolve("firmware"), state.resolve("tpm"));
  }

  /** What guests can run on, by name. */
  static SortedMap<String, HypervisorProvider> hypervisors() {
    SortedMap<String, HypervisorProvider> found = new TreeMap<>();
    ServiceLoader.load(HypervisorProvider.class).forEach(p -> found.put(p.name(), p));
    return found;
  }

  private static HypervisorProvider hypervisor(String name) throws IOException {
    HypervisorProvider provider = hypervisors().get(name);
    if (provider == null) {
      throw new IOException("there is no hypervisor " + name + " on the class path");
    }
    return provider;
  }

  /** Adds the routes of storage, of figures, and those of migrations: the peers' and the users'. */
  void mount(Router router) {
    storageRoutes.mount(router);
    migrations.mount(router);
    metrics.mount(router);
  }

  /** Whom CONNECT requests are for. */
  ConsoleService consoles() {
    return consoles;
  }

  MigrationService migrations() {
    return migrations;
  }

  HostStorage storage() {
    return storage;
  }

  /** Takes up what a server before this one has left: storage, guests, migrations. */
  void recover() throws IOException, XenApiException, InterruptedException {
    storage.attachAll();
    merging.recover();
    moves.recover();
    storage.takeUpExports(ledger.openExports());
    devices.forgetOperations();
    interrupted.recover();
    lifecycle.reconcile();
    migrations.recover();
    leavings.recover();
    metrics.start();
    merging.start();
    schedules.start();
  }

  @Override
  public void close() {
    schedules.close();
    plugins.close();
    merging.close();
    leavings.close();
    agents.close();
    consoles.close();
    metrics.close();
    try {
      migrations.close();
    } finally {
      try {
        hypervisor.close();
      } finally {
        try {
          targets.close();
        } finally {
          storage.close();
          ledger.close();
        }
      }
    }
  }
}
