package io.xenferry.server.migration;

import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyOptions;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.peer.HttpPeerTransport;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Places;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.call.Registry;
import io.xenferry.server.config.IscsiConfig;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.http.Router;
import io.xenferry.server.session.Sessions;
import io.xenferry.server.storage.DiskMoves;
import io.xenferry.server.storage.HostStorage;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.task.Tasks;
import io.xenferry.server.vm.SnapshotDisks;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.server.vm.VmDevices;
import io.xenferry.server.vm.VmLifecycle;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import io.xenferry.time.RealScheduler;
import io.xenferry.time.Threads;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The coordinator of this host with its ports, and what clients and peers reach it by. */
public final class MigrationService implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(MigrationService.class);

  /**
   * Late effects of a killed server take seconds to minutes, and nothing else makes orphans; VMs
   * are kept for hours.
   */
  private static final Duration SWEEP = Duration.ofMinutes(10);

  private final RealScheduler scheduler = new RealScheduler("coordinator");
  private final HttpPeerTransport peers = new HttpPeerTransport();
  private final Ledger ledger;
  private final Gate gate;
  private final Coordinator coordinator;
  private final MoveCalls calls;
  private final PoolMoves poolMoves;
  private final Orphans orphans;
  private final KeptVms kept;
  private final MigrationDisks disks;
  private final EjectedCds cds;
  private final PeerRoutes peerRoutes;
  private final MigrationRoutes routes;
  private final SourceCopies copies;
  private final DryRuns dryRuns;
  private final Sessions sessions;

  /** What it stands on. */
  public record Parts(
      ObjectDatabase database,
      Ledger ledger,
      Gate gate,
      Hypervisor hypervisor,
      HostStorage storage,
      VmLifecycle lifecycle,
      VmDevices devices,
      VmAdmission admission,
      Sessions sessions,
      Tasks tasks,
      Audit audit,
      CopyEngine engine,
      DiskMoves moves,
      SnapshotDisks snapshots,
      Alerts alerts) {}

  /**
   * @param resumeWindow how long the other server may be away before the commit
   * @param iscsi how the destination's disks are reached over iSCSI
   * @param dirtyLogs directory of the durable dirty logs
   * @param boot names this boot of the host
   * @param address and port: how peers reach this server unless a token says otherwise
   * @param certificate of this server, for peers and for the destination's disks
   * @param decorators of ports, transport and deadlines; that of the ledger has been applied
   */
  public MigrationService(
      Parts parts,
      Duration downtime,
      Duration resumeWindow,
      IscsiConfig iscsi,
      Path dirtyLogs,
      String boot,
      Ref<Host> host,
      String hostUuid,
      String address,
      int port,
      Certificate certificate,
      Decorators decorators) {
    this.ledger = parts.ledger();
    this.gate = parts.gate();
    disks = parts.storage().migrationDisks();
    orphans = new Orphans(ledger, parts.database(), disks, parts.hypervisor(), parts.alerts());
    kept = new KeptVms(parts.database(), disks, parts.lifecycle(), parts.gate());
    SourceCopies copies =
        new SourceCopies(
            parts.engine(),
            parts.hypervisor(),
            disks,
            parts.snapshots()::takeFor,
            dirtyLogs,
            // The coordinator has the last word of a destination that is away.
            CopyOptions.DEFAULT
                .withDowntimeBudget(downtime)
                .withResumeWindow(resumeWindow.multipliedBy(2)),
            DiskCarriers.of(options(iscsi), certificate));
    SourceGuests guests =
        new SourceGuests(
            parts.hypervisor(), downtime, new MemoryStreams(), parts.lifecycle()::bootAgain);
    SourceObjects objects =
        new SourceObjects(parts.database(), parts.storage(), disks, parts.lifecycle());
    Predicate<MigrationId> receiving =
        id ->
            ledger
                .find(id, Role.DESTINATION)
                .filter(row -> row.state() == State.RECEIVING)
                .isPresent();
    DestinationStorage storage =
        new DestinationStorage(
            disks,
            parts.hypervisor()::opens,
            id ->
                ledger
                    .find(id, Role.DESTINATION)
                    .map(row ->
                        new DestinationStorage.Arriving(
                            StrictJson.read(row.plan(), Plan.class), row.peerFingerprint()))
                    .orElseThrow(() -> new IllegalStateException("no row of " + id)));
    DestinationMetadata metadata =
        new DestinationMetadata(
            parts.database(),
            parts.lifecycle(),
            disks,
            new ArrivalChecks(
                parts.database(),
                parts.hypervisor(),
                host,
                parts.lifecycle().memory(),
                parts.lifecycle().bootFiles()),
            parts.alerts(),
            receiving);
    DestinationGuests arriving = new DestinationGuests(parts.hypervisor(), new HiddenVms(parts));
    coordinator =
        new Coordinator(
            scheduler,
            ledger,
            parts.gate(),
            new SecureRandomness(),
            decorators.deadlines().apply(Deadlines.DEFAULT.withResumeWindow(resumeWindow)),
            decorators.source().apply(new Source(guests, copies, objects)),
            decorators
                .destination()
                .apply(new Destination(storage, metadata, arriving, parts.database())),
            decorators.peers().apply(peers),
            hostUuid,
            new PeerAddress("https://" + authority(address, port), certificate.fingerprint().hex()),
            boot);
    cds = new EjectedCds(parts.database(), ledger, parts.devices());
    MoveAnswers answers = new MoveAnswers(parts.database(), host, Threads.VIRTUAL);
    MovePreparation preparation =
        new MovePreparation(
            disks,
            new StrategyChoice(parts.hypervisor(), disks::isSnapshotWhileWritten),
            answers,
            parts.alerts(),
            parts.hypervisor());
    poolMoves = new PoolMoves(parts.database(), disks, parts.admission(), answers, parts.moves());
    calls =
        new MoveCalls(
            new MoveCalls.Parts(
                parts.database(),
                ledger,
                coordinator,
                parts.admission(),
                parts.tasks(),
                new ThisHost(
                    parts.database(),
                    ledger,
                    parts.lifecycle(),
                    preparation,
                    cds,
                    copies,
                    poolMoves),
                Threads.VIRTUAL,
                Clock.systemUTC(),
                UUID::randomUUID,
                host,
                port));
    peerRoutes = new PeerRoutes(coordinator.endpoint(), id -> incoming(parts, id));
    dryRuns = new DryRuns(parts.database(), calls.migrations(), poolMoves);
    sessions = parts.sessions();
    this.copies = copies;
    routes =
        new MigrationRoutes(
            coordinator, copies, calls.queue(), parts.sessions(), dryRuns, parts.audit());
  }

  private static IscsiOptions options(IscsiConfig config) {
    IscsiOptions options = IscsiOptions.defaults().withSessions(config.sessions());
    return config.digests() ? options.withDigests() : options;
  }

  private static String authority(String address, int port) {
    return (address.contains(":") ? "[" + address + "]" : address) + ":" + port;
  }

  /** The guest that waits for the memory of a migration. */
  private Optional<Guest> incoming(Parts parts, MigrationId id) throws Exception {
    var status = coordinator.status(id, Role.DESTINATION);
    return status.isPresent() ? parts.hypervisor().find(status.get().vm()) : Optional.empty();
  }

  private record HiddenVms(Parts parts) implements DestinationGuests.Specs {
    private Ref<VM> find(UUID vm) throws XenApiException {
      return parts
          .database()
          .snapshot()
          .byUuid("VM", vm.toString())
          .map(row -> new Ref<VM>(row.ref()))
          .orElseThrow(() -> new XenApiException("UUID_INVALID", "VM", vm.toString()));
    }

    @Override
    public GuestSpec of(UUID vm) throws XenApiException {
      return parts.lifecycle().arriving(find(vm));
    }

    @Override
    public void makeMachine(UUID vm) throws XenApiException {
      parts.lifecycle().makeMachine(find(vm));
    }

    @Override
    public void activateDisks(UUID vm) throws XenApiException {
      parts.lifecycle().activateDisks(find(vm));
    }
  }

  private record Source(Guests guests, Copies copies, Objects objects) implements SourcePorts {}

  private record Destination(
      Storage storage, Metadata metadata, Guests guests, ObjectDatabase database)
      implements DestinationPorts {
    @Override
    public Places places(Set<String> srs) {
      return MovePlaces.of(database, MovePlaces.IN, srs);
    }
  }

  public void register(Registry registry) {
    new MigrationMessages(calls.migrations(), poolMoves).register(registry);
  }

  public void mount(Router router) {
    peerRoutes.mount(router);
    routes.mount(router);
  }

  /**
   * What {@code xe} shows and decides.
   *
   * @param caller its address
   */
  public io.xenferry.cli.Migrations table(String caller) {
    return new MigrationTable(
        coordinator, copies::snapshot, calls.queue(), dryRuns, sessions, caller);
  }

  /** Whether a VM must not be started for now, since a migration of it is not over. */
  public boolean holds(UUID vm) {
    return !ledger.unended(vm).isEmpty() && gate.refuses(vm, Operation.START);
  }

  public Coordinator coordinator() {
    return coordinator;
  }

  /**
   * Takes up the ledger's unended migrations and the tasks that stand for them; peers' messages are
   * answered from then on.
   */
  public void recover() throws InterruptedException {
    calls.recover();
    cds.putBackAll();
    sweep();
    sweepLater();
  }

  private void sweep() throws InterruptedException {
    orphans.sweep();
    try {
      kept.sweep(Instant.now());
    } catch (XenApiException e) {
      log.warn("kept VMs could not be looked for", e);
    }
    disks.sweepAttempts(Instant.now());
    coordinator.purge();
  }

  private void sweepLater() {
    scheduler.schedule(
        SWEEP,
        () ->
            Effects.run("look for leftovers", this::sweep)
                .whenComplete((done, failure) -> {
                  if (failure != null) {
                    log.warn("what migrations may have left could not be looked for", failure);
                  }
                  sweepLater();
                }));
  }

  /** Ends the event streams of those who follow migrations, which know no end of their own. */
  public void endFollowing() {
    routes.endFollowing();
  }

  @Override
  public void close() {
    peers.close();
    scheduler.close();
  }
}
