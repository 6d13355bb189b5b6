package io.xenferry.sr.file;

import io.xenferry.block.OwnerOnly;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.commons.exec.CommandLine;
import org.apache.commons.exec.DefaultExecutor;
import org.apache.commons.exec.ExecuteException;
import org.apache.commons.exec.ExecuteWatchdog;
import org.apache.commons.exec.PumpStreamHandler;

/**
 * The program qemu-img (tried with 7.2). Arguments are lists, formats are always given, so that no
 * content is ever taken for a format, and every call has a deadline. Blocking.
 */
final class QemuImg {
  private static final Duration QUICK = Duration.ofSeconds(60);

  /** For what reads or writes the contents of an image: the largest, at some 10 MB a second. */
  private static final Duration LONG = Duration.ofHours(48);

  private static final int MAX_OUTPUT = 64 << 20;

  private static final String PROGRAM = "qemu-img";

  private QemuImg() {}

  /** Makes an image of zeroes. */
  static void create(Path image, long size) throws IOException {
    OwnerOnly.make(image);
    run(QUICK, "create", "-q", "-f", "qcow2", image.toString(), Long.toString(size));
    sync(image);
  }

  /** Makes an image that shows the one below, which is in the same directory. */
  static void createOn(Path image, Path below, ImageFormat format, long size) throws IOException {
    OwnerOnly.make(image);
    run(
        QUICK,
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        String.valueOf(below.getFileName()),
        "-F",
        format.word(),
        image.toString(),
        Long.toString(size));
    sync(image);
  }

  static void grow(Path image, long size) throws IOException {
    run(QUICK, "resize", "-q", "-f", "qcow2", image.toString(), Long.toString(size));
    sync(image);
  }

  /** Says in the image's header that the one below is another; the contents must be equal. */
  static void rebase(Path image, Path below, ImageFormat format) throws IOException {
    run(
        QUICK,
        "rebase",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        String.valueOf(below.getFileName()),
        "-F",
        format.word(),
        image.toString());
    sync(image);
  }

  /** Writes what an image has of its own into the one below; may be repeated. */
  static Running commit(Path image) {
    return new Running(List.of("commit", "-q", "-d", "-f", "qcow2", image.toString()));
  }

  /** Where the image's own clusters are, and those below it: JSON, qemu-img(1). */
  static String map(Path image, ImageFormat format) throws IOException {
    return run(QUICK, "map", "-U", "-f", format.word(), "--output=json", image.toString());
  }

  static void sync(Path image) throws IOException {
    try (FileChannel file = FileChannel.open(image, StandardOpenOption.WRITE)) {
      file.force(true);
    }
  }

  private static String run(Duration deadline, String... arguments) throws IOException {
    CommandLine line = new CommandLine(PROGRAM);
    line.addArguments(arguments, false);
    Limited out = new Limited();
    Limited err = new Limited();
    ExecuteWatchdog watchdog = ExecuteWatchdog.builder().setTimeout(deadline).get();
    DefaultExecutor executor =
        DefaultExecutor.builder().setExecuteStreamHandler(new PumpStreamHandler(out, err)).get();
    executor.setWatchdog(watchdog);
    try {
      executor.execute(line);
      return out.text();
    } catch (ExecuteException e) {
      String why = watchdog.killedProcess() ? "does not end" : err.text().strip();
      throw new IOException("qemu-img " + arguments[0] + ": " + why, e);
    } catch (IOException e) {
      throw new IOException("cannot run qemu-img: " + e.getMessage(), e);
    }
  }

  /** A call that takes long and can be given up at any time; Commons Exec cannot. */
  static final class Running {
    private final List<String> command = new ArrayList<>(List.of(PROGRAM));
    private Optional<Process> process = Optional.empty();
    private boolean cancelled;

    private Running(List<String> arguments) {
      command.addAll(arguments);
    }

    void run() throws IOException {
      Process started = start();
      try {
        if (!started.waitFor(LONG.toSeconds(), TimeUnit.SECONDS)) {
          throw new IOException("qemu-img " + command.get(1) + ": does not end");
        }
        if (started.exitValue() != 0) {
          // It says a line or two, which the pipe holds.
          String said = new String(started.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
          throw new IOException("qemu-img " + command.get(1) + ": " + said.strip());
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new InterruptedIOException();
      } finally {
        started.destroyForcibly();
      }
    }

    private synchronized Process start() throws IOException {
      if (cancelled) {
        throw new IOException("given up");
      }
      Process started =
          new ProcessBuilder(command)
              .redirectInput(new File("/dev/null"))
              .redirectErrorStream(true)
              .start();
      process = Optional.of(started);
      return started;
    }

    /** Ends it soon; its {@link #run} fails, unless it is done. */
    synchronized void cancel() {
      cancelled = true;
      process.ifPresent(Process::destroyForcibly);
    }
  }

  private static final class Limited extends OutputStream {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    @Override
    public synchronized void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public synchronized void write(byte[] from, int offset, int length) throws IOException {
      if (bytes.size() + length > MAX_OUTPUT) {
        throw new IOException("output beyond " + MAX_OUTPUT + " bytes");
      }
      bytes.write(from, offset, length);
    }

    synchronized String text() {
      return bytes.toString(StandardCharsets.UTF_8);
    }
  }
}
