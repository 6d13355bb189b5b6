package io.xenferry.qemu;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The images of a guest's disks. What a device has is a node of the disk's name, a filter for qcow2
 * disks; beneath it is the image that is written, and beneath that one the others, which QEMU opens
 * as the images' headers say.
 */
final class DiskImages {
  private static final Logger log = LoggerFactory.getLogger(DiskImages.class);
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Set<String> FORMATS = Set.of("qcow2", "raw");

  /** QEMU's limit is 31. */
  private static final int NAME_LENGTH = 30;

  private final Monitor monitor;

  DiskImages(Monitor monitor) {
    this.monitor = monitor;
  }

  /** One transaction: all disks or none. */
  void change(List<Guest.NextImage> images) throws HypervisorException, InterruptedException {
    List<Map<String, Object>> actions = new ArrayList<>();
    for (Guest.NextImage image : images) {
      if (!of(image.device()).equals(image.now())) {
        throw new HypervisorException(
            Kind.REFUSED, image.device() + " of the guest is not on " + image.now());
      }
      actions.add(
          Map.of(
              "type",
              "blockdev-snapshot-sync",
              "data",
              Map.of(
                  "node-name",
                  node(image.now()),
                  "snapshot-file",
                  image.next().toString(),
                  "snapshot-node-name",
                  name(image.next()),
                  "format",
                  "qcow2",
                  "mode",
                  "existing")));
    }
    monitor.execute("transaction", Map.of("actions", actions));
  }

  private static String name(Path image) {
    String digest =
        UUID.nameUUIDFromBytes(image.toString().getBytes(StandardCharsets.UTF_8)).toString();
    return "i" + digest.replace("-", "").substring(0, NAME_LENGTH - 1);
  }

  /**
   * The node of an image; its file's node has the same file name and another driver, and so may a
   * disk's topmost one.
   */
  String node(Path image) throws HypervisorException, InterruptedException {
    return find(image)
        .orElseThrow(
            () -> new HypervisorException(Kind.REFUSED, "the guest has no image " + image));
  }

  /** Whether an image is open. */
  boolean has(Path image) throws HypervisorException, InterruptedException {
    return find(image).isPresent();
  }

  private Optional<String> find(Path image) throws HypervisorException, InterruptedException {
    Optional<String> topmost = Optional.empty();
    for (JsonNode node : nodes()) {
      if (FORMATS.contains(node.path("drv").asText()) && file("a node", node).equals(image)) {
        String name = node.path("node-name").asText();
        if (!name.startsWith(GuestLauncher.nodeName(""))) {
          return Optional.of(name);
        }
        topmost = Optional.of(name);
      }
    }
    return topmost;
  }

  private JsonNode nodes() throws HypervisorException, InterruptedException {
    return monitor.execute("query-named-block-nodes", Map.of("flat", true));
  }

  /** What the device has, whatever is beneath it. */
  private JsonNode top(String device) throws HypervisorException, InterruptedException {
    String name = GuestLauncher.nodeName(device);
    for (JsonNode node : nodes()) {
      if (node.path("node-name").asText().equals(name)) {
        return node;
      }
    }
    throw new HypervisorException(Kind.REFUSED, "the guest has no disk " + device);
  }

  Path of(String device) throws HypervisorException, InterruptedException {
    return file(device, top(device));
  }

  /**
   * Puts another image beneath a disk's topmost node, which keeps its name; what was there is
   * closed.
   */
  void replace(GuestSpec.Disk next) throws HypervisorException, InterruptedException {
    JsonNode top = top(next.device());
    Path before = file(next.device(), top);
    if (before.equals(next.file())) {
      return;
    }
    String added = name(next.file());
    // From a server that died here.
    drop(added);
    monitor.execute("blockdev-add", QemuDevices.layer(added, next));
    try {
      monitor.execute(
          "blockdev-reopen",
          Map.of(
              "options",
              List.of(
                  QemuDevices.topNode(
                      next.device(), top.path("drv").asText(), next.readOnly(), added))));
    } catch (HypervisorException e) {
      if (e.kind() == Kind.REFUSED) {
        drop(added);
      }
      throw e;
    }
    // What the command line has opened is closed by itself.
    drop(name(before));
  }

  /**
   * Opens an image in another way, whose node QEMU has named: {@code blockdev-reopen} refuses such
   * names. What is asked for is of no matter for what the image holds, so QEMU may refuse.
   *
   * @param options as {@code discard=unmap}
   */
  void reopen(Path image, String options) throws HypervisorException, InterruptedException {
    String line = "qemu-io \"" + node(image) + "\" \"reopen -o " + options + "\"";
    String said =
        monitor.execute("human-monitor-command", Map.of("command-line", line)).asText().strip();
    if (!said.isEmpty()) {
      log.info("{} is not opened with {}: {}", image, options, said);
    }
  }

  /** Closes an image that no disk has any more; one that is not there is none. */
  private void drop(String name) throws HypervisorException, InterruptedException {
    for (JsonNode node : nodes()) {
      if (node.path("node-name").asText().equals(name)) {
        monitor.execute("blockdev-del", Map.of("node-name", name));
      }
    }
  }

  /**
   * Where a node's bytes are. What has options, is a filter, or rests on another image than its
   * header said when it was opened, has a name of the form {@code json:{…}} with the file's.
   */
  private Path file(String device, JsonNode node) throws HypervisorException, InterruptedException {
    String name = node.path("image").path("filename").asText();
    if (!name.startsWith("json:")) {
      return Path.of(name);
    }
    try {
      JsonNode at = JSON.readTree(name.substring("json:".length()));
      // The filter of a merge under way has what it filters as its backing, and no file.
      while (at.has("file") || at.has("backing")) {
        at = at.path(at.has("file") ? "file" : "backing");
      }
      if (at.has("filename")) {
        return Path.of(at.path("filename").asText());
      }
    } catch (JsonProcessingException e) {
      log.debug("{}: its name is cut short, beyond 4 KiB: {}", device, name, e);
      return fileBelow(device, node.path("node-name").asText());
    }
    throw strange(device, name);
  }

  /** By the graph of nodes, which is not stable (x-): only where the name does not tell. */
  private Path fileBelow(String device, String top)
      throws HypervisorException, InterruptedException {
    Map<String, String> names = new HashMap<>();
    Map<String, String> files = new HashMap<>();
    JsonNode graph = monitor.execute("x-debug-query-block-graph");
    for (JsonNode node : graph.path("nodes")) {
      names.put(node.path("id").asText(), node.path("name").asText());
    }
    for (JsonNode edge : graph.path("edges")) {
      if (edge.path("name").asText().equals("file")) {
        files.put(
            names.getOrDefault(edge.path("parent").asText(), ""),
            names.getOrDefault(edge.path("child").asText(), ""));
      }
    }
    String lowest = top;
    for (int steps = 0; files.containsKey(lowest) && steps <= files.size(); steps++) {
      lowest = files.getOrDefault(lowest, "");
    }
    for (JsonNode node : nodes()) {
      String name = node.path("image").path("filename").asText();
      if (node.path("node-name").asText().equals(lowest) && !name.startsWith("json:")) {
        return Path.of(name);
      }
    }
    throw strange(device, top);
  }

  private static HypervisorException strange(String device, String name) {
    return new HypervisorException(Kind.PROTOCOL, device + ": strange image " + name);
  }

  void resize(String device, long bytes) throws HypervisorException, InterruptedException {
    monitor.execute(
        "block_resize", Map.of("node-name", GuestLauncher.nodeName(device), "size", bytes));
  }
}
