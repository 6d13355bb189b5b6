package io.xenferry.server.migration;

import io.xenferry.block.Range;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.copy.DirtyLog;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.FileDirtyLog;
import io.xenferry.copy.SnapshotSource;
import io.xenferry.copy.SourceDisk;
import io.xenferry.copy.Strategy;
import io.xenferry.migration.ports.CopyJob;
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
import io.xenferry.time.RealScheduler;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
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
      MigrationId migration, Plan plan, List<DiskTarget> targets) {
    Transport.chosen(plan.options()).ifPresent(chosen -> transports.put(migration, chosen));
    CompletableFuture<RunningCopy> copy =
        Effects.call("copy of " + migration, () -> open(migration, plan, targets));
    copies.put(migration, copy);
    return copy.thenApply(started -> started);
  }

  private RunningCopy open(MigrationId migration, Plan plan, List<DiskTarget> targets)
      throws Exception {
    Files.createDirectories(logs);
    Optional<Guest> guest = plan.running() ? hypervisor.find(plan.vm()) : Optional.empty();
    if (plan.running() && guest.isEmpty()) {
      throw new HypervisorException(
          HypervisorException.Kind.GONE, "the guest of VM " + plan.vm() + " is gone");
    }
    List<DiskPlan> plans = new ArrayList<>();
    List<MoveSnapshots> taken = new ArrayList<>();
    RealScheduler scheduler = new RealScheduler("copy-" + migration);
    boolean begun = false;
    try {
      for (Plan.Disk disk : plan.disks()) {
        DiskTarget target =
            targets.stream()
                .filter(t -> t.source().equals(disk.vdi()))
                .findFirst()
                .orElseThrow(() -> new IOException("no target for disk " + disk.vdi()));
        DestinationOpener destination = carriers.opener(plan, target, migration);
        Optional<Guest> writer = guest.filter(g -> StrategyChoice.has(g, disk));
        SourceDisk source =
            source(migration, disk, Layers.of(plan).below(disk.vdi()), writer, taken);
        DirtyLog dirty;
        try {
          Path file = logFile(migration, disk);
          Files.deleteIfExists(file);
          dirty =
              FileDirtyLog.open(
                  file, BlockMap.of(source.size()), task -> Thread.ofVirtual().start(task));
        } catch (IOException | RuntimeException e) {
          source.close();
          throw e;
        }
        plans.add(
            new DiskPlan(source, destination, Layers.of(plan).below(disk.vdi()).isEmpty(), dirty)
                .withStrategy(strategyOf(disk, writer.isPresent())));
      }
      RunningCopy copy =
          new RunningCopy(engine, optionsOf(plan), plan, plans, taken, scheduler, guest);
      begun = true;
      return copy;
    } finally {
      if (!begun) {
        plans.forEach(p -> {
          p.source().close();
          p.log().close();
        });
        scheduler.close();
      }
    }
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
    if (guest.isPresent() && !(disk.readOnly() && !guest.get().hasDirtyLog(disk.device()))) {
      int layers = lower.isPresent() ? images.layersAbove(disk.vdi(), lower.get()) : 0;
      return guest.get().source(disk.device(), layers);
    }
    Optional<List<Range>> changes =
        lower.isPresent()
            ? Optional.of(images.changesSince(disk.vdi(), lower.get()))
            : Optional.empty();
    return FrozenDisk.of(disk.device(), images.open(disk.vdi()), changes);
  }

  /** A disk that nobody writes is copied once, whatever was asked for. */
  private static Strategy strategyOf(Plan.Disk disk, boolean running) {
    return running && !disk.readOnly()
        ? Strategy.of(disk.strategy()).orElse(Strategy.LOG_DIRTY)
        : Strategy.LOG_DIRTY;
  }

  private CopyOptions optionsOf(Plan plan) {
    MoveLimits limits = MoveLimits.of(plan, defaults.downtimeBudget());
    CopyOptions options =
        defaults.withDowntimeBudget(limits.downtime()).withBytesPerSecond(limits.bytesPerSecond());
    if (Boolean.parseBoolean(plan.options().get("verify"))) {
      options = options.withVerify(true, CopyOptions.Verify.EVERYTHING);
    }
    return options;
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
