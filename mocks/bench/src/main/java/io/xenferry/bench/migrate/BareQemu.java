package io.xenferry.bench.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.bench.command.Commands;
import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;

/**
 * The peer without a toolstack: two QEMUs and the shortest safe sequence of QMP commands. The disk
 * is mirrored to the destination's own NBD server, then the memory follows, and the mirror ends
 * while the guest is paused before the switch-over.
 */
final class BareQemu implements Contender {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String NODE = "disk";
  private static final int FIRST_PORT = 10809;

  private final String name;
  private final String copyMode;
  private final Network network;
  private final Path directory;

  /**
   * @param copyMode of {@code blockdev-mirror}: background or write-blocking
   */
  BareQemu(String name, String copyMode, Network network, Path directory) {
    this.name = name;
    this.copyMode = copyMode;
    this.network = network;
    this.directory = directory;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public Guest start(GuestImage image, Rate rate, Trace trace)
      throws IOException, InterruptedException {
    Running running = new Running();
    try {
      Files.createDirectories(directory);
      image.copyTo(disk(Side.SOURCE));
      image.createEmpty(disk(Side.DESTINATION));
      running.start(Side.SOURCE, image, rate, trace);
      running.start(Side.DESTINATION, image, rate, trace);
      return running;
    } catch (IOException | InterruptedException e) {
      running.close();
      throw e;
    }
  }

  private Path disk(Side side) {
    return directory.resolve(side.word() + ".raw");
  }

  private static String json(Map<String, ?> value) throws IOException {
    return JSON.writeValueAsString(value);
  }

  private List<String> command(Side side, GuestImage image, Rate rate, Path socket)
      throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                "setsid",
                "qemu-system-x86_64",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-machine",
                "q35",
                "-accel",
                "tcg",
                "-cpu",
                "qemu64",
                "-m",
                GuestImage.MEMORY_MIB + "M",
                "-device",
                "VGA",
                "-kernel",
                image.kernel().toString(),
                "-initrd",
                image.initrd().toString(),
                "-append",
                GuestImage.commandLine(rate),
                "-blockdev",
                json(
                    Map.of(
                        "driver",
                        "raw",
                        "node-name",
                        NODE,
                        "discard",
                        "unmap",
                        "file",
                        Map.of("driver", "file", "filename", disk(side).toString()))),
                "-device",
                "virtio-blk-pci,drive=" + NODE + ",id=vda",
                "-serial",
                "null",
                "-chardev",
                "socket,id=port,path=" + console(side) + ",server=on,wait=off",
                "-serial",
                "chardev:port",
                "-qmp",
                "unix:" + socket + ",server=on,wait=off"));
    if (side == Side.DESTINATION) {
      command.addAll(List.of("-incoming", "defer", "-S"));
    }
    return network.in(side, command);
  }

  private Path console(Side side) {
    return directory.resolve(side.word() + ".console");
  }

  private final class Running implements Guest {
    private final List<Process> processes = new ArrayList<>();
    private final List<Console> consoles = new ArrayList<>();
    private final List<Qmp> monitors = new ArrayList<>();

    void start(Side side, GuestImage image, Rate rate, Trace trace)
        throws IOException, InterruptedException {
      Path socket = directory.resolve(side.word() + ".qmp");
      Files.deleteIfExists(socket);
      Files.deleteIfExists(console(side));
      Path log = directory.resolve(side.word() + ".log");
      Process process =
          new ProcessBuilder(command(side, image, rate, socket))
              .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
      processes.add(process);
      consoles.add(new Console(side, () -> Optional.of(console(side)), trace));
      try {
        monitors.add(Qmp.connect(socket, process));
      } catch (IOException e) {
        throw new IOException(e.getMessage() + "; " + Files.readString(log).strip(), e);
      }
    }

    @Override
    public Moved move(Duration limit) throws IOException, InterruptedException {
      long end = System.nanoTime() + limit.toNanos();
      Qmp source = monitors.get(0);
      Qmp destination = monitors.get(1);
      String address = network.address(Side.DESTINATION);
      prepare(source);
      prepare(destination);
      openDestination(destination, address);
      source.execute(
          "blockdev-add",
          Map.of(
              "driver",
              "nbd",
              "node-name",
              "target",
              "export",
              NODE,
              "server",
              inet(address, FIRST_PORT)));
      source.execute(
          "blockdev-mirror",
          Map.of(
              "job-id",
              "mirror",
              "device",
              NODE,
              "target",
              "target",
              "sync",
              "full",
              "copy-mode",
              copyMode));
      source.await(Qmp.named("BLOCK_JOB_READY"), "end of the first pass", left(end));
      String uri = "tcp:" + address + ":" + (FIRST_PORT + 1);
      destination.execute("migrate-incoming", Map.of("uri", uri));
      source.execute("migrate", Map.of("uri", uri));
      source.await(Qmp.migration("pre-switchover"), "pause before the switch-over", left(end));
      source.execute("block-job-cancel", Map.of("device", "mirror"));
      source.await(Qmp.named("BLOCK_JOB_COMPLETED"), "end of the mirror", left(end));
      source.execute("blockdev-del", Map.of("node-name", "target"));
      destination.execute("block-export-del", Map.of("id", "export", "mode", "hard"));
      destination.await(Qmp.named("BLOCK_EXPORT_DELETED"), "end of the export", left(end));
      source.execute("migrate-continue", Map.of("state", "pre-switchover"));
      source.await(Qmp.migration("completed"), "end of the migration", left(end));
      destination.await(Qmp.migration("completed"), "end of the migration", left(end));
      destination.execute("cont", Map.of());
      JsonNode migration = source.execute("query-migrate", Map.of());
      return new Moved(
          OptionalDouble.of(migration.path("downtime").asDouble()), OptionalLong.empty(), "");
    }

    /** As libvirt does: no bandwidth limit but the network's. */
    private static void prepare(Qmp qmp) throws IOException, InterruptedException {
      qmp.execute(
          "migrate-set-capabilities",
          Map.of(
              "capabilities",
              List.of(
                  Map.of("capability", "events", "state", true),
                  Map.of("capability", "pause-before-switchover", "state", true))));
      qmp.execute("migrate-set-parameters", Map.of("max-bandwidth", 1L << 40));
    }

    private static void openDestination(Qmp destination, String address)
        throws IOException, InterruptedException {
      destination.execute(
          "nbd-server-start",
          Map.of(
              "addr",
              Map.of(
                  "type",
                  "inet",
                  "data",
                  Map.of("host", address, "port", Integer.toString(FIRST_PORT)))));
      destination.execute(
          "block-export-add",
          Map.of("type", "nbd", "id", "export", "node-name", NODE, "name", NODE, "writable", true));
    }

    private static Map<String, String> inet(String host, int port) {
      return Map.of("type", "inet", "host", host, "port", Integer.toString(port));
    }

    private static Duration left(long end) {
      return Duration.ofNanos(Math.max(0, end - System.nanoTime()));
    }

    @Override
    public void askForVerdict() throws IOException {
      consoles.get(1).askForVerdict();
    }

    @Override
    public Path movedDisk() {
      return disk(Side.DESTINATION);
    }

    @Override
    public void close() throws IOException, InterruptedException {
      for (Console console : consoles) {
        console.close();
      }
      for (Qmp monitor : monitors) {
        monitor.close();
      }
      for (Process process : processes) {
        process.destroyForcibly();
        process.waitFor(Commands.DEADLINE.toSeconds(), TimeUnit.SECONDS);
      }
      for (Side side : Side.values()) {
        Files.deleteIfExists(disk(side));
      }
    }
  }

  @Override
  public void close() {}
}
