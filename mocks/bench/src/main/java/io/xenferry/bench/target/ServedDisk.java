package io.xenferry.bench.target;

import io.xenferry.bench.measure.Disks;
import io.xenferry.bench.measure.Usage;
import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetService;
import io.xenferry.iscsi.tgt.TgtTargetService;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Supplier;

/** A thin disk on a sparse file, offered by one of those who compete. */
final class ServedDisk implements AutoCloseable {
  private static final String IQN = "iqn.2026-01.io.xenferry:bench";
  private static final int SECTOR = 512;
  private static final long SMALL = 1 << 20;

  /** Ends a service, and the process that it may have. */
  private interface End {
    void end() throws TargetException;
  }

  private final TargetService service;
  private final Export export;
  private final Optional<BlockBackend> backend;
  private final End end;

  /** Who serves it; none when this process does. */
  private final Supplier<Optional<ProcessHandle>> daemon;

  private final Thread whenInterrupted;

  private ServedDisk(
      TargetService service,
      Export export,
      Optional<BlockBackend> backend,
      End end,
      Supplier<Optional<ProcessHandle>> daemon)
      throws TargetException {
    this.service = service;
    this.export = export;
    this.backend = backend;
    this.end = end;
    this.daemon = daemon;
    // The daemon is a process of its own: Ctrl-C must not leave it behind.
    this.whenInterrupted =
        new Thread(() -> daemon.get().ifPresent(ProcessHandle::destroyForcibly), "end the target");
    Runtime.getRuntime().addShutdownHook(this.whenInterrupted);
    try {
      service.open(export);
    } catch (TargetException | RuntimeException e) {
      close();
      throw e;
    }
  }

  /**
   * By a tgtd of our own, with the session parameters that the product sets.
   *
   * @param directory an empty one
   * @param size in bytes
   */
  static ServedDisk tgtd(Path directory, long size) throws IOException, TargetException {
    Path file = sparse(directory, size);
    TgtTargetService service =
        new TgtTargetService(
            TgtTargetService.Settings.own(
                directory.toAbsolutePath(), InetAddress.getLoopbackAddress()),
            new FileExportJournal(directory));
    return new ServedDisk(
        service,
        export(IQN, new Export.Backing.File(file)),
        Optional.empty(),
        service::stop,
        service::process);
  }

  /**
   * By the embedded target, in this process.
   *
   * @param blockSize 512 or 4,096
   */
  static ServedDisk embedded(Path directory, long size, int blockSize)
      throws IOException, TargetException, BlockException {
    Path file = sparse(directory, size);
    EmbeddedTargetService service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getLoopbackAddress()),
            new FileExportJournal(directory));
    if (blockSize == SECTOR) {
      return new ServedDisk(
          service,
          export(IQN, new Export.Backing.File(file)),
          Optional.empty(),
          service::close,
          Optional::empty);
    }
    BlockBackend coarse =
        new ForwardingBackend(FileBackend.open(file, FileBackend.Mode.READ_WRITE)) {
          @Override
          public int alignment() {
            return blockSize;
          }
        };
    return new ServedDisk(
        service,
        export(IQN, new Export.Backing.Device(coarse)),
        Optional.of(coarse),
        service::close,
        Optional::empty);
  }

  private static Path sparse(Path directory, long size) throws IOException {
    Files.createDirectories(directory);
    Path file = directory.toAbsolutePath().resolve("disk");
    try (RandomAccessFile backing = new RandomAccessFile(file.toFile(), "rw")) {
      backing.setLength(size);
    }
    return file;
  }

  private static Export export(String iqn, Export.Backing backing) {
    return new Export(
        iqn,
        1,
        backing,
        "bench",
        "bench",
        Optional.empty(),
        new Acl.ByAddress("127.0.0.1"),
        true,
        false);
  }

  IscsiUrl url() {
    return service.url(IQN).orElseThrow(() -> new IllegalStateException(IQN + " is not open"));
  }

  /** Overwrites the whole disk with what is no zero, beside the target, durably. */
  void fill() throws IOException {
    if (!(export.backing() instanceof Export.Backing.File file)) {
      throw new IllegalStateException("only what is on a file can be filled");
    }
    Disks.fill(file.path(), Files.size(file.path()));
  }

  /**
   * Offers more disks beside it, each behind a target of its own, as the product does: small ones,
   * that nobody uses.
   *
   * @param first number of a disk, from 2
   * @param last number of a disk
   */
  void offerMore(int first, int last) throws IOException, TargetException {
    if (!(export.backing() instanceof Export.Backing.File file)) {
      throw new IllegalStateException("beside what is on a file");
    }
    for (int number = first; number <= last; number++) {
      Path one = file.path().resolveSibling("disk" + number);
      try (RandomAccessFile backing = new RandomAccessFile(one.toFile(), "rw")) {
        backing.setLength(SMALL);
      }
      service.open(export(IQN + number, new Export.Backing.File(one)));
    }
  }

  /** Bytes: of the daemon, or of this process when all that is not needed was collected. */
  long memory() throws IOException {
    return daemon.get().isPresent() ? Usage.resident(daemon.get().get()) : Usage.memory();
  }

  /** Ends all its sessions and begins anew, without what a client has left behind. */
  void renew() throws TargetException {
    service.close(IQN);
    service.open(export);
  }

  @Override
  public void close() throws TargetException {
    try {
      end.end();
    } finally {
      backend.ifPresent(BlockBackend::close);
      Runtime.getRuntime().removeShutdownHook(whenInterrupted);
    }
  }
}
