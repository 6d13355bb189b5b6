package io.xenferry.server.migration;

import io.xenferry.copy.Strategy;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.XenApiException;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.UUID;

/**
 * How the disks of a running VM are copied: as was asked for, where that can be. What {@code auto}
 * is depends on whether the hypervisor notes the guest's writes: by snapshots where it does not.
 */
final class StrategyChoice {
  private final Hypervisor hypervisor;
  private final Storage storage;

  /** Tells whether a disk can be snapshot while a guest writes it. */
  @FunctionalInterface
  interface Storage {
    boolean isSnapshotWhileWritten(UUID vdi) throws XenApiException;
  }

  StrategyChoice(Hypervisor hypervisor, Storage storage) {
    this.hypervisor = hypervisor;
    this.storage = storage;
  }

  /**
   * The disks with the strategies that they will be copied by. One that cannot be copied so is an
   * obstacle, OPERATION_NOT_ALLOWED with a sentence.
   *
   * @throws XenApiException when the guest cannot be asked
   */
  List<Plan.Disk> choose(Survey survey, UUID vm, List<Plan.Disk> planned)
      throws XenApiException, InterruptedException {
    Optional<Guest> guest = find(vm);
    List<Plan.Disk> chosen = new ArrayList<>();
    for (Plan.Disk disk : planned) {
      boolean written = !disk.readOnly() && guest.filter(g -> has(g, disk)).isPresent();
      chosen.add(
          written
              ? survey
                  .ask(
                      () -> choose(disk, guest.orElseThrow().hasDirtyLog(disk.device()), storage),
                      ObstacleKind.STRATEGY)
                  .orElse(disk)
              : disk);
    }
    return chosen;
  }

  private Optional<Guest> find(UUID vm) throws XenApiException, InterruptedException {
    try {
      return hypervisor.find(vm);
    } catch (HypervisorException e) {
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
    }
  }

  /** Neither the disks of snapshots nor those that are not plugged in. */
  static boolean has(Guest guest, Plan.Disk disk) {
    return guest.devices().contains(disk.device());
  }

  /**
   * The same for a disk that a guest writes.
   *
   * @param noted whether the hypervisor notes what it writes
   */
  static Plan.Disk choose(Plan.Disk disk, boolean noted, Storage storage) throws XenApiException {
    Strategy asked = Strategy.of(disk.strategy()).orElse(Strategy.AUTO);
    if (asked != Strategy.SNAPSHOT && noted) {
      return disk;
    }
    boolean can = storage.isSnapshotWhileWritten(disk.vdi());
    if (can && (asked == Strategy.SNAPSHOT || asked == Strategy.AUTO)) {
      return new Plan.Disk(
          disk.vdi(),
          disk.device(),
          disk.size(),
          disk.sr(),
          Strategy.SNAPSHOT.word(),
          disk.readOnly());
    }
    throw new XenApiException("OPERATION_NOT_ALLOWED", why(disk, noted, can));
  }

  private static String why(Plan.Disk disk, boolean noted, boolean can) {
    StringBuilder why = new StringBuilder();
    why.append(
        String.format(
            Locale.ROOT,
            "strategy=%s is not to be had for disk %s (VDI %s):",
            disk.strategy(),
            disk.device(),
            disk.vdi()));
    if (!noted) {
      why.append(" the hypervisor does not note what the VM writes to it");
    }
    if (!can) {
      why.append(noted ? "" : ", and");
      why.append(
          " its SR takes no snapshots of it while the VM writes it, as of a raw image or one that"
              + " rests on very many others");
    }
    why.append("; ");
    if (noted) {
      why.append("auto, log-dirty and mirror copy it");
    } else {
      why.append(can ? "snapshot copies it" : "it moves with the VM halted or suspended");
    }
    return why.append('.').toString();
  }
}
