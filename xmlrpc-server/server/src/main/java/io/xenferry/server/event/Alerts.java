package io.xenferry.server.event;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.model.Ref;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.UUID;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The objects of the class {@code message}, which live beside the database: a file each, and in
 * memory. Beyond a number, or so many bytes, the oldest go. Thread-safe.
 */
public final class Alerts {
  private static final Logger LOG = LoggerFactory.getLogger(Alerts.class);

  /** As many as the published server keeps. */
  static final int KEEP = 10_000;

  private static final long KEEP_BYTES = 32L << 20;

  /** Deletions that are remembered for clients which have not heard of them. */
  private static final int KEEP_GONE = 10_000;

  private static final String SUFFIX = ".json";
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path directory;
  private final Clock clock;

  /** By reference, the oldest first; guarded by this, as is what follows. */
  private final SequencedMap<String, Alert> live = new LinkedHashMap<>();

  private final Deque<Gone> gone = new ArrayDeque<>();
  private long bytes;
  private long generation;
  private Runnable listener = () -> {};

  /** One that was destroyed. */
  private record Gone(String ref, long created, long generation) {}

  /**
   * What happened to one.
   *
   * @param alert empty when it is gone
   */
  record Change(String ref, long generation, Optional<Alert> alert) {}

  /**
   * What happened since a generation.
   *
   * @param generation up to which it is told
   */
  record Told(long generation, List<Change> changes) {}

