package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.Scheduling;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.util.BitSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The threads in which QEMU runs a guest's processors: where Linux lets them run, by
 * sched_setaffinity(2), and how often, by their nice values, setpriority(2). A step of these is a
 * quarter more or less of a processor's time (sched(7)), so that a weight is kept to within an
 * eighth, and to between 1/87 and 70 times the usual one.
 */
final class VcpuThreads {
  private static final Logger log = LoggerFactory.getLogger(VcpuThreads.class);

  private static final int PRIO_PROCESS = 0;
  private static final int EINVAL = 22;
  private static final int ESRCH = 3;
  private static final double STEP = 1.25;
  private static final int LEAST_NICE = -20;
  private static final int MOST_NICE = 19;

  private static final MemoryLayout STATE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      STATE.varHandle(MemoryLayout.PathElement.groupElement("errno"));
  private static final MethodHandle SET_AFFINITY;
  private static final MethodHandle SET_PRIORITY;

  static {
    Linker linker = Linker.nativeLinker();
    Linker.Option errno = Linker.Option.captureCallState("errno");
    var i = ValueLayout.JAVA_INT;
    SET_AFFINITY =
        linker.downcallHandle(
            linker.defaultLookup().findOrThrow("sched_setaffinity"),
            FunctionDescriptor.of(i, i, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS),
            errno);
    SET_PRIORITY =
        linker.downcallHandle(
            linker.defaultLookup().findOrThrow("setpriority"),
            FunctionDescriptor.of(i, i, i, i),
            errno);
  }

  private VcpuThreads() {}

  /**
   * Of the processors that the guest has now.
   *
   * @param before what they go back to, as far as that can be, where they cannot have what is
   *     wanted
   */
  static void schedule(Monitor monitor, GuestProcess process, Scheduling before, Scheduling wanted)
      throws HypervisorException, InterruptedException {
    Map<Integer, Integer> threads = new TreeMap<>();
    for (JsonNode cpu : monitor.execute("query-cpus-fast")) {
      long thread = cpu.path("thread-id").asLong();
      // It is a guest's process that says so: it shall not have others' threads changed.
      if (process.hasThread(thread)) {
        threads.put(cpu.path("cpu-index").asInt(), Math.toIntExact(thread));
      }
    }
    int usual = process.nice();
    try {
      // The one that needs rights comes first: where they are missing nothing has changed.
      int nice = nice(usual, wanted);
      for (int thread : threads.values()) {
        refuse(priority(thread, nice), "cannot have nice value " + nice);
      }
      for (Map.Entry<Integer, Integer> e : threads.entrySet()) {
        allow(e.getValue(), wanted.processors(e.getKey()));
      }
    } catch (HypervisorException e) {
      threads.forEach((index, thread) -> {
        int priority = priority(thread, nice(usual, before));
        int affinity = affinity(thread, mask(before.processors(index)));
        if (priority != 0 || affinity != 0) {
          log.info("processor {} is not as it was: errno {}, {}", index, priority, affinity);
        }
      });
      throw e;
    }
    process.niceSession(nice(wanted.weight()));
  }

  private static int nice(int usual, Scheduling scheduling) {
    return Math.clamp((long) usual + nice(scheduling.weight()), LEAST_NICE, MOST_NICE);
  }

  /** Steps from what a guest of the usual weight has. */
  static int nice(int weight) {
    double steps = Math.log((double) Scheduling.WEIGHT / weight) / Math.log(STEP);
    return Math.clamp(Math.round(steps), LEAST_NICE, MOST_NICE);
  }

  private static void allow(int thread, Set<Integer> processors) throws HypervisorException {
    int error = affinity(thread, mask(processors));
    if (error == EINVAL) {
      throw new HypervisorException(
          Kind.REFUSED, "this host has none of the processors " + processors);
    }
    refuse(error, "cannot be kept to processors " + processors);
  }

  private static BitSet mask(Set<Integer> processors) {
    BitSet mask = new BitSet(Scheduling.PROCESSORS);
    if (processors.isEmpty()) {
      mask.set(0, Scheduling.PROCESSORS);
    }
    processors.forEach(mask::set);
    return mask;
  }

  private static void refuse(int error, String what) throws HypervisorException {
    // A thread that has ended needs nothing.
    if (error != 0 && error != ESRCH) {
      throw new HypervisorException(
          Kind.REFUSED, "the guest's processors " + what + " (errno " + error + ")");
    }
  }

  /** 0, or errno. */
  private static int affinity(int thread, BitSet mask) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(STATE);
      MemorySegment bits = arena.allocate(Scheduling.PROCESSORS / 8, Long.BYTES);
      byte[] set = mask.toByteArray();
      MemorySegment.copy(set, 0, bits, ValueLayout.JAVA_BYTE, 0, set.length);
      int result = (int) SET_AFFINITY.invokeExact(state, thread, bits.byteSize(), bits);
      return result == 0 ? 0 : (int) ERRNO.get(state, 0L);
    } catch (Throwable e) {
      throw new IllegalStateException("sched_setaffinity(2) cannot be called", e);
    }
  }

  /** 0, or errno. */
  private static int priority(int thread, int nice) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(STATE);
      int result = (int) SET_PRIORITY.invokeExact(state, PRIO_PROCESS, thread, nice);
      return result == 0 ? 0 : (int) ERRNO.get(state, 0L);
    } catch (Throwable e) {
      throw new IllegalStateException("setpriority(2) cannot be called", e);
    }
  }
}
