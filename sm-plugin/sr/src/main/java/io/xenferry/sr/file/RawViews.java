package io.xenferry.sr.file;

import io.xenferry.block.OwnerOnly;
import io.xenferry.sr.AtomicFile;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Shows qcow2 images as raw files, for a target that knows nothing else: a qemu-storage-daemon for
 * each, which exports the image over FUSE at {@code KEY.view} in the SR's directory. It outlives
 * the server as the target does, and is found again by {@code KEY.view.pid}.
 */
final class RawViews {
  private static final Logger log = LoggerFactory.getLogger(RawViews.class);
  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final Duration LOOK = Duration.ofMillis(2);
  private static final String VIEW = ".view";
  private static final String PID = ".view.pid";
  private static final Path DEVICE = Path.of("/dev/fuse");

  private final Path directory;

  RawViews(Path directory) {
    this.directory = directory;
  }

  /**
   * Shows an image; showing it again answers the same.
   *
   * @param below whether what it rests on shows through
   */
  Path open(String key, Path image, boolean below) throws IOException {
    Path view = directory.resolve(key + VIEW);
    if (process(key).isPresent()) {
      return view;
    }
    close(key);
    if (!Files.exists(DEVICE)) {
      throw new IOException(
          "a qcow2 disk is exported through FUSE, and this host has no " + DEVICE);
    }
    OwnerOnly.make(view);
    Path output = directory.resolve(key + VIEW + ".log");
    boolean done = false;
    try {
      Process starter =
          new ProcessBuilder(command(image, view, directory.resolve(key + PID), below))
              .redirectInput(new File("/dev/null"))
              .redirectErrorStream(true)
              .redirectOutput(output.toFile())
              .start();
      try {
        if (!starter.waitFor(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
          starter.destroyForcibly();
          throw new IOException("qemu-storage-daemon does not begin to serve " + image);
        }
      } catch (InterruptedException e) {
        starter.destroyForcibly();
        Thread.currentThread().interrupt();
        throw new java.io.InterruptedIOException();
      }
      if (starter.exitValue() != 0) {
        throw new IOException("qemu-storage-daemon: " + Files.readString(output).strip());
      }
      done = true;
      return view;
    } finally {
      Files.deleteIfExists(output);
      if (!done) {
        close(key);
      }
    }
  }

  private static List<String> command(Path image, Path view, Path pid, boolean below)
      throws IOException {
    QcowHeader header = QcowHeader.read(image);
    return List.of(
        "qemu-storage-daemon",
        // Of a disk that is filled with its layers whole clusters are written, so that nothing is
        // ever read from below; and what is below may be written by another daemon at the same
        // time. But something must be there, lest what is discarded here be seen through
        // afterwards.
        "--blockdev",
        "{\"driver\":\"null-co\",\"node-name\":\"below\",\"read-zeroes\":true,\"size\":"
            + header.size()
            + "}",
        "--blockdev",
        "{\"driver\":\"qcow2\",\"node-name\":\"disk\",\"discard\":\"unmap\",\"file\":{"
            + "\"driver\":\"file\",\"locking\":\"on\",\"filename\":"
            + quoted(image)
            + "}"
            + (header.backing().isPresent() && !below ? ",\"backing\":\"below\"" : "")
            + "}",
        "--export",
        "{\"type\":\"fuse\",\"id\":\"view\",\"node-name\":\"disk\",\"writable\":true,"
            + "\"mountpoint\":"
            + quoted(view)
            + "}",
        "--daemonize",
        "--pidfile",
        pid.toString());
  }

  /** As a JSON string. */
  private static String quoted(Path path) {
    return '"' + path.toAbsolutePath().toString().replace("\\", "\\\\").replace("\"", "\\\"") + '"';
  }

  /** The daemon of a view that is there. */
  private Optional<ProcessHandle> process(String key) throws IOException {
    Path file = directory.resolve(key + PID);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      long pid = Long.parseLong(Files.readString(file).strip());
      // Another process may have its number by now.
      Path line = Path.of("/proc/" + pid + "/cmdline");
      if (Files.exists(line)
          && Files.readString(line, StandardCharsets.ISO_8859_1).contains(key + PID)) {
        return ProcessHandle.of(pid).filter(ProcessHandle::isAlive);
      }
    } catch (NumberFormatException | FileSystemException e) {
      log.debug("no daemon of {}", file, e);
    }
    return Optional.empty();
  }

  boolean isOpen(String key) {
    return Files.exists(directory.resolve(key + PID));
  }

  /** Ends a view if there is one; the image is closed then. */
  void close(String key) throws IOException {
    Path view = directory.resolve(key + VIEW);
    Optional<ProcessHandle> daemon = process(key);
    if (daemon.isPresent()) {
      end(daemon.get(), view);
    }
    if (!isOpen(key) && !Files.exists(view, java.nio.file.LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    try {
      Files.deleteIfExists(view);
    } catch (FileSystemException e) {
      // A daemon that was killed leaves its mount.
      unmount(view);
      Files.deleteIfExists(view);
    }
    Files.deleteIfExists(directory.resolve(key + PID));
    AtomicFile.syncDirectory(directory);
  }

  private static void end(ProcessHandle daemon, Path view) throws IOException {
    daemon.destroy(); // it flushes, and unmounts
    if (!ends(daemon)) {
      log.warn("the daemon of {} does not end, and is ended", view);
      daemon.destroyForcibly();
      if (!ends(daemon)) {
        throw new IOException("the daemon of " + view + " cannot be ended");
      }
    }
  }

  /** A guest may stand still for it, and {@code onExit} of a daemon looks after 300 ms at first. */
  private static boolean ends(ProcessHandle daemon) throws IOException {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    try {
      while (!hasEnded(daemon)) {
        if (System.nanoTime() - deadline > 0) {
          return false;
        }
        TimeUnit.MILLISECONDS.sleep(LOOK.toMillis());
      }
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new java.io.InterruptedIOException();
    }
  }

  /** A zombie has ended: its parent, the host's first process, may take seconds to ask for it. */
  private static boolean hasEnded(ProcessHandle daemon) {
    try {
      String stat =
          Files.readString(Path.of("/proc/" + daemon.pid() + "/stat"), StandardCharsets.ISO_8859_1);
      // After the name: the state, and seventeen fields on the number of threads.
      String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", 19);
      return fields[0].equals("Z") && fields[17].equals("1");
    } catch (IOException | IndexOutOfBoundsException e) {
      return !daemon.isAlive();
    }
  }

  private static void unmount(Path view) throws IOException {
    Process umount =
        new ProcessBuilder("umount", "--lazy", view.toString())
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      if (!umount.waitFor(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
        umount.destroyForcibly();
      }
    } catch (InterruptedException e) {
      umount.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new java.io.InterruptedIOException();
    }
  }
}