  /** Takes up those of a server before this one. */
  public Alerts(Path directory, Clock clock) throws IOException {
    this.directory = directory;
    this.clock = clock;
    Files.createDirectories(directory);
    List<Alert> found = new ArrayList<>();
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        if (file.toString().endsWith(SUFFIX)) {
          read(file).ifPresent(found::add);
        } else {
          Files.deleteIfExists(file); // half written
        }
      }
    }
    found.sort(Comparator.comparingLong(Alert::generation));
    for (Alert alert : found) {
      live.put(alert.ref(), alert);
      bytes += alert.size();
      generation = alert.generation();
    }
    // Later than whatever a former server has told.
    generation = Math.max(generation, now());
  }

  /** Told of each change, on the thread that makes it; must not block. */
  synchronized void onChange(Runnable action) {
    listener = action;
  }

  private static Optional<Alert> read(Path file) {
    try {
      JsonNode json = JSON.readTree(file.toFile());
      return Optional.of(
          new Alert(
              json.required("ref").asText(),
              json.required("uuid").asText(),
              json.required("name").asText(),
              json.required("priority").asLong(),
              json.required("cls").asText(),
              json.required("obj_uuid").asText(),
              Instant.parse(json.required("timestamp").asText()),
              json.required("body").asText(),
              json.required("generation").asLong()));
    } catch (IOException | RuntimeException e) {
      LOG.warn("the message in {} cannot be read and is left alone", file, e);
      return Optional.empty();
    }
  }

  private long now() {
    return ChronoUnit.MICROS.between(Instant.EPOCH, clock.instant());
  }

  private long next() {
    generation = Math.max(generation + 1, now());
    return generation;
  }

  /**
   * Keeps a new one durably.
   *
   * @throws XenApiException INTERNAL_ERROR when it cannot be written
   */
  public synchronized Alert create(
      String name, long priority, String of, String object, String body) throws XenApiException {
    return keep(
        new Foreign(
            Ref.random().opaque(),
            UUID.randomUUID().toString(),
            name,
            priority,
            clock.instant().truncatedTo(ChronoUnit.SECONDS),
            body),
        of,
        object);
  }

  /** What comes with an object from another pool. */
  public record Foreign(
      String ref, String uuid, String name, long priority, Instant timestamp, String body) {}

  /**
   * Keeps one that comes with its object, unless it is here already.
   *
   * @param message its uuid is one in the usual notation
   * @return false when it is here already
   * @throws XenApiException INTERNAL_ERROR when it cannot be written
   */
  public synchronized boolean take(Foreign message, String of, String object)
      throws XenApiException {
    if (live.containsKey(message.ref())
        || live.values().stream().anyMatch(alert -> alert.uuid().equals(message.uuid()))) {
      return false;
    }
    keep(message, of, object);
    return true;
  }

  private Alert keep(Foreign message, String of, String object) throws XenApiException {
    Alert alert =
        new Alert(
            message.ref(),
            message.uuid(),
            message.name(),
            message.priority(),
            of,
            object,
            message.timestamp(),
            message.body(),
            next());
    write(alert);
    live.put(alert.ref(), alert);
    bytes += alert.size();
    while (live.size() > KEEP || (bytes > KEEP_BYTES && live.size() > 1)) {
      remove(live.firstEntry().getValue());
    }
    listener.run();
    return alert;
  }

  private void write(Alert alert) throws XenApiException {
    ObjectNode json = JSON.createObjectNode();
    json.put("ref", alert.ref());
    json.put("uuid", alert.uuid());
    json.put("name", alert.name());
    json.put("priority", alert.priority());
    json.put("cls", alert.of());
    json.put("obj_uuid", alert.object());
    json.put("timestamp", alert.timestamp().toString());
    json.put("body", alert.body());
    json.put("generation", alert.generation());
    Path file = file(alert);
    Path half = directory.resolve(alert.uuid() + ".new");
    try (FileChannel out =
        FileChannel.open(half, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      ByteBuffer text = ByteBuffer.wrap(JSON.writeValueAsBytes(json));
      while (text.hasRemaining()) {
        out.write(text);
      }
      out.force(false);
      Files.move(half, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw new XenApiException("INTERNAL_ERROR", "the message cannot be kept: " + e).withCause(e);
    }
  }

  private Path file(Alert alert) {
    return directory.resolve(alert.uuid() + SUFFIX);
  }

  private void remove(Alert alert) throws XenApiException {
    try {
      Files.deleteIfExists(file(alert));
    } catch (IOException e) {
      throw new XenApiException("INTERNAL_ERROR", "the message stays: " + e).withCause(e);
    }
    live.remove(alert.ref());
    bytes -= alert.size();
    gone.addLast(new Gone(alert.ref(), alert.generation(), next()));
    if (gone.size() > KEEP_GONE) {
      gone.removeFirst();
    }
  }

  /**
   * Destroys all of these, or none when one does not exist.
   *
   * @throws XenApiException HANDLE_INVALID
   */
  public synchronized void destroy(List<String> refs) throws XenApiException {
    for (String ref : refs) {
      get(ref);
    }
    for (String ref : refs) {
      Alert alert = live.get(ref);
      if (alert != null) { // named twice
        remove(alert);
      }
    }
    listener.run();
  }

  /** Destroys those that are wanted. */
  public synchronized void destroyIf(Predicate<Alert> wanted) throws XenApiException {
    for (Alert alert : List.copyOf(live.values())) {
      if (wanted.test(alert)) {
        remove(alert);
      }
    }
    listener.run();
  }

  /**
   * @throws XenApiException HANDLE_INVALID
   */
  public synchronized Alert get(String ref) throws XenApiException {
    Alert alert = live.get(ref);
    if (alert == null) {
      throw new XenApiException("HANDLE_INVALID", "message", ref);
    }
    return alert;
  }

  /** All, the oldest first. */
  public synchronized List<Alert> all() {
    return List.copyOf(live.values());
  }

  synchronized long generation() {
    return generation;
  }

  /** What is new since a generation; nothing of what came and went since. */
  synchronized Told told(long since) {
    List<Change> changes = new ArrayList<>();
    for (Gone g : gone) {
      if (g.generation() > since && g.created() <= since) {
        changes.add(new Change(g.ref(), g.generation(), Optional.empty()));
      }
    }
    for (Map.Entry<String, Alert> e : live.reversed().entrySet()) {
      if (e.getValue().generation() <= since) {
        break;
      }
      changes.addFirst(
          new Change(e.getKey(), e.getValue().generation(), Optional.of(e.getValue())));
    }
    return new Told(generation, changes);
  }
}
