package io.xenferry.server.migration;

import io.xenferry.block.Range;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopyOptions.Verify;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.copy.DirtyLog;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.FileDirtyLog;
import io.xenferry.copy.SnapshotSource;
import io.xenferry.copy.SourceDisk;
import io.xenferry.copy.Strategy;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.DestinationDisks;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.XenApiException;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.storage.Transport;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import io.xenferry.sr.AtomicFile;
import io.xenferry.time.RealScheduler;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Copies of this host's disks to where the destination exports its own. */
final class SourceCopies implements SourcePorts.Copies {
  private static final Logger log = LoggerFactory.getLogger(SourceCopies.class);

  /** Figures of ended copies, for whoever asks how it went. */
  private static final int REMEMBERED = 200;

  private final CopyEngine engine;
  private final Hypervisor hypervisor;
  private final MigrationDisks images;
  private final MoveSnapshots.Taker snapshots;
  private final Path logs;
  private final CopyOptions defaults;
  private final DiskCarriers carriers;
  private final Map<MigrationId, CompletableFuture<RunningCopy>> copies = new ConcurrentHashMap<>();
  private final Map<MigrationId, CopySnapshot> ended = remembering();
  private final Map<MigrationId, Transport> transports = remembering();

  private static <V> Map<MigrationId, V> remembering() {
    return Collections.synchronizedMap(
        new LinkedHashMap<>() {
          @Override
          protected boolean removeEldestEntry(Map.Entry<MigrationId, V> eldest) {
            return size() > REMEMBERED;
          }
        });
  }

  /**
   * @param logs directory of the durable dirty logs
   */
  SourceCopies(
      CopyEngine engine,
      Hypervisor hypervisor,
      MigrationDisks images,
      MoveSnapshots.Taker snapshots,
      Path logs,
      CopyOptions defaults,
      DiskCarriers carriers) {
    this.engine = engine;
    this.hypervisor = hypervisor;
    this.images = images;
    this.snapshots = snapshots;
    this.logs = logs;
    this.defaults = defaults;
    this.carriers = carriers;
  }

  @Override
  public CompletableFuture<CopyJob> start(
      MigrationId migration, Plan plan, List<DiskTarget> targets, DestinationDisks there) {
    return start(migration, plan, targets, there, false);
  }

  @Override
  public CompletableFuture<CopyJob> goOn(
      MigrationId migration, Plan plan, List<DiskTarget> targets, DestinationDisks there) {
    return start(migration, plan, targets, there, true);
  }

  private CompletableFuture<CopyJob> start(
      MigrationId migration,
      Plan plan,
      List<DiskTarget> targets,
      DestinationDisks there,
      boolean again) {
    Transport.chosen(plan.options()).ifPresent(chosen -> transports.put(migration, chosen));
    CompletableFuture<RunningCopy> copy =
        Effects.call("copy of " + migration, () -> open(migration, plan, targets, there, again));
    copies.put(migration, copy);
    return copy.thenApply(started -> started);
  }

  /**
   * @param again whether a server before this one has begun it
   */
  private RunningCopy open(
      MigrationId migration,
      Plan plan,
      List<DiskTarget> targets,
      DestinationDisks there,
      boolean again)
      throws Exception {
    Files.createDirectories(logs);
    Optional<Guest> guest = plan.running() ? hypervisor.find(plan.vm()) : Optional.empty();
    if (plan.running() && guest.isEmpty()) {
      throw new HypervisorException(
          HypervisorException.Kind.GONE, "the guest of VM " + plan.vm() + " is gone");
    }
    if (again && guest.isPresent()) {
      guest.get().throttle(0); // the server before may have slowed it
    }
    List<DiskPlan> plans = new ArrayList<>();
    List<MoveSnapshots> taken = new ArrayList<>();
    RealScheduler scheduler = new RealScheduler("copy-" + migration);
    boolean running = false;
    try {
      for (Plan.Disk disk : plan.disks()) {
        DiskTarget target =
            targets.stream()
                .filter(t -> t.source().equals(disk.vdi()))
                .findFirst()
                .orElseThrow(() -> new IOException("no target for disk " + disk.vdi()));
        DestinationOpener destination = carriers.opener(plan, target, migration);
        Optional<Guest> writer = guest.filter(g -> StrategyChoice.has(g, disk));
        Optional<UUID> lower = Layers.of(plan).below(disk.vdi());
        Begun begun = Begun.NOTHING;
        // The log was there before anything was sent.
        boolean sent = again && Files.exists(logFile(migration, disk));
        if (sent) {
          begun = begun(migration, plan, disk, lower, writer);
          log.info(
              "{} of {}: {}",
              disk.device(),
              plan.name(),
              begun.log().isPresent()
                  ? "the copy goes on where it was"
                  : "what was copied before is not certain, and all of it is compared");
        }
        // What a layer shows depends on those below it, which are being written as well.
        boolean uncertain = sent && begun.log().isEmpty() && lower.isEmpty();
        boolean based = there.isBased(disk.vdi());
        SourceDisk source =
            begun.source().isPresent()
                ? begun.source().get()
                : source(migration, disk, lower, writer, taken);
        DirtyLog dirty;
        try {
          dirty =
              begun.log().isPresent()
                  ? begun.log().get()
                  : openLog(logFile(migration, disk), source.size(), sent);
        } catch (IOException | RuntimeException e) {
          source.close();
          throw e;
        }
        plans.add(
            new DiskPlan(source, destination, lower.isEmpty() && !sent && !based, dirty)
                .withStrategy(strategyOf(disk, writer.isPresent()))
                .withDigests(
                    (range, block, digest) -> there.digests(disk.vdi(), range, block, digest),
                    based || uncertain));
      }
      RunningCopy copy =
          new RunningCopy(engine, optionsOf(plan), plan, plans, taken, scheduler, guest);
      running = true;
      return copy;
    } finally {
      if (!running) {
        plans.forEach(p -> {
          p.source().close();
          p.log().close();
        });
        scheduler.close();
      }
    }
  }

