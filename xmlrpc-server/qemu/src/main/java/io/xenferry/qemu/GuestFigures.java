package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.Usage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What one guest uses: processors by its threads in /proc, disks and memory by its monitor, network
 * cards by their interfaces on this host. Five questions to the monitor at most.
 */
final class GuestFigures {
  private static final Logger log = LoggerFactory.getLogger(GuestFigures.class);

  private static final String BALLOON = "/machine/peripheral/balloon";
  private static final String POLLING = "guest-stats-polling-interval";

  /** Seconds; the guest's driver writes a few words each time. */
  private static final int POLLING_INTERVAL = 10;

  /** What the guest said longer ago is not what it has now. */
  private static final Duration STALE = Duration.ofMinutes(1);

  private static final Path INTERFACES = Path.of("/sys/class/net");

  private final GuestDirectory directory;
  private final GuestProcess process;
  private final Monitor monitor;
  private final HotPlug hardware;
  private volatile boolean polling;

  GuestFigures(GuestDirectory directory, GuestProcess process, Monitor monitor, HotPlug hardware) {
    this.directory = directory;
    this.process = process;
    this.monitor = monitor;
    this.hardware = hardware;
  }

  Usage now(Duration deadline) throws HypervisorException, InterruptedException {
    OptionalLong total = process.processorTime();
    if (total.isEmpty()) {
      throw new HypervisorException(Kind.GONE, "the guest's process is gone");
    }
    return new Usage(
        processors(deadline), total, memory(deadline), free(deadline), disks(deadline), nics());
  }

  /** Empty for a hypervisor that does not tell which thread is which processor. */
  private List<Long> processors(Duration deadline)
      throws HypervisorException, InterruptedException {
    List<Long> times = new ArrayList<>();
    for (JsonNode cpu : ask("query-cpus-fast", Map.of(), deadline)) {
      OptionalLong time = process.processorTime(cpu.path("thread-id").asLong(-1));
      if (time.isEmpty()) {
        return List.of();
      }
      times.add(time.getAsLong());
    }
    return times;
  }

  private OptionalLong memory(Duration deadline) throws HypervisorException, InterruptedException {
    JsonNode actual = ask("query-balloon", Map.of(), deadline).path("actual");
    return actual.isIntegralNumber() && actual.asLong() >= 0
        ? OptionalLong.of(actual.asLong())
        : OptionalLong.empty();
  }

  private OptionalLong free(Duration deadline) throws HypervisorException, InterruptedException {
    if (!polling) {
      if (Files.exists(directory.incomingMark())) {
        return OptionalLong.empty();
      }
      // Refused by what has no such balloon, which is not asked again either.
      ask(
          "qom-set",
          Map.of("path", BALLOON, "property", POLLING, "value", POLLING_INTERVAL),
          deadline);
      polling = true;
    }
    JsonNode stats = ask("qom-get", Map.of("path", BALLOON, "property", "guest-stats"), deadline);
    long told = stats.path("last-update").asLong();
    // A figure that the driver does not tell is the largest number of 64 bits, or -1.
    long free = stats.path("stats").path("stat-free-memory").asLong(-1);
    boolean fresh = told > Instant.now().minus(STALE).getEpochSecond();
    return fresh && free >= 0 ? OptionalLong.of(free) : OptionalLong.empty();
  }

  private Map<String, Usage.Disk> disks(Duration deadline)
      throws HypervisorException, InterruptedException {
    GuestSpec spec = hardware.spec();
    List<String> devices = new ArrayList<>();
    spec.disks().forEach(disk -> devices.add(disk.device()));
    spec.drives().forEach(drive -> devices.add(drive.device()));
    Map<String, Usage.Disk> disks = new LinkedHashMap<>();
    for (JsonNode block : ask("query-blockstats", Map.of(), deadline)) {
      String node = block.path("node-name").asText();
      JsonNode stats = block.path("stats");
      for (String device : devices) {
        if (QmpGuest.isNodeOf(device, node)) {
          disks.put(
              device,
              new Usage.Disk(
                  stats.path("rd_bytes").asLong(),
                  stats.path("wr_bytes").asLong(),
                  stats.path("rd_operations").asLong(),
                  stats.path("wr_operations").asLong(),
                  stats.path("rd_total_time_ns").asLong(),
                  stats.path("wr_total_time_ns").asLong()));
        }
      }
    }
    return disks;
  }

  private Map<String, Usage.Nic> nics() throws HypervisorException {
    Map<String, Usage.Nic> nics = new LinkedHashMap<>();
    for (GuestSpec.Nic nic : hardware.spec().nics()) {
      NicBackend.interfaceOf(nic, directory)
          .ifPresent(name -> {
            OptionalLong in = counter(name, "rx_bytes");
            OptionalLong out = counter(name, "tx_bytes");
            if (in.isPresent() && out.isPresent()) {
              // What this host receives the guest has sent.
              nics.put(nic.device(), new Usage.Nic(out.getAsLong(), in.getAsLong()));
            }
          });
    }
    return nics;
  }

  private static OptionalLong counter(String name, String which) {
    try {
      Path file = INTERFACES.resolve(name).resolve("statistics").resolve(which);
      return OptionalLong.of(
          Long.parseLong(Files.readString(file, StandardCharsets.ISO_8859_1).strip()));
    } catch (IOException | NumberFormatException e) {
      // Somebody has taken the interface away.
      return OptionalLong.empty();
    }
  }

  /** Nothing where the hypervisor does not know the question; a hanging one is an error. */
  private JsonNode ask(String command, Map<String, ?> arguments, Duration deadline)
      throws HypervisorException, InterruptedException {
    try {
      return monitor.execute(command, arguments, deadline);
    } catch (HypervisorException e) {
      if (e.kind() == Kind.REFUSED) {
        log.debug("{}: {}", directory.path(), e.getMessage());
        return com.fasterxml.jackson.databind.node.MissingNode.getInstance();
      }
      throw e;
    }
  }
}
