package io.xenferry.server.migration;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.BlockHashes;
import io.xenferry.copy.Digest;
import io.xenferry.copy.LocalDigests;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.XenApiException;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.storage.MigrationDisks.ExportName;
import io.xenferry.server.storage.MigrationDisks.Origin;
import io.xenferry.server.storage.Transport;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.Predicate;

/** The disks that arrive at this host, and their exports. */
final class DestinationStorage implements DestinationPorts.Storage {
  /** How long one question may wait for its turn, and how long hashing may take then. */
  private static final Duration HASHING = Duration.ofSeconds(10);

  private static final int HASHED_AT_ONCE = 2;

  private final Semaphore hashing = new Semaphore(HASHED_AT_ONCE, true);
  private final MigrationDisks disks;
  private final Predicate<String> opened;
  private final Function<MigrationId, Arriving> arriving;

  /**
   * What was agreed with the source.
   *
   * @param fingerprint SHA-256 of the source's certificate, lower-case hex; empty if it has none
   */
  record Arriving(Plan plan, String fingerprint) {}

  /**
   * @param opened whether guests of this host can have disks of a format
   */
  DestinationStorage(
      MigrationDisks disks, Predicate<String> opened, Function<MigrationId, Arriving> arriving) {
    this.disks = disks;
    this.opened = opened;
    this.arriving = arriving;
  }

  /** What the plan chose, or a refusal in words: the source may be newer than this server. */
  private static Transport transport(Plan plan) {
    return Transport.chosen(plan.options())
        .orElseThrow(() ->
            DiskCarriers.failed(
                plan,
                "the destination does not know transport " + plan.options().get(Transport.OPTION)));
  }

  /** Who alone may open the export. */
  private static String client(Transport transport, MigrationId migration, Arriving agreed) {
    return switch (transport) {
      case ISCSI -> initiator(migration);
      case NBDS -> agreed.fingerprint();
    };
  }

  /** The name by which the source logs in; nobody else may. */
  static String initiator(MigrationId migration) {
    return "iqn.2026-01.io.xenferry:" + migration;
  }

  private static String tag(MigrationId migration) {
    return migration.toString();
  }

  @Override
  public CompletableFuture<List<Obstacle>> check(Plan plan) {
    return Effects.call(
        "check storage for " + plan.vm(),
        () -> {
          Survey survey = new Survey(Role.DESTINATION);
          survey.passes(() -> transport(plan), ObstacleKind.TRANSPORT);
          Map<String, Long> bytes = Layers.bytesBySr(plan);
          Formats formats = Formats.of(plan);
          for (Plan.Disk disk : plan.disks()) {
            Optional<Origin> origin = Lineages.of(plan, disk.vdi());
            if (origin.isPresent()) {
              survey
                  .ask(
                      () ->
                          disks.thereOf(
                              disk.sr(), disk.size(), formats.of(disk.vdi()), origin.get()),
                      ObstacleKind.TARGET_SR_UNKNOWN)
                  .ifPresent(there -> bytes.merge(disk.sr(), -there, Long::sum));
            }
          }
          disks.checkSpace(survey, bytes);
          Predicate<String> usable = plan.running() ? opened : any -> true;
          for (Plan.Disk disk : plan.disks()) {
            survey.look(
                () -> disks.checkFormat(disk.sr(), disk.vdi(), formats.of(disk.vdi()), usable),
                ObstacleKind.TARGET_SR_UNKNOWN,
                ObstacleKind.TARGET_SR_DETACHED,
                ObstacleKind.TARGET_SR_FORMAT);
          }
          Optional<UUID> base = Lineages.base(plan);
          // A default that fits no disk of this VM is none; who has named one wants it.
          if (base.isPresent() && !Lineages.isDefault(plan)) {
            List<MigrationDisks.Coming> able =
                plan.disks().stream()
                    .filter(disk -> Lineages.of(plan, disk.vdi()).isPresent())
                    .map(disk ->
                        new MigrationDisks.Coming(disk.sr(), disk.size(), formats.of(disk.vdi())))
                    .toList();
            survey.look(
                () -> disks.checkBase(base.get(), able),
                ObstacleKind.TARGET_SR_UNKNOWN,
                ObstacleKind.TARGET_SR_DETACHED,
                ObstacleKind.BAD_OPTION);
          }
          return survey.found();
        });
  }

