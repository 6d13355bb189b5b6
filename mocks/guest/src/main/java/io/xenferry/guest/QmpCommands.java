package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** The commands of the monitors, with QEMU's names, arguments and answers. One at a time. */
final class QmpCommands implements QmpServer.Commands {
  private static final Pattern QEMU_IO =
      Pattern.compile(
          "qemu-io -d /machine/peripheral/(\\w+)/virtio-backend"
              + " \"(write|aio_write) -P 0x([0-9a-f]{2}) ([0-9]+) ([0-9]{1,7})\"");

  private final Machine machine;
  private final BitmapCommands bitmaps;
  private final ExportCommands exports;
  private final TuningCommands tuning;
  private final DeviceCommands devices;
  private final MirrorCommands mirrors;
  private final MigrationSettings migration = new MigrationSettings();
  private volatile @Nullable Outgoing outgoing;
  private volatile @Nullable Incoming incoming;

  QmpCommands(Machine machine) {
    this.machine = machine;
    this.bitmaps = new BitmapCommands(machine);
    this.exports = new ExportCommands(machine, bitmaps);
    this.tuning = new TuningCommands(machine);
    this.devices = new DeviceCommands(machine, tuning);
    this.mirrors = new MirrorCommands(machine, bitmaps);
  }

  /** Does not wait for the commands under way. */
  @Override
  public JsonNode runOutOfBand(String command, JsonNode arguments) throws QmpError {
    if (!command.equals("yank")) {
      throw new QmpError("The command " + command + " does not support OOB");
    }
    return mirrors.yank(arguments.path("instances"));
  }

  @Override
  public synchronized JsonNode run(String command, JsonNode arguments) throws QmpError {
    if (machine.faults.has("hang-qmp=" + command)) {
      hang();
    }
    return switch (command) {
      case "query-status" -> status();
      case "query-name" -> QmpServer.object().put("name", machine.settings.name());
      case "query-uuid" -> QmpServer.object().put("UUID", machine.settings.vm().toString());
      case "stop" -> {
        if (machine.state() == RunState.RUNNING || machine.state() == RunState.PRELAUNCH) {
          machine.stop(RunState.PAUSED);
        }
        yield done();
      }
      case "cont" -> cont();
      case "system_powerdown" -> {
        machine.powerDown();
        yield done();
      }
      case "system_reset" -> {
        machine.reset();
        yield done();
      }
      case "quit" -> {
        machine.stop(RunState.SHUTDOWN);
        machine.tell(
            "SHUTDOWN", QmpServer.object().put("guest", false).put("reason", "host-qmp-quit"));
        Thread.ofPlatform().start(() -> Runtime.getRuntime().exit(0));
        yield done();
      }
      case "announce-self" -> done();
      case "query-block" -> bitmaps.query(command);
      case "query-blockstats" -> {
        ArrayNode disks = array();
        for (GuestDisk disk : machine.disks) {
          ObjectNode stats = disks.addObject().put("node-name", disk.node()).putObject("stats");
          disk.tell(stats);
        }
        yield disks;
      }
      case "query-named-block-nodes" -> {
        ArrayNode nodes = bitmaps.query(command);
        mirrors.describeTargets(nodes);
        yield nodes;
      }
      case "blockdev-mirror", "block-job-cancel", "block-job-resume", "job-dismiss", "query-jobs" ->
          mirrors.run(command, arguments);
      case "blockdev-add", "blockdev-del", "blockdev-reopen" ->
          mirrors.concerns(arguments)
              ? mirrors.run(command, arguments)
              : devices.run(command, arguments);
      case "yank" -> runOutOfBand(command, arguments);
      case "human-monitor-command" -> humanCommand(arguments.path("command-line").asText());
      case "block_set_io_throttle" -> {
        machine.diskThrottle.limit(arguments.path("bps_wr").asLong());
        machine.writeThrottle.limit(arguments.path("iops_wr").asLong());
        yield done();
      }
      case "transaction" -> bitmaps.transaction(arguments.path("actions"));
      case "block-dirty-bitmap-add",
          "block-dirty-bitmap-remove",
          "block-dirty-bitmap-disable",
          "block-dirty-bitmap-enable",
          "block-dirty-bitmap-clear",
          "block-dirty-bitmap-merge" ->
          bitmaps.run(command, arguments);
      case "nbd-server-start",
          "nbd-server-stop",
          "block-export-add",
          "block-export-del",
          "query-block-exports" ->
          exports.run(command, arguments);
      case "blockdev-open-tray",
          "blockdev-close-tray",
          "blockdev-insert-medium",
          "blockdev-remove-medium",
          "query-hotpluggable-cpus",
          "query-cpus-fast",
          "query-kvm",
          "query-balloon",
          "balloon" ->
          tuning.run(command, arguments);
      case "netdev_add", "netdev_del", "device_add", "device_del", "qom-list" ->
          devices.run(command, arguments);
      default -> migrationCommand(command, arguments);
    };
  }