  /**
   * What a server before this one has left of the copy of a disk; both or neither.
   *
   * @param log what may differ, as far as passes that have begun know of it
   * @param source has in its first pass whatever was written since the last of them began
   */
  private record Begun(Optional<DirtyLog> log, Optional<SourceDisk> source) {
    static final Begun NOTHING = new Begun(Optional.empty(), Optional.empty());
  }

  /**
   * Takes up a copy. Its log counts only if it says that all the first pass had was marked, and if
   * every write since then has been noted as well: by the process in which the guest has run
   * throughout. Otherwise the log is made empty, and what the guest's process has noted is removed
   * after that.
   */
  private Begun begun(
      MigrationId migration,
      Plan plan,
      Plan.Disk disk,
      Optional<UUID> lower,
      Optional<Guest> writer)
      throws Exception {
    Path file = logFile(migration, disk);
    // Of what was sent before no checksums are left with which it could be compared.
    boolean verified = optionsOf(plan).verify() != CopyOptions.Verify.NOTHING;
    Optional<DirtyLog> log = Optional.empty();
    Optional<SourceDisk> source = Optional.empty();
    if (verified) {
      forget(file);
      return Begun.NOTHING;
    }
    try {
      DirtyLog found =
          FileDirtyLog.open(file, BlockMap.of(disk.size()), SourceCopies::inBackground);
      log = Optional.of(found);
      if (found.begun()) {
        source = sourceAgain(migration, disk, lower, writer);
      }
    } catch (IOException e) {
      SourceCopies.log.warn("{} cannot be taken up", file, e);
    } finally {
      if (source.isEmpty()) {
        log.ifPresent(DirtyLog::close);
        forget(file);
      }
    }
    return source.isEmpty() ? Begun.NOTHING : new Begun(log, source);
  }

  /** An empty log still says that something was sent. */
  private static void forget(Path file) throws IOException {
    try (FileChannel log = FileChannel.open(file, StandardOpenOption.WRITE)) {
      log.truncate(0);
      log.force(true);
    }
  }

  private Optional<SourceDisk> sourceAgain(
      MigrationId migration, Plan.Disk disk, Optional<UUID> lower, Optional<Guest> writer)
      throws Exception {
    if (writtenBy(writer, disk)) {
      return writer
          .orElseThrow()
          .sourceAgain(disk.device(), layersOf(disk, lower), migration.toString());
    }
    return Optional.of(frozen(disk, lower).allHandedOut());
  }

  /**
   * @param empty whether there is one that was made so
   */
  private DirtyLog openLog(Path file, long size, boolean empty) throws IOException {
    if (!empty) {
      Files.deleteIfExists(file);
    }
    DirtyLog log = FileDirtyLog.open(file, BlockMap.of(size), SourceCopies::inBackground);
    AtomicFile.syncDirectory(logs);
    return log;
  }

  private static void inBackground(Runnable task) {
    Thread.ofVirtual().start(task);
  }

  /** Whether a guest has the disk, and notes what it writes there. */
  private static boolean writtenBy(Optional<Guest> guest, Plan.Disk disk)
      throws HypervisorException, InterruptedException {
    return guest.isPresent() && !(disk.readOnly() && !guest.get().hasDirtyLog(disk.device()));
  }

  /** How many images of the disk are to be sent; 0 for all. */
  private int layersOf(Plan.Disk disk, Optional<UUID> lower) throws XenApiException {
    return lower.isPresent() ? images.layersAbove(disk.vdi(), lower.get()) : 0;
  }

  private FrozenDisk frozen(Plan.Disk disk, Optional<UUID> lower) throws XenApiException {
    Optional<List<Range>> changes =
        lower.isPresent()
            ? Optional.of(images.changesSince(disk.vdi(), lower.get()))
            : Optional.empty();
    return FrozenDisk.of(disk.device(), images.open(disk.vdi()), changes);
  }