  @Override
  public CompletableFuture<Void> checkRoom(List<UUID> vdis) {
    return run("check room for " + vdis, () -> disks.checkRoom(vdis));
  }

  @Override
  public CompletableFuture<Boolean> createVdi(MigrationId migration, Plan.Disk disk, UUID vdi) {
    return Effects.call(
        "create " + vdi,
        () -> {
          Plan plan = arriving.apply(migration).plan();
          try {
            return disks.create(
                disk.sr(),
                vdi,
                disk.size(),
                tag(migration),
                Formats.of(plan).of(disk.vdi()),
                Lineages.of(plan, disk.vdi()));
          } catch (XenApiException e) {
            throw translated(e);
          }
        });
  }

  @Override
  public CompletableFuture<DiskTarget> export(
      MigrationId migration, Plan.Disk disk, DestinationPorts.ExportSpec export) {
    return Effects.call(
        "export " + export.vdi(),
        () -> {
          Arriving agreed = arriving.apply(migration);
          Transport transport = transport(agreed.plan());
          try {
            String url =
                disks.export(
                    export.vdi(),
                    transport,
                    new ExportName(
                        export.name(),
                        export.account(),
                        export.secret(),
                        client(transport, migration, agreed)));
            return new DiskTarget(disk.vdi(), export.vdi(), url, disk.size());
          } catch (XenApiException e) {
            throw translated(e);
          }
        });
  }

  @Override
  public CompletableFuture<Boolean> isCopy(UUID vdi) {
    return Effects.call("look at " + vdi, () -> disks.isCopy(vdi));
  }

  /** Few at a time, whoever asks, so that the copies themselves and guests have the disks too. */
  @Override
  public CompletableFuture<BlockHashes> digests(
      UUID vdi, Range range, int blockSize, Digest digest) {
    return Effects.call(
        "hash " + vdi,
        () -> {
          if (!hashing.tryAcquire(HASHING.toMillis(), TimeUnit.MILLISECONDS)) {
            throw new IOException("the disks of this host are busy");
          }
          try (BlockBackend disk = disks.exported(vdi)) {
            return new LocalDigests(disk)
                .digests(range, blockSize, digest)
                .get(HASHING.toMillis(), TimeUnit.MILLISECONDS);
          } finally {
            hashing.release();
          }
        });
  }

  @Override
  public CompletableFuture<DiskTarget> exportAnew(
      MigrationId migration, Plan.Disk disk, DestinationPorts.ExportSpec export) {
    return closeExport(migration, export).thenCompose(fenced -> export(migration, disk, export));
  }

  @Override
  public CompletableFuture<Void> closeExport(
      MigrationId migration, DestinationPorts.ExportSpec export) {
    return run("close export " + export.name(), () -> disks.closeExport(export.vdi()));
  }

  @Override
  public CompletableFuture<Void> removeAccount(MigrationId migration, String account) {
    // The target service removes an account together with its export.
    return CompletableFuture.completedFuture(null);
  }

  @Override
  public CompletableFuture<Void> seal(UUID vdi) {
    return run(
        "flush " + vdi,
        () -> {
          try (FileChannel image = FileChannel.open(disks.image(vdi), StandardOpenOption.WRITE)) {
            image.force(true);
          }
        });
  }

  @Override
  public CompletableFuture<Void> destroyVdi(MigrationId migration, UUID vdi) {
    return run(
        "destroy " + vdi,
        () -> {
          String asked =
              arriving.apply(migration).plan().options().getOrDefault(Lineages.KEEP_ATTEMPT, "");
          Optional<Duration> kept = Retention.of(asked);
          if (kept.isPresent()) {
            disks.keepAttempt(vdi, tag(migration), Instant.now().plus(kept.get()));
          }
          disks.destroyTagged(vdi, tag(migration));
        });
  }

  private static CompletableFuture<Void> run(String name, Effects.Effect effect) {
    return Effects.run(
        name,
        () -> {
          try {
            effect.run();
          } catch (XenApiException e) {
            throw translated(e);
          }
        });
  }

  private static MigrationException translated(XenApiException e) {
    return new MigrationException(e.code(), e.params(), String.valueOf(e.getMessage()), e);
  }
}
