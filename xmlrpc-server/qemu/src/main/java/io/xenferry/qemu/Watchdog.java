package io.xenferry.qemu;

import io.xenferry.qemu.watchdog.MirrorWatchdog;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.ImageMerging;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.URISyntaxException;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A guest's {@link MirrorWatchdog} process as long as anything of the guest is mirrored, or its
 * writes wait for the end of a merge of images: in a session of its own, so that what stops the
 * server does not stop it. Thread-safe.
 */
final class Watchdog {
  private static final Logger log = LoggerFactory.getLogger(Watchdog.class);

  /** A JVM on a busy machine takes seconds. */
  private static final Duration START_DEADLINE = Duration.ofSeconds(20);

  /** Of one that is started for a job: how often it says that it lives. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private final Path monitor;
  private final Path logFile;

  // Guarded by this.
  private final Set<String> watched = new HashSet<>();
  private @Nullable Running running;

  /**
   * @param monitor the guest's second monitor
   * @param logFile takes what the process says on stderr
   */
  Watchdog(Path monitor, Path logFile) {
    this.monitor = monitor;
    this.logFile = logFile;
  }

  /**
   * Watches a node from now on.
   *
   * @param patience how long {@link #alive} may be missing before the node is cut off
   */
  synchronized void watch(String node, Duration patience)
      throws HypervisorException, InterruptedException {
    Running process = running;
    if (process == null || !process.holds()) {
      if (process != null) {
        process.end();
      }
      process = start(patience);
      running = process;
    }
    try {
      process.tell('+', node);
      watched.add(node);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "the watchdog is gone", e);
    }
  }

  /**
   * Says that the node's relay is alive.
   *
   * @return whether the watchdog is, too
   */
  synchronized boolean alive(String node) {
    Running process = running;
    try {
      if (process == null || !process.holds() || !watched.contains(node)) {
        return false;
      }
      process.tell('.', node);
      return true;
    } catch (IOException e) {
      log.warn("the watchdog at {} is gone", monitor, e);
      return false;
    }
  }

  /**
   * From now on a job that holds the guest's writes is ended when this server is gone: finished, if
   * what it has noted says so then, else cancelled.
   */
  synchronized void hold(String job, ImageMerging.Decision decision)
      throws HypervisorException, InterruptedException {
    Running process = running;
    if (process == null || !process.holds()) {
      if (process != null) {
        process.end();
      }
      process = start(PATIENCE);
      running = process;
    }
    try {
      process.tell(
          '=',
          job
              + " "
              + encoded(decision.file().toAbsolutePath().toString())
              + " "
              + encoded(decision.key())
              + " "
              + encoded(decision.value()));
      watched.add(job);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "the watchdog is gone", e);
    }
  }

  private static String encoded(String word) {
    return URLEncoder.encode(word, StandardCharsets.UTF_8);
  }

  /** The process ends with its last node or job. */
  synchronized void forget(String node) {
    Running process = running;
    if (!watched.remove(node) || process == null) {
      return;
    }
    try {
      process.tell('-', node);
    } catch (IOException e) {
      log.debug("the watchdog at {} is gone", monitor, e);
    }
    if (watched.isEmpty()) {
      process.end();
      running = null;
    }
  }

  private Running start(Duration patience) throws HypervisorException, InterruptedException {
    List<String> command =
        List.of(
            "setsid",
            Path.of(System.getProperty("java.home", ""), "bin", "java").toString(),
            "-Xshare:auto",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xms4m",
            "-Xmx16m",
            "-XX:-UsePerfData",
            "-cp",
            classPath(),
            MirrorWatchdog.class.getName(),
            monitor.toString(),
            Long.toString(patience.toMillis()));
    Running process;
    try {
      process =
          new Running(
              new ProcessBuilder(command)
                  .redirectError(ProcessBuilder.Redirect.appendTo(logFile.toFile()))
                  .start(),
              patience);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot start a watchdog", e);
    }
    try {
      process.ready.get(START_DEADLINE.toNanos(), TimeUnit.NANOSECONDS);
      return process;
    } catch (ExecutionException | TimeoutException e) {
      process.end();
      throw new HypervisorException(
          Kind.REFUSED, "the watchdog does not get hold of " + monitor + ", see " + logFile, e);
    } catch (InterruptedException e) {
      process.end();
      throw e;
    }
  }

  /** Only where that class is from: it needs nothing else, and less is to be searched. */
  private static String classPath() throws HypervisorException {
    try {
      return Path.of(
              MirrorWatchdog.class.getProtectionDomain().getCodeSource().getLocation().toURI())
          .toString();
    } catch (URISyntaxException e) {
      throw new HypervisorException(Kind.REFUSED, "where the watchdog's program is", e);
    }
  }

  private static final class Running {
    private final Process process;
    private final Duration patience;
    private final OutputStream in;
    private final CompletableFuture<Void> ready = new CompletableFuture<>();
    private volatile long heard = System.nanoTime();

    Running(Process process, Duration patience) {
      this.process = process;
      this.patience = patience;
      this.in = process.getOutputStream();
      Thread.ofVirtual().name("watchdog").start(this::listen);
    }

    private void listen() {
      try (BufferedReader lines =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
          heard = System.nanoTime();
          if (line.equals("ready")) {
            ready.complete(null);
          } else if (!line.equals("alive")) {
            log.warn("the watchdog of a guest: {}", line);
          }
        }
      } catch (IOException e) {
        log.debug("a watchdog is gone", e);
      }
      ready.completeExceptionally(new IOException("it ended"));
    }

    /** One that says nothing would not do anything either. */
    boolean holds() {
      return process.isAlive()
          && System.nanoTime() - heard < patience.multipliedBy(4).toNanos()
          && ready.state() == Future.State.SUCCESS;
    }

    void tell(char what, String node) throws IOException {
      in.write((what + " " + node + "\n").getBytes(StandardCharsets.US_ASCII));
      in.flush();
    }

    void end() {
      try {
        in.close();
      } catch (IOException e) {
        log.debug("closing a watchdog's input", e);
      }
      // At the end of its input it goes by itself, after it has cut off what is left.
      process
          .onExit()
          .orTimeout(5, TimeUnit.SECONDS)
          .exceptionally(late -> {
            process.destroyForcibly();
            return process;
          });
    }
  }
}
