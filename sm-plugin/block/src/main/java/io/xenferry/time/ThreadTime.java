package io.xenferry.time;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/** What the calling thread, one of the platform, has needed of processors. */
public final class ThreadTime {
  /** Nanoseconds run, nanoseconds waited to run, and turns (Linux, sched-stats.rst). */
  private static final Path SCHEDULED = Path.of("/proc/thread-self/schedstat");

  private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

  private ThreadTime() {}

  /**
   * How long it has run, and, where the system tells, stood ready and had to wait for a processor.
   */
  public static Duration needed() {
    long ran = THREADS.isCurrentThreadCpuTimeSupported() ? THREADS.getCurrentThreadCpuTime() : 0;
    return Duration.ofNanos(Math.max(0, ran) + waited());
  }

  private static long waited() {
    try {
      String[] figures = Files.readString(SCHEDULED).strip().split(" ");
      return figures.length > 1 ? Long.parseLong(figures[1]) : 0;
    } catch (IOException | NumberFormatException e) {
      return 0;
    }
  }
}
