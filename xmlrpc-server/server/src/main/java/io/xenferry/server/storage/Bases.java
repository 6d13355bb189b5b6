package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.storage.MigrationDisks.Origin;
import io.xenferry.sr.Progress;
import io.xenferry.sr.VdiInfo;
import java.time.Duration;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Finds the disk that one which comes may have much in common with, and begins with a copy of that.
 * It need not be what it is taken for: whoever fills the copy compares all of it.
 */
final class Bases {
  private static final Logger log = LoggerFactory.getLogger(Bases.class);

  /**
   * Copies that share nothing take time, which the move waits for, within a deadline of two minutes
   * for all of its disks; beyond this they rather come over the network.
   */
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** Of so many migrations it is known when their first copy began. */
  private static final int REMEMBERED = 200;

  private final ObjectDatabase database;
  private final HostStorage storage;

  /** By the migration, on the clock of {@link System#nanoTime}. */
  private final Map<String, Long> begun =
      Collections.synchronizedMap(
          new LinkedHashMap<>() {
            @Override
            protected boolean removeEldestEntry(Map.Entry<String, Long> eldest) {
              return size() > REMEMBERED;
            }
          });

  Bases(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
  }

  /**
   * Makes a disk as a copy of one in the SR.
   *
   * @param wanted with its uuid, size and sm_config
   * @param format that it must have; empty for any
   * @return false when there is none that can be copied; nothing is made then
   */
  boolean copy(Ref<SR> sr, VdiInfo wanted, Optional<String> format, Origin origin)
      throws XenApiException {
    String uuid = database.snapshot().get(sr, SR.UUID);
    long since = begun.computeIfAbsent(wanted.migration().orElse(""), tag -> System.nanoTime());
    Progress patience = patience(since);
    for (VdiInfo base : candidates(sr, wanted.virtualSize(), format, origin)) {
      if (patience.isCancelled()) {
        return false;
      }
      VdiInfo request =
          wanted
              .withSmConfig(VdiInfo.SM_CONFIG_BASE, base.uuid().orElse(base.vdi()))
              .edit()
              .vdi(base.vdi())
              .done();
      VdiInfo made;
      try {
        made = HostStorage.driver(() -> storage.mux().copyOf(uuid, request, patience));
      } catch (XenApiException e) {
        log.info("a disk that arrives does not begin as a copy of {}", base.vdi(), e);
        continue;
      }
      storage.recordMade(sr, made);
      return true;
    }
    return false;
  }

  /**
   * Checks that one disk at least could begin as a copy of a VDI.
   *
   * @throws XenApiException INVALID_VALUE, SR_NOT_ATTACHED, HANDLE_INVALID
   */
  void check(UUID base, Collection<MigrationDisks.Coming> disks) throws XenApiException {
    Origin origin = new Origin(base, Optional.of(base));
    for (MigrationDisks.Coming disk : disks) {
      if (!candidates(storage.sr(disk.sr()), disk.bytes(), disk.format(), origin).isEmpty()) {
        return;
      }
    }
    throw new XenApiException(
        "INVALID_VALUE",
        "base",
        base + ", which is no VDI of an SR to which a disk of its size and format goes");
  }

  /**
   * The disks in an SR that one may have much in common with: disks before snapshots, the latest of
   * these first.
   *
   * @param format that they must have; empty for any
   */
  private List<VdiInfo> candidates(Ref<SR> sr, long size, Optional<String> format, Origin origin)
      throws XenApiException {
    storage.requireAttached(sr);
    String uuid = database.snapshot().get(sr, SR.UUID);
    return HostStorage.driver(() -> storage.mux().repository(uuid).scan()).stream()
        .filter(info -> info.virtualSize() == size)
        .filter(info -> info.migration().isEmpty())
        .filter(info -> !info.type().equals(VdiInfo.CBT_METADATA))
        .filter(info ->
            format.isEmpty()
                || format.equals(
                    Optional.ofNullable(info.smConfig().get(VdiInfo.SM_CONFIG_FORMAT))))
        .filter(info -> matches(info, origin))
        .sorted(
            Comparator.comparing(VdiInfo::isASnapshot)
                .thenComparing(VdiInfo::snapshotTime, Comparator.reverseOrder()))
        .toList();
  }

  private static boolean matches(VdiInfo info, Origin origin) {
    String uuid = info.uuid().orElse(info.vdi());
    if (origin.base().isPresent()) {
      return uuid.equals(origin.base().get().toString());
    }
    String lineage = origin.lineage().toString();
    return uuid.equals(lineage) || lineage.equals(info.smConfig().get(VdiInfo.SM_CONFIG_LINEAGE));
  }

  /**
   * @param since when the first copy of the migration began
   */
  private static Progress patience(long since) {
    return new Progress() {
      @Override
      public void report(double fraction) {}

      @Override
      public boolean isCancelled() {
        return System.nanoTime() - since > PATIENCE.toNanos();
      }
    };
  }
}
