package io.xenferry.bench.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.bench.command.Commands;
import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;

/** {@code xe vm-migrate} between two servers of ours, with one strategy. */
final class XenFerry implements Contender {
  private static final Duration POLL = Duration.ofMillis(5);

  private final String strategy;
  private final boolean tellPhases;
  private final XenFerryHost source;
  private final XenFerryHost destination;

  /**
   * @param tellPhases whether to remark where the time went
   */
  XenFerry(String strategy, boolean tellPhases, XenFerryHost source, XenFerryHost destination) {
    this.tellPhases = tellPhases;
    this.strategy = strategy;
    this.source = source;
    this.destination = destination;
  }

  @Override
  public String name() {
    return "xe " + strategy;
  }

  @Override
  public Running start(GuestImage image, Rate rate, Trace trace)
      throws IOException, InterruptedException {
    Running running = new Running();
    try {
      running.start(image, rate, trace);
      return running;
    } catch (IOException | InterruptedException e) {
      running.close();
      throw e;
    }
  }

  /** A guest of one run, on the two servers. */
  final class Running implements Guest {
    private final List<Console> consoles = new ArrayList<>();
    private String vm = "";
    private String vdi = "";

    void start(GuestImage image, Rate rate, Trace trace) throws IOException, InterruptedException {
      // With no boot policy: it gets its kernel from outside.
      vm = source.xe("vm-create", "name-label=bench");
      vdi =
          source.xe(
              "vdi-create",
              "sr-uuid=" + source.sr(),
              "name-label=disk",
              "virtual-size=" + image.diskSize());
      source.xe("vbd-create", "vm-uuid=" + vm, "vdi-uuid=" + vdi, "device=0");
      image.copyTo(source.image(vdi));
      source.xe(
          "vm-param-set",
          "uuid=" + vm,
          "PV-kernel=" + image.kernel(),
          "PV-ramdisk=" + image.initrd(),
          "PV-args=" + GuestImage.commandLine(rate),
          "platform:xenferry:serial-ports=2",
          "platform:xenferry:cpu=qemu64",
          "platform:xenferry:accel=tcg");
      consoles.add(new Console(Side.SOURCE, () -> Optional.of(source.console(vm)), trace));
      consoles.add(
          new Console(Side.DESTINATION, () -> Optional.of(destination.console(vm)), trace));
      source.xe("vm-start", "uuid=" + vm);
    }

    @Override
    public Moved move(Duration limit) throws IOException, InterruptedException {
      try (Phases here = new Phases(source.socket(), vm);
          Phases there = new Phases(destination.socket(), vm)) {
        migrate(limit);
        return moved(here.text() + there.text());
      }
    }

    private void migrate(Duration limit) throws IOException, InterruptedException {
      source.xe(
          limit,
          "vm-migrate",
          "uuid=" + vm,
          "remote-master=" + destination.hostAndPort(),
          "remote-username=root",
          "remote-password=" + destination.rootPassword(),
          "live=true",
          "strategy=" + strategy,
          "vdi:" + vdi + "=" + destination.sr());
    }

    /**
     * Begins to move it, and cancels that.
     *
     * @param after how long the move has been known to the source's server by then
     * @param limit for the move where it is too late
     * @return seconds from the order to cancel until neither server has anything of the move left;
     *     empty when it was past its commit, and has gone on
     */
    OptionalDouble cancel(Duration after, Duration limit) throws IOException, InterruptedException {
      CompletableFuture<Optional<IOException>> moving = new CompletableFuture<>();
      Thread.ofVirtual()
          .start(() -> {
            try {
              migrate(limit);
              moving.complete(Optional.empty());
            } catch (IOException e) {
              moving.complete(Optional.of(e));
            } catch (InterruptedException e) {
              moving.completeExceptionally(e);
            }
          });
      while (!source.isMigrating(vm) && !moving.isDone()) {
        Thread.sleep(POLL);
      }
      Thread.sleep(after);
      long began = System.nanoTime();
      boolean cancelled = source.cancelMigration(vm);
      while (cancelled && (source.isMigrating(vm) || destination.isMigrating(vm))) {
        if (System.nanoTime() - began > limit.toNanos()) {
          throw new IOException("a cancelled move does not end within " + limit);
        }
        Thread.sleep(POLL);
      }
      double seconds = (System.nanoTime() - began) / 1e9;
      Optional<IOException> failure = moving.join();
      if (cancelled
          && !failure.map(e -> String.valueOf(e.getMessage()).contains("ancelled")).orElse(false)) {
        throw new IOException("a cancelled move ends as if it were none", failure.orElse(null));
      }
      if (!cancelled && failure.isPresent()) {
        throw failure.get();
      }
      return cancelled ? OptionalDouble.of(seconds) : OptionalDouble.empty();
    }

    private Moved moved(String phases) throws IOException {
      JsonNode status = source.migrations(vm).getLast();
      long sent = status.path("memory-sent").asLong();
      StringBuilder passes = new StringBuilder();
      for (JsonNode disk : status.path("disks")) {
        sent += disk.path("sent").asLong();
        passes.append(disk.path("passes").size()).append(" passes");
      }
      JsonNode downtime = status.path("downtime-ms");
      return new Moved(
          downtime.isNumber() ? OptionalDouble.of(downtime.asDouble()) : OptionalDouble.empty(),
          OptionalLong.of(sent),
          passes + (tellPhases ? phases : ""));
    }

    @Override
    public void askForVerdict() throws IOException {
      consoles.get(1).askForVerdict();
    }

    @Override
    public Path movedDisk() throws IOException, InterruptedException {
      return destination.image(
          destination.xe("vbd-list", "vm-uuid=" + vm, "params=vdi-uuid", "--minimal"));
    }

    @Override
    public void close() throws IOException, InterruptedException {
      for (Console console : consoles) {
        console.close();
      }
      if (!vm.isEmpty()) {
        remove();
      }
    }

    /** A move that was given up goes on in the servers, and may only just be beginning. */
    private void remove() throws IOException, InterruptedException {
      long end = System.nanoTime() + Commands.DEADLINE.toNanos();
      while (true) {
        try {
          source.cancelMigrations(vm);
          for (XenFerryHost host : List.of(destination, source)) {
            if (host.xe("vm-list", "uuid=" + vm, "--minimal").equals(vm)) {
              host.xe("vm-uninstall", "uuid=" + vm, "force=true");
            }
          }
          return;
        } catch (IOException e) {
          if (System.nanoTime() > end) {
            throw e;
          }
          Thread.sleep(200);
        }
      }
    }
  }

  /** The servers are shared by all strategies, and closed by whoever started them. */
  @Override
  public void close() {}
}
