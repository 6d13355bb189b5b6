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
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * The images of a guest's disks. What a device has is a node of the disk's name, a filter for qcow2
 * disks; beneath it is the image that is written, and beneath that one the others, which QEMU opens
 * as the images' headers say.
 */
final class DiskImages {
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
  private String node(Path image) throws HypervisorException, InterruptedException {
    Optional<String> topmost = Optional.empty();
    for (JsonNode node : nodes()) {
      if (FORMATS.contains(node.path("drv").asText()) && file("a node", node).equals(image)) {
        String name = node.path("node-name").asText();
        if (!name.startsWith(GuestLauncher.nodeName(""))) {
          return name;
        }
        topmost = Optional.of(name);
      }
    }
    return topmost.orElseThrow(
        () -> new HypervisorException(Kind.REFUSED, "the guest has no image " + image));
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

  /** Closes an image that no disk has any more; one that is not there is none. */
  private void drop(String name) throws HypervisorException, InterruptedException {
    for (JsonNode node : nodes()) {
      if (node.path("node-name").asText().equals(name)) {
        monitor.execute("blockdev-del", Map.of("node-name", name));
      }
    }
  }

  private static Path file(String device, JsonNode node) throws HypervisorException {
    return file(device, node.path("image").path("filename").asText());
  }

  /** What has options or is a filter has a name of the form {@code json:{…}} with the file's. */
  private static Path file(String device, String name) throws HypervisorException {
    if (!name.startsWith("json:")) {
      return Path.of(name);
    }
    try {
      JsonNode at = JSON.readTree(name.substring("json:".length()));
      while (at.has("file")) {
        at = at.path("file");
      }
      if (at.has("filename")) {
        return Path.of(at.path("filename").asText());
      }
    } catch (JsonProcessingException e) {
      throw new HypervisorException(Kind.PROTOCOL, device + ": strange image " + name, e);
    }
    throw new HypervisorException(Kind.PROTOCOL, device + ": strange image " + name);
  }

  void resize(String device, long bytes) throws HypervisorException, InterruptedException {
    monitor.execute(
        "block_resize", Map.of("node-name", GuestLauncher.nodeName(device), "size", bytes));
  }
}
