package io.xenferry.server.migration;

import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.Plan;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** The copy job's view of its disks in the coordinator's words. */
final class ProgressOfDisks {
  private ProgressOfDisks() {}

  /** The disk by its place in the plan: sources have names of their own. */
  static Optional<CopySnapshot.Disk> find(CopySnapshot snapshot, int place) {
    return place < snapshot.disks().size()
        ? Optional.of(snapshot.disks().get(place))
        : Optional.empty();
  }

  static List<DiskProgress> of(Plan plan, CopySnapshot snapshot) {
    List<DiskProgress> disks = new ArrayList<>();
    for (int i = 0; i < plan.disks().size(); i++) {
      Plan.Disk disk = plan.disks().get(i);
      disks.add(
          find(snapshot, i)
              .map(d -> of(disk, d, snapshot.phase()))
              .orElseGet(() -> notBegun(disk)));
    }
    return disks;
  }

  private static DiskProgress notBegun(Plan.Disk disk) {
    return new DiskProgress(
        disk.vdi(), disk.device(), "starting", disk.size(), 0, 0, disk.size(), 1, 0, 0);
  }

  private static DiskProgress of(Plan.Disk disk, CopySnapshot.Disk d, CopySnapshot.Phase phase) {
    return new DiskProgress(
        disk.vdi(),
        disk.device(),
        phase.name().toLowerCase(Locale.ROOT),
        d.logical(),
        d.sent(),
        d.skipped() + d.zeroed(),
        d.left(),
        d.passes().size() + 1,
        d.bytesPerSecond(),
        d.dirtyBytesPerSecond());
  }
}
