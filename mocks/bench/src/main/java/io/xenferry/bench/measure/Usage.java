package io.xenferry.bench.measure;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/** What a process has used: seconds of a processor so far, and memory now. */
public final class Usage {
  /** proc(5): those of sysconf(_SC_CLK_TCK), which Linux has as 100 everywhere. */
  private static final double TICKS = 100;

  private Usage() {}

  /** By this process, its garbage collector and compiler included. */
  public static double seconds() {
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        ? system.getProcessCpuTime() / 1e9
        : Double.NaN;
  }

  /** By programs that this process has run and that have ended. */
  public static double secondsOfChildren() {
    // Fields 16 and 17 (cutime, cstime), 14 and 15 after the name, which may have blanks.
    return ticks(Path.of("/proc/self/stat"), 13, 14) / TICKS;
  }

  /** Bytes of memory that a process has in use. */
  public static long resident(ProcessHandle process) throws IOException {
    Path status = Path.of("/proc", Long.toString(process.pid()), "status");
    for (String line : Files.readAllLines(status)) {
      if (line.startsWith("VmRSS:")) {
        return Long.parseLong(line.replaceAll("\\D", "")) << 10;
      }
    }
    throw new IOException(status + " has no VmRSS");
  }

  /** Bytes of this process: its heap after a collection, and all direct memory. */
  public static long memory() {
    System.gc();
    long direct =
        ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
            .filter(pool -> pool.getName().equals("direct"))
            .mapToLong(BufferPoolMXBean::getMemoryUsed)
            .sum();
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed() + direct;
  }

  private static long ticks(Path stat, int first, int second) {
    try {
      String line = Files.readString(stat);
      String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
      return Long.parseLong(fields[first]) + Long.parseLong(fields[second]);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