  /**
   * @param lower what the disk rests on, which the destination gets as well
   * @param guest that has the disk; nobody writes it when there is none
   * @param taken gets what takes snapshots for it
   */
  private SourceDisk source(
      MigrationId migration,
      Plan.Disk disk,
      Optional<UUID> lower,
      Optional<Guest> guest,
      List<MoveSnapshots> taken)
      throws Exception {
    if (strategyOf(disk, guest.isPresent()) == Strategy.SNAPSHOT) {
      MoveSnapshots its =
          new MoveSnapshots(images, snapshots, guest.orElseThrow(), migration, disk, lower);
      taken.add(its);
      return new SnapshotSource(its);
    }
    if (writtenBy(guest, disk)) {
      return guest.orElseThrow().source(disk.device(), layersOf(disk, lower), migration.toString());
    }
    return frozen(disk, lower);
  }

  /** A disk that nobody writes is copied once, whatever was asked for. */
  private static Strategy strategyOf(Plan.Disk disk, boolean running) {
    return running && !disk.readOnly()
        ? Strategy.of(disk.strategy()).orElse(Strategy.LOG_DIRTY)
        : Strategy.LOG_DIRTY;
  }

  private CopyOptions optionsOf(Plan plan) {
    MoveLimits limits = MoveLimits.of(plan, defaults.downtimeBudget());
    return defaults
        .withDowntimeBudget(limits.downtime())
        .withBytesPerSecond(limits.bytesPerSecond())
        .withBytesPerSecondOfEach(limits.bytesPerSecondOfEach())
        .withVerify(Verify.of(plan.options().get(Verify.OPTION)));
  }

  /** What is known of the copy of a migration, while this server runs it or has run it. */
  Optional<CopySnapshot> snapshot(MigrationId migration) {
    CompletableFuture<RunningCopy> copy = copies.get(migration);
    return copy == null || copy.state() != Future.State.SUCCESS
        ? Optional.ofNullable(ended.get(migration))
        : Optional.of(copy.resultNow().snapshot());
  }

  /** By what the disks of a migration are carried, of those that this server runs or has run. */
  Optional<Transport> transport(MigrationId migration) {
    return Optional.ofNullable(transports.get(migration));
  }

  @Override
  public CompletableFuture<Void> cleanUp(MigrationId migration, Plan plan) {
    CompletableFuture<RunningCopy> copy = copies.get(migration);
    if (copy == null) {
      return Effects.run(
          "clean up copy of " + migration,
          () -> {
            removeWhatIsLeft(migration, plan);
            if (plan.running()) {
              forgetPasses(plan);
            }
          });
    }
    // One that is just being started is waited for: it would go on for ever otherwise.
    return copy.handle((started, failure) -> Optional.ofNullable(started))
        .thenCompose(started ->
            started.isPresent() ? started.get().close() : CompletableFuture.completedFuture(null))
        .exceptionally(failure -> {
          log.warn("the copy of {} did not end in order", migration, failure);
          return null;
        })
        .thenCompose(done ->
            Effects.run(
                "clean up copy of " + migration,
                () -> {
                  if (copy.state() == Future.State.SUCCESS) {
                    copy.resultNow().awaitSnapshots();
                  }
                  removeWhatIsLeft(migration, plan);
                }))
        .thenRun(() -> {
          snapshot(migration).ifPresent(figures -> ended.put(migration, figures));
          copies.remove(migration);
        });
  }

  /** Bitmaps and exports that a server before this one has left in the guest's process. */
  private void forgetPasses(Plan plan) throws HypervisorException, InterruptedException {
    Optional<Guest> guest = hypervisor.find(plan.vm());
    if (guest.isPresent() && guest.get().state() != Guest.State.GONE) {
      guest.get().throttle(0);
      for (Plan.Disk disk : plan.disks()) {
        if (StrategyChoice.has(guest.get(), disk) && guest.get().hasDirtyLog(disk.device())) {
          guest.get().source(disk.device()).close();
        }
      }
    }
  }

  private void removeWhatIsLeft(MigrationId migration, Plan plan)
      throws IOException, XenApiException {
    removeLogs(migration);
    if (plan.disks().stream().anyMatch(disk -> isBySnapshots(disk))) {
      MoveSnapshots.removeAll(images, migration);
    }
  }

  private static boolean isBySnapshots(Plan.Disk disk) {
    return disk.strategy().equals(Strategy.SNAPSHOT.word());
  }

  private void removeLogs(MigrationId migration) throws IOException {
    if (!Files.isDirectory(logs)) {
      return;
    }
    try (DirectoryStream<Path> files = Files.newDirectoryStream(logs, migration + "-*")) {
      for (Path file : files) {
        Files.deleteIfExists(file);
      }
    }
  }

  private Path logFile(MigrationId migration, Plan.Disk disk) {
    return logs.resolve(migration + "-" + disk.vdi() + ".dirty");
  }
}
