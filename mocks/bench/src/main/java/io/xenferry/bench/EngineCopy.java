package io.xenferry.bench;

import io.xenferry.bench.TestLun.Timed;
import io.xenferry.block.FileBackend;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyJob;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.LiveDisk;
import io.xenferry.copy.LocalDigests;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.time.RealScheduler;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** The engine as the product runs it: log in, copy, drain with a flush, close. */
final class EngineCopy {
  private static final int DEADLINE_MINUTES = 10;

  private final CopyEngine engine;
  private final CopyOptions options;
  private final int sessions;
  private final boolean comparing;
  private boolean digests;

  EngineCopy(int depth, int requestSize, int sessions) {
    this(depth, requestSize, sessions, CopyOptions.Verify.NOTHING, false);
  }

  /**
   * @param depth requests in flight at the most
   * @param sessions to the LUN
   * @param verify what is verified, by hashes of the LUN's file
   * @param comparing whether the LUN may hold much of the file already, so that it is compared
   *     first
   */
  EngineCopy(
      int depth, int requestSize, int sessions, CopyOptions.Verify verify, boolean comparing) {
    this.engine = new CopyEngine(requestSize, (long) depth * requestSize);
    this.options = CopyOptions.DEFAULT.withDepth(depth).withVerify(verify);
    this.sessions = sessions;
    this.comparing = comparing;
  }

  /** From now on with checksums of headers and data. */
  void withDigests() {
    digests = true;
  }

  Timed copy(Path source, TestLun lun) throws Exception {
    return copy(source, lun, lun.url());
  }

  /** To another unit of the LUN's target. */
  Timed copy(Path source, TestLun lun, IscsiUrl unit) throws Exception {
    return copy(source, lun.file(), () -> new LunOpener(unit, sessions, digests));
  }

  /**
   * @param there where the copy will lie, for what is verified or compared
   * @param opener whose making counts as a part of the copy
   */
  Timed copy(Path source, Path there, Supplier<DestinationOpener> opener) throws Exception {
    long began = System.nanoTime();
    try (RealScheduler scheduler = new RealScheduler("copy");
        FileBackend file = FileBackend.open(source, FileBackend.Mode.READ_ONLY);
        FileBackend copied = FileBackend.open(there, FileBackend.Mode.READ_WRITE_SHARED)) {
      DiskPlan plan =
          new DiskPlan(
                  new LiveDisk("disk", file),
                  opener.get(),
                  false,
                  MemoryDirtyLog.immediate(BlockMap.of(file.size()), scheduler))
              .withDigests(new LocalDigests(copied), comparing);
      CopyJob job = engine.start(List.of(plan), options, scheduler, new CopyListener() {});
      CopySnapshot drained = job.drain().get(DEADLINE_MINUTES, TimeUnit.MINUTES);
      double seconds = (System.nanoTime() - began) / 1e9;
      job.close().get(DEADLINE_MINUTES, TimeUnit.MINUTES);
      CopySnapshot.Disk disk = drained.disks().getFirst();
      return new Timed(
          seconds,
          String.format(
              Locale.ROOT,
              "sent %.1f MB, zeroed %.1f MB, there already %.1f MB, verified %.1f MB,"
                  + " %d requests of %d KiB, waits for %s",
              disk.sent() / 1e6,
              disk.zeroed() / 1e6,
              disk.saved() / 1e6,
              disk.proof().verified() / 1e6,
              disk.depth(),
              disk.requestSize() >> 10,
              disk.bottleneck()),
          disk.sent() + disk.zeroed());
    }
  }
}
