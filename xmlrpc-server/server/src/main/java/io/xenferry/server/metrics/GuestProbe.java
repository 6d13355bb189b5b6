package io.xenferry.server.metrics;

import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.Usage;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Asks one guest what it uses, in a thread of its own: one question is on its way at most, and a
 * guest that has not answered is left alone for a minute.
 */
final class GuestProbe {
  private static final Logger log = LoggerFactory.getLogger(GuestProbe.class);

  /** Seconds until one that did not answer is asked again. */
  static final int PATIENCE = 60;

  private final Guest guest;
  private final Owner owner;
  private final Figures figures;
  private final LongSupplier nanoTime;
  private final Duration deadline;
  private final AtomicBoolean asking = new AtomicBoolean();
  private final Rates rates = new Rates();
  private volatile long silentUntil;
  private volatile Map<UUID, Throughput> throughput = Map.of();

  /** Bytes a second of a disk. */
  record Throughput(double read, double written) {}

  /**
   * @param nanoTime a clock as {@link System#nanoTime}
   * @param deadline of each question
   */
  GuestProbe(Guest guest, Figures figures, LongSupplier nanoTime, Duration deadline) {
    this.guest = guest;
    this.owner = new Owner(Owner.Kind.VM, guest.vm().toString());
    this.figures = figures;
    this.nanoTime = nanoTime;
    this.deadline = deadline;
  }

  Owner owner() {
    return owner;
  }

  boolean isOf(Guest other) {
    return guest == other;
  }

  /** By VDI, when it was last asked. */
  Map<UUID, Throughput> throughput() {
    return throughput;
  }

  /**
   * Asks, unless it is being asked.
   *
   * @param seconds since 1970, of the row that this is for
   * @param done run when it has answered or will not
   */
  void ask(long seconds, Runnable done) {
    if (seconds < silentUntil && silentUntil - seconds <= PATIENCE
        || !asking.compareAndSet(false, true)) {
      done.run();
      return;
    }
    Thread.ofVirtual()
        .name("figures of " + guest.vm())
        .start(() -> {
          try {
            look(seconds);
          } finally {
            asking.set(false);
            done.run();
          }
        });
  }

  private void look(long seconds) {
    try {
      Usage usage = guest.usage(deadline);
      take(usage, guest.hardware().spec(), seconds);
    } catch (HypervisorException e) {
      throughput = Map.of();
      figures.gone(owner);
      // One that has ended is not asked again; the others may be suspended, or hang.
      silentUntil = seconds + PATIENCE;
      log.debug("{} does not tell what it uses", owner, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void take(Usage usage, GuestSpec spec, long seconds) {
    long now = nanoTime.getAsLong();
    processors(usage, spec.vcpus().present(), now, seconds);
    usage.memory().ifPresent(bytes -> figures.add(owner, "memory", seconds, bytes));
    usage
        .free()
        .ifPresent(bytes -> figures.add(owner, "memory_internal_free", seconds, bytes / 1024.0));
    Map<String, Throughput> byDevice = new LinkedHashMap<>();
    usage.disks().forEach((device, disk) -> disk(device, disk, byDevice, now, seconds));
    usage
        .nics()
        .forEach((device, nic) -> {
          rate("vif_" + device + "_rx", nic.received(), now, seconds);
          rate("vif_" + device + "_tx", nic.sent(), now, seconds);
        });
    Map<UUID, Throughput> byDisk = new LinkedHashMap<>();
    for (GuestSpec.Disk disk : spec.disks()) {
      Throughput known = byDevice.get(disk.device());
      if (known != null) {
        byDisk.put(disk.vdi(), known);
      }
    }
    throughput = byDisk;
  }

  /** Where the hypervisor does not tell threads apart, its process's time is shared out evenly. */
  private void processors(Usage usage, int present, long now, long seconds) {
    List<Long> times = usage.processors();
    OptionalDouble whole =
        usage.process().isPresent()
            ? rates.rate("process", now, usage.process().getAsLong() / 1e9)
            : OptionalDouble.empty();
    double sum = 0;
    int known = 0;
    int count = times.isEmpty() ? present : times.size();
    for (int i = 0; i < count; i++) {
      OptionalDouble share =
          times.isEmpty()
              ? whole.stream().map(all -> all / count).findFirst()
              : rates.rate("cpu" + i, now, times.get(i) / 1e9);
      if (share.isPresent()) {
        // The kernel counts in hundredths of a second, so that it may be a little more.
        double used = Math.min(1, share.getAsDouble());
        figures.add(owner, "cpu" + i, seconds, used);
        sum += used;
        known++;
      }
    }
    if (known > 0) {
      figures.add(owner, "cpu_usage", seconds, sum / known);
    }
  }

  private void disk(
      String device, Usage.Disk disk, Map<String, Throughput> byDevice, long now, long seconds) {
    String prefix = "vbd_" + device;
    OptionalDouble read = rate(prefix + "_read", disk.bytesRead(), now, seconds);
    OptionalDouble written = rate(prefix + "_write", disk.bytesWritten(), now, seconds);
    OptionalDouble reads = rate(prefix + "_iops_read", disk.reads(), now, seconds);
    OptionalDouble writes = rate(prefix + "_iops_write", disk.writes(), now, seconds);
    if (reads.isPresent() && writes.isPresent()) {
      figures.add(
          owner, prefix + "_iops_total", seconds, reads.getAsDouble() + writes.getAsDouble());
    }
    latency(prefix + "_read_latency", disk.reads(), disk.readNanos(), seconds);
    latency(prefix + "_write_latency", disk.writes(), disk.writeNanos(), seconds);
    if (read.isPresent() && written.isPresent()) {
      byDevice.put(device, new Throughput(read.getAsDouble(), written.getAsDouble()));
    }
  }

  private OptionalDouble rate(String name, long value, long now, long seconds) {
    OptionalDouble rate = rates.rate(name, now, value);
    rate.ifPresent(perSecond -> figures.add(owner, name, seconds, perSecond));
    return rate;
  }

  /** Microseconds; of no requests there is none. */
  private void latency(String name, long requests, long nanos, long seconds) {
    OptionalDouble count = rates.growth(name + " requests", requests);
    OptionalDouble time = rates.growth(name + " nanos", nanos);
    if (count.isPresent() && time.isPresent()) {
      double each =
          count.getAsDouble() > 0 ? time.getAsDouble() / count.getAsDouble() / 1e3 : Double.NaN;
      figures.add(owner, name, seconds, each);
    }
  }
}
