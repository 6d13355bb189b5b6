package io.xenferry.server.migration;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.event.Alert;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.vm.VmRecords;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Messages about a VM and its snapshots, the oldest first: they go along with the VM, the newest of
 * them if there are many. The source keeps them, as its own past.
 */
record VmMessages(List<Said> all) {
  static final VmMessages NONE = new VmMessages(List.of());

  private static final Logger LOG = LoggerFactory.getLogger(VmMessages.class);

  /** Each is a file that is made durable by itself. */
  private static final int MOST = 100;

  /** No move waits for longer, nor fails, for want of messages. */
  private static final Duration PATIENCE = Duration.ofSeconds(5);

  private static final int CHARACTERS = 1 << 20;
  private static final String CLASS = "VM";

  /** One of them, and the uuid of the VM or snapshot. */
  record Said(UUID about, Alerts.Foreign message) {
    int characters() {
      return message.name().length() + message.body().length();
    }
  }

  /** The uuids of a VM and its snapshots. */
  static Set<UUID> objects(Snapshot db, Ref<VM> vm) throws XenApiException {
    Set<UUID> objects = new HashSet<>();
    objects.add(UUID.fromString(db.get(vm, VM.UUID)));
    for (Ref<VM> snapshot : db.get(vm, VM.SNAPSHOTS)) {
      objects.add(UUID.fromString(db.get(snapshot, VM.UUID)));
    }
    return objects;
  }

  static VmMessages about(Set<UUID> objects, Alerts alerts) {
    List<Said> all = new ArrayList<>();
    int characters = 0;
    for (Alert alert : alerts.all().reversed()) {
      if (isAbout(objects, alert)) {
        Said said =
            new Said(
                UUID.fromString(alert.object()),
                new Alerts.Foreign(
                    alert.ref(),
                    alert.uuid(),
                    alert.name(),
                    alert.priority(),
                    alert.timestamp(),
                    alert.body()));
        characters += said.characters();
        if (all.size() == MOST || characters > CHARACTERS) {
          break;
        }
        all.addFirst(said);
      }
    }
    return new VmMessages(List.copyOf(all));
  }

  private static boolean isAbout(Set<UUID> objects, Alert alert) {
    return alert.of().equals(CLASS)
        && objects.stream().anyMatch(object -> object.toString().equals(alert.object()));
  }

  void write(ObjectNode root) {
    ArrayNode nodes = root.putArray("messages");
    for (Said said : all) {
      Alerts.Foreign m = said.message();
      nodes
          .addObject()
          .put("about", said.about().toString())
          .put("ref", m.ref())
          .put("uuid", m.uuid())
          .put("name", m.name())
          .put("priority", m.priority())
          .put("timestamp", m.timestamp().toString())
          .put("body", m.body());
    }
  }

  /**
   * @throws IllegalArgumentException when a peer sent nonsense, or too much
   */
  static VmMessages read(JsonNode root) {
    List<Said> all = new ArrayList<>();
    int characters = 0;
    for (JsonNode node : root.path("messages")) {
      String ref = node.path("ref").asText();
      if (!ref.matches("OpaqueRef:[0-9a-f-]{36}")) {
        throw new IllegalArgumentException("a message has no reference");
      }
      Said said =
          new Said(
              UUID.fromString(node.path("about").asText()),
              new Alerts.Foreign(
                  ref,
                  UUID.fromString(node.path("uuid").asText()).toString(),
                  node.path("name").asText(),
                  node.path("priority").asLong(),
                  instant(node.path("timestamp").asText()),
                  node.path("body").asText()));
      characters += said.characters();
      all.add(said);
      if (all.size() > MOST || characters > CHARACTERS) {
        throw new IllegalArgumentException("the VM brings too many messages");
      }
    }
    return new VmMessages(List.copyOf(all));
  }

  private static Instant instant(String text) {
    try {
      return Instant.parse(text);
    } catch (DateTimeException e) {
      throw new IllegalArgumentException("a message has no time", e);
    }
  }

  /** The references of those about objects that come, and that are not here already. */
  Set<String> absent(Set<UUID> objects, Alerts alerts) {
    Set<String> here = new HashSet<>();
    for (Alert alert : alerts.all()) {
      here.add(alert.ref());
      here.add(alert.uuid());
    }
    Set<String> absent = new LinkedHashSet<>();
    for (Said said : all) {
      if (objects.contains(said.about())
          && !here.contains(said.message().ref())
          && !here.contains(said.message().uuid())) {
        absent.add(said.message().ref());
      }
    }
    return absent;
  }

  /** Keeps those of some references; one that cannot be kept fails no move. */
  void keep(Set<String> refs, Alerts alerts) {
    int taken = 0;
    long began = System.nanoTime();
    try {
      for (Said said : all) {
        if (System.nanoTime() - began > PATIENCE.toNanos()) {
          LOG.warn("of {} messages of a VM that arrives {} are kept", all.size(), taken);
          break;
        }
        if (refs.contains(said.message().ref())
            && alerts.take(said.message(), CLASS, said.about().toString())) {
          taken++;
        }
      }
    } catch (XenApiException e) {
      LOG.warn("messages of a VM that arrives are not kept", e);
    }
  }

  /** Those that are noted in the record of a VM that has come, and is not to be here. */
  static void discardNoted(Snapshot db, Ref<VM> vm, Alerts alerts) throws XenApiException {
    String noted = db.get(vm, VM.OTHER_CONFIG).get(VmRecords.MESSAGES_KEY);
    if (noted != null) {
      discard(Set.of(noted.split(" ")), alerts);
    }
  }

  /** Those of a VM that has come, and is not to be here. */
  static void discard(Set<String> taken, Alerts alerts) {
    try {
      alerts.destroyIf(alert -> taken.contains(alert.ref()));
    } catch (XenApiException e) {
      LOG.warn("messages of a VM that is not here stay", e);
    }
  }
}
