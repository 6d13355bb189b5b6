package io.xenferry.server.migration;

import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.Plan;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** The copy job's view of its disks in the coordinator's words. */
final class ProgressOfDisks {
  private ProgressOfDisks() {}

  static Optional<CopySnapshot.Disk> find(CopySnapshot snapshot, String device) {
    return snapshot.disks().stream().filter(d -> d.name().equals(device)).findFirst();
  }

  static List<DiskProgress> of(Plan plan, CopySnapshot snapshot) {
    return plan.disks().stream()
        .map(disk ->
            find(snapshot, disk.device())
                .map(d -> of(disk, d, snapshot.phase()))
                .orElseGet(() ->
                    new DiskProgress(
                        disk.vdi(),
                        disk.device(),
                        "starting",
                        disk.size(),
                        0,
                        0,
                        disk.size(),
                        1,
                        0,
                        0)))
        .toList();
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
