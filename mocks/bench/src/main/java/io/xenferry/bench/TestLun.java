package io.xenferry.bench;

import io.xenferry.bench.command.Tools;
import io.xenferry.bench.measure.Disks;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.tgt.TgtTargetService;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** A thin LUN on a tgtd of our own, with the session parameters that the product sets. */
final class TestLun implements AutoCloseable {
  private static final String IQN = "iqn.2026-01.io.xenferry:bench";

  /**
   * @param seconds from the start to the end of the flush
   * @param sent bytes of the disk that were sent; 0 where nobody counts them
   */
  record Timed(double seconds, String remark, long sent) {}

  private final TgtTargetService service;
  private final Path file;
  private IscsiUrl url;
  private final long size;

  private final Thread whenInterrupted;

  private TestLun(TgtTargetService service, Path file, IscsiUrl url, long size) {
    this.service = service;
    this.file = file;
    this.url = url;
    this.size = size;
    // The daemon is a process of its own: Ctrl-C must not leave it behind.
    this.whenInterrupted =
        new Thread(() -> service.process().ifPresent(ProcessHandle::destroyForcibly), "end tgtd");
    Runtime.getRuntime().addShutdownHook(whenInterrupted);
  }

  static boolean installed() {
    return Tools.find("tgtd").isPresent() && Tools.find("tgtadm").isPresent();
  }

  static TestLun create(Path directory, long size) throws IOException, TargetException {
    Path file = directory.toAbsolutePath().resolve("lun");
    try (RandomAccessFile backing = new RandomAccessFile(file.toFile(), "rw")) {
      backing.setLength(size);
    }
    Path state = Files.createDirectory(directory.toAbsolutePath().resolve("tgtd"));
    TgtTargetService service =
        new TgtTargetService(
            TgtTargetService.Settings.own(state, InetAddress.getLoopbackAddress()),
            new FileExportJournal(state));
    try {
      IscsiUrl url =
          service.open(
              new Export(
                  IQN,
                  1,
                  new Export.Backing.File(file),
                  "bench",
                  "bench",
                  Optional.empty(),
                  new Acl.ByAddress("127.0.0.1"),
                  true,
                  false));
      return new TestLun(service, file, url, size);
    } catch (TargetException | RuntimeException e) {
      service.stop();
      throw e;
    }
  }

  IscsiUrl url() {
    return url;
  }

  /** From now on it is reached at another port, which leads there. */
  void through(int port) {
    url = new IscsiUrl(url.credentials(), url.host(), port, url.iqn(), url.lun());
  }

  Path file() {
    return file;
  }

  /** The daemon's control number, for {@code tgtadm -C}. */
  int control() {
    return service.control();
  }

  /** The daemon, for a test that kills it. */
  Optional<ProcessHandle> daemon() {
    return service.process();
  }

  /**
   * Bytes that the daemon has read so far, from sockets for the most part (proc(5), {@code io}).
   */
  long received() throws IOException {
    Path io = Path.of("/proc", String.valueOf(daemon().orElseThrow().pid()), "io");
    for (String line : Files.readAllLines(io)) {
      if (line.startsWith("rchar: ")) {
        return Long.parseLong(line.substring("rchar: ".length()));
      }
    }
    throw new IOException(io + " has no rchar");
  }

  /** Fills the LUN with what is no zero, beside the target, durably. */
  void overwrite() throws IOException {
    Disks.fill(file, size);
  }

  /** Makes all of the LUN a hole, beside the target, durably. */
  void clear() throws IOException {
    try (RandomAccessFile backing = new RandomAccessFile(file.toFile(), "rw")) {
      backing.setLength(0);
      backing.setLength(size);
      backing.getFD().sync();
    }
  }

  @Override
  public void close() throws TargetException {
    service.stop();
    Runtime.getRuntime().removeShutdownHook(whenInterrupted);
  }
}
