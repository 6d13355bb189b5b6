package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdUri;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Commands about mirrors of disks and the nodes they go to: a {@code raw} one, over {@code nbd} or,
 * later, {@code null-co}.
 */
final class MirrorCommands {
  /** QEMU waits for ever. */
  private static final Duration FOR_EVER = Duration.ofDays(1);

  private final Machine machine;
  private final BitmapCommands bitmaps;
  private final Map<String, NbdClient> relays = new ConcurrentHashMap<>();
  private final Set<String> sewers = ConcurrentHashMap.newKeySet();

  /** Each with the node beneath it. */
  private final Map<String, String> targets = new ConcurrentHashMap<>();

  private final Map<String, MirrorJob> jobs = new ConcurrentHashMap<>();

  MirrorCommands(Machine machine, BitmapCommands bitmaps) {
    this.machine = machine;
    this.bitmaps = bitmaps;
  }

  JsonNode run(String command, JsonNode arguments) throws QmpError {
    switch (command) {
      case "blockdev-add" -> add(arguments);
      case "blockdev-del" -> remove(arguments.path("node-name").asText());
      case "blockdev-reopen" -> reopen(arguments.path("options").path(0));
      case "blockdev-mirror" -> mirror(arguments);
      case "block-job-resume" -> job(arguments.path("device").asText()).resume();
      case "block-job-cancel" -> cancel(arguments);
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

  /** By force is what crashes QEMU under load: nobody shall do it. */
  private void cancel(JsonNode arguments) throws QmpError {
    if (arguments.path("force").asBoolean()) {
      throw new QmpError("a mirror is not cancelled by force here");
    }
    job(arguments.path("device").asText()).cancel();
  }

  /** Whether a command about nodes is about those of mirrors. */
  boolean concerns(JsonNode arguments) {
    String driver = arguments.path("driver").asText();
    return driver.equals("nbd")
        || driver.equals("null-co")
        || relays.containsKey(arguments.path("file").asText())
        || has(arguments.path("node-name").asText())
        || targets.containsKey(arguments.path("options").path(0).path("node-name").asText());
  }

  private boolean has(String node) {
    return relays.containsKey(node) || sewers.contains(node) || targets.containsKey(node);
  }

  private void add(JsonNode arguments) throws QmpError {
    String node = arguments.path("node-name").asText();
    if (has(node)) {
      throw new QmpError("Duplicate nodes with node-name='" + node + "'");
    }
    switch (arguments.path("driver").asText()) {
      case "nbd" -> relays.put(node, connect(arguments));
      case "null-co" -> sewers.add(node);
      case "raw" -> targets.put(node, arguments.path("file").asText());
      default -> throw new QmpError("this driver is not supported here");
    }
  }

  private static NbdClient connect(JsonNode arguments) throws QmpError {
    if (!arguments.path("server").path("type").asText().equals("unix")) {
      throw new QmpError("only NBD on Unix sockets is supported here");
    }
    NbdUri uri =
        NbdUri.unix(
            Path.of(arguments.path("server").path("path").asText()),
            arguments.path("export").asText());
    try {
      return NbdClient.connect(uri, NbdClient.Options.DEFAULT.withRequestTimeout(FOR_EVER));
    } catch (IOException e) {
      throw new QmpError("Failed to connect to '" + uri + "': " + e.getMessage());
    }
  }

  private void remove(String node) throws QmpError {
    if (jobs.values().stream().anyMatch(job -> job.uses(node)) || targets.containsValue(node)) {
      throw new QmpError("Node '" + node + "' is busy: node is used as 'file'");
    }
    if (targets.remove(node) != null || sewers.remove(node)) {
      return;
    }
    NbdClient relay = relays.remove(node);
    if (relay == null) {
      throw notFound(node);
    }
    relay.close();
  }

  private static QmpError notFound(String node) {
    return new QmpError("Failed to find node with node-name='" + node + "'");
  }

  private void reopen(JsonNode options) throws QmpError {
    String file = options.path("file").asText();
    if (!sewers.contains(file)) {
      throw notFound(file);
    }
    String target = options.path("node-name").asText();
    targets.put(target, file);
    jobs.values().stream().filter(job -> job.uses(target)).forEach(MirrorJob::leadAway);
  }

  private NbdClient relayOf(String target) throws QmpError {
    NbdClient relay = relays.get(targets.getOrDefault(target, ""));
    if (relay == null) {
      throw notFound(target);
    }
    return relay;
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
        || !arguments.path("on-target-error").asText().equals("stop")
        || arguments.path("auto-dismiss").asBoolean(true)) {
      throw new QmpError("this kind of mirror is not supported here");
    }
    GuestDisk disk = bitmaps.disk(arguments.path("device").asText());
    String targetNode = arguments.path("target").asText();
    NbdClient target = relayOf(targetNode);
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
    targets.keySet().forEach(node -> nodes.addObject().put("node-name", node).put("drv", "raw"));
    relays.keySet().forEach(node -> nodes.addObject().put("node-name", node).put("drv", "nbd"));
    sewers.forEach(node -> nodes.addObject().put("node-name", node).put("drv", "null-co"));
  }

  /** Breaks the connections of nodes at once; not behind whatever else the monitors do. */
  JsonNode yank(JsonNode instances) throws QmpError {
    for (JsonNode instance : instances) {
      if (!instance.path("type").asText().equals("block-node")
          || !relays.containsKey(instance.path("node-name").asText())) {
        throw new QmpError("Instance not found");
      }
    }
    for (JsonNode instance : instances) {
      NbdClient relay = relays.get(instance.path("node-name").asText());
      if (relay != null) {
        relay.abort();
      }
    }
    return QmpCommands.done();
  }
}
