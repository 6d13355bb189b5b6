package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdUri;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Commands about mirrors of disks and the NBD nodes they go to. */
final class MirrorCommands {
  /** QEMU waits for ever. */
  private static final Duration FOR_EVER = Duration.ofDays(1);

  private final Machine machine;
  private final BitmapCommands bitmaps;
  private final Map<String, NbdClient> targets = new ConcurrentHashMap<>();
  private final Map<String, MirrorJob> jobs = new ConcurrentHashMap<>();

  MirrorCommands(Machine machine, BitmapCommands bitmaps) {
    this.machine = machine;
    this.bitmaps = bitmaps;
  }

  JsonNode run(String command, JsonNode arguments) throws QmpError {
    switch (command) {
      case "blockdev-add" -> add(arguments);
      case "blockdev-del" -> remove(arguments.path("node-name").asText());
      case "blockdev-mirror" -> mirror(arguments);
      case "block-job-cancel" ->
          job(arguments.path("device").asText()).cancel(arguments.path("force").asBoolean());
      case "job-dismiss" -> {
        MirrorJob job = job(arguments.path("id").asText());
        if (!job.concluded()) {
          throw new QmpError("Job '" + job.id() + "' cannot accept command verb 'dismiss'");
        }
        jobs.remove(job.id());
      }
      case "query-jobs" -> {
        ArrayNode answer = QmpCommands.array();
        jobs.values().forEach(job -> answer.add(job.query()));
        return answer;
      }
      default -> throw new QmpError("The command " + command + " has not been found");
    }
    return QmpCommands.done();
  }

  private void add(JsonNode arguments) throws QmpError {
    String node = arguments.path("node-name").asText();
    if (!arguments.path("driver").asText().equals("nbd")
        || !arguments.path("server").path("type").asText().equals("unix")) {
      throw new QmpError("only NBD on Unix sockets is supported here");
    }
    if (targets.containsKey(node)) {
      throw new QmpError("Duplicate nodes with node-name='" + node + "'");
    }
    NbdUri uri =
        NbdUri.unix(
            Path.of(arguments.path("server").path("path").asText()),
            arguments.path("export").asText());
    try {
      targets.put(
          node, NbdClient.connect(uri, NbdClient.Options.DEFAULT.withRequestTimeout(FOR_EVER)));
    } catch (IOException e) {
      throw new QmpError("Failed to connect to '" + uri + "': " + e.getMessage());
    }
  }

  private void remove(String node) throws QmpError {
    if (jobs.values().stream().anyMatch(job -> job.uses(node))) {
      throw new QmpError("Node '" + node + "' is busy: block device is in use by block job");
    }
    NbdClient target = target(node);
    targets.remove(node);
    target.close();
  }

  boolean hasTarget(String node) {
    return targets.containsKey(node);
  }

  private NbdClient target(String node) throws QmpError {
    NbdClient target = targets.get(node);
    if (target == null) {
      throw new QmpError("Failed to find node with node-name='" + node + "'");
    }
    return target;
  }

  private MirrorJob job(String id) throws QmpError {
    MirrorJob job = jobs.get(id);
    if (job == null) {
      throw new QmpError("Block job '" + id + "' not found");
    }
    return job;
  }

  private void mirror(JsonNode arguments) throws QmpError {
    if (!arguments.path("sync").asText().equals("none")
        || !arguments.path("copy-mode").asText().equals("write-blocking")
        || arguments.path("auto-dismiss").asBoolean(true)) {
      throw new QmpError("this kind of mirror is not supported here");
    }
    GuestDisk disk = bitmaps.disk(arguments.path("device").asText());
    String targetNode = arguments.path("target").asText();
    NbdClient target = target(targetNode);
    if (target.size() != disk.size) {
      throw new QmpError("Source and target image have different sizes");
    }
    if (jobs.values().stream().anyMatch(job -> job.isOn(disk) || job.uses(targetNode))) {
      throw new QmpError("Node '" + disk.node() + "' is in use by block job");
    }
    MirrorJob job =
        new MirrorJob(machine, arguments.path("job-id").asText(), disk, targetNode, target);
    if (jobs.putIfAbsent(job.id(), job) != null) {
      throw new QmpError("Job ID '" + job.id() + "' already in use");
    }
    job.start();
  }

  void describeTargets(ArrayNode nodes) {
    targets.keySet().forEach(node -> nodes.addObject().put("node-name", node).put("drv", "nbd"));
  }

  /** Breaks the connections of nodes at once; not behind whatever else the monitors do. */
  JsonNode yank(JsonNode instances) throws QmpError {
    for (JsonNode instance : instances) {
      if (!instance.path("type").asText().equals("block-node")
          || !targets.containsKey(instance.path("node-name").asText())) {
        throw new QmpError("Instance not found");
      }
    }
    for (JsonNode instance : instances) {
      NbdClient target = targets.get(instance.path("node-name").asText());
      if (target != null) {
        target.abort();
      }
    }
    return QmpCommands.done();
  }
}