  /** Writes as the guest would: {@code qemu-io -d DEVICE "write -P BYTE OFFSET LENGTH"}. */
  private JsonNode humanCommand(String line) throws QmpError {
    Matcher matcher = QEMU_IO.matcher(line);
    if (!matcher.matches()) {
      throw new QmpError("unknown command: " + line);
    }
    GuestDisk disk = bitmaps.disk("disk-" + matcher.group(1));
    byte[] content = new byte[Integer.parseInt(matcher.group(5))];
    Arrays.fill(content, (byte) Integer.parseInt(matcher.group(3), 16));
    Runnable write =
        () -> {
          try {
            ByteBuffer buffer = ByteBuffer.allocateDirect(content.length).put(content).flip();
            disk.write(Long.parseLong(matcher.group(4)), buffer);
          } catch (IOException e) {
            System.err.println("write failed: " + e);
          }
        };
    if (matcher.group(2).startsWith("aio")) {
      Thread.ofPlatform().daemon().start(write);
    } else {
      write.run();
    }
    return JsonNodeFactory.instance.textNode("");
  }

  static JsonNode done() {
    return QmpServer.object();
  }

  private static void hang() {
    while (true) {
      try {
        Thread.sleep(Long.MAX_VALUE);
      } catch (InterruptedException e) {
        // A hung QEMU would not care either.
      }
    }
  }

  private JsonNode status() {
    RunState state = machine.state();
    return QmpServer.object()
        .put("status", state.qmp())
        .put("singlestep", false)
        .put("running", state == RunState.RUNNING);
  }

  private JsonNode cont() throws QmpError {
    switch (machine.state()) {
      case RUNNING -> {}
      case INMIGRATE, FINISH_MIGRATE -> throw new QmpError("Migration is not finalized yet");
      case SHUTDOWN -> throw new QmpError("Resetting the Virtual Machine is required");
      case PRELAUNCH, PAUSED, POSTMIGRATE, PANICKED -> {
        if (incoming != null && machine.faults.has("refuse-activate")) {
          throw new QmpError("fault: disks refused");
        }
        machine.run();
      }
    }
    return done();
  }

  private JsonNode migrationCommand(String command, JsonNode arguments) throws QmpError {
    return switch (command) {
      case "migrate-set-capabilities" -> {
        if (isSending()) {
          throw new QmpError("There's a migration process in progress");
        }
        for (JsonNode one : arguments.path("capabilities")) {
          migration.set(one.path("capability").asText(), one.path("state").asBoolean());
        }
        yield done();
      }
      case "migrate-set-parameters" -> {
        if (arguments.has("max-bandwidth")) {
          migration.bandwidth(arguments.path("max-bandwidth").asLong());
        }
        if (arguments.has("downtime-limit")) {
          migration.downtimeMillis(arguments.path("downtime-limit").asLong());
        }
        yield done();
      }
      case "migrate" -> migrate(unixPath(arguments));
      case "migrate-incoming" -> receive(unixPath(arguments));
      case "migrate-continue" -> {
        Outgoing sending = outgoing;
        if (sending == null) {
          throw new QmpError("Migration not in expected state: none");
        }
        sending.goOn(arguments.path("state").asText());
        yield done();
      }
      case "migrate_cancel" -> {
        Outgoing sending = outgoing;
        if (sending != null) {
          sending.cancel();
        }
        yield done();
      }
      case "query-migrate" -> {
        Outgoing sending = outgoing;
        Incoming receiving = incoming;
        yield sending != null
            ? sending.query()
            : receiving != null ? receiving.query() : QmpServer.object();
      }
      default -> throw new QmpError("The command " + command + " has not been found");
    };
  }

  private boolean isSending() {
    Outgoing sending = outgoing;
    return sending != null && sending.underWay();
  }

  private JsonNode migrate(Path socket) throws QmpError {
    if (isSending()) {
      throw new QmpError("There's a migration process in progress");
    }
    switch (machine.state()) {
      case INMIGRATE -> throw new QmpError("Guest is waiting for an incoming migration");
      case POSTMIGRATE, FINISH_MIGRATE -> throw new QmpError("Can't migrate the vm that was sent");
      case RUNNING, PAUSED, PRELAUNCH, SHUTDOWN, PANICKED -> {}
    }
    try {
      Outgoing next = new Outgoing(machine, migration, socket);
      outgoing = next;
      machine.tell("MIGRATION", QmpServer.object().put("status", "setup"));
      next.start();
      return done();
    } catch (IOException e) {
      throw new QmpError("Failed to connect to '" + socket + "': " + e.getMessage());
    }
  }

  private JsonNode receive(Path socket) throws QmpError {
    if (machine.state() != RunState.INMIGRATE || incoming != null) {
      throw new QmpError("The incoming migration has already been started");
    }
    try {
      Incoming next = new Incoming(machine, migration, socket);
      incoming = next;
      next.start();
      return done();
    } catch (IOException e) {
      throw new QmpError("Failed to listen on '" + socket + "': " + e.getMessage());
    }
  }

  private static Path unixPath(JsonNode arguments) throws QmpError {
    String uri = arguments.path("uri").asText();
    if (!uri.startsWith("unix:")) {
      throw new QmpError("unknown migration protocol: " + uri);
    }
    return Path.of(uri.substring("unix:".length()));
  }

  static ArrayNode array() {
    return JsonNodeFactory.instance.arrayNode();
  }

  static ObjectNode object() {
    return QmpServer.object();
  }
}
