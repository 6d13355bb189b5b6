package io.xenferry.server.event;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.session.Sessions;
import io.xenferry.wire.Content;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;

/**
 * Events, derived from the database's generations: nothing is queued for anybody. A waiting call is
 * woken by the next commit, or by the end of its session. Thread-safe; any number of calls wait at
 * once, on virtual threads.
 */
public final class Events implements AutoCloseable {

  /**
   * A burst of changes is an answer at most this often, as with the published server: no call is
   * answered sooner after it came, but one that has waited longer is told at once.
   */
  private static final Duration BATCH = Duration.ofMillis(50);

  /** What belongs to one change is often more than one commit. */
  private static final Duration GATHER = Duration.ofMillis(2);

  private static final Duration LONGEST = Duration.ofHours(24);

  /** What event.from has in place of a time, as with the published server. */
  private static final String NO_TIME = "0.0";

  /** The class of objects that are beside the database. */
  private static final String ALERTS = "message";

  private final ObjectDatabase db;
  private final Schema schema;
  private final Sessions sessions;
  private final Clock clock;
  private final Alerts alerts;
  private final ObjectDatabase.Registration registration;
  private final Map<String, Registered> registered = new ConcurrentHashMap<>();
  // Whoever waits, waits for this; every wake-up replaces it before it completes the old one.
  private CompletableFuture<Void> next = new CompletableFuture<>();
  private boolean closed;

  /** The one subscription of a session that event.register made. */
  private record Registered(List<Subscription> subscriptions, Position told) {}

  /** Up to which generations of the database and of the alerts somebody has been told. */
  private record Position(long database, long alerts) {
    String token() {
      return String.format(Locale.ROOT, "%020d,%020d", database, alerts);
    }

    static Position of(String token) throws XenApiException {
      if (!token.matches("[0-9]{1,20},[0-9]{1,20}")) {
        throw new XenApiException("EVENT_FROM_TOKEN_PARSE_FAILURE", token);
      }
      int comma = token.indexOf(',');
      try {
        return new Position(
            Long.parseLong(token.substring(0, comma)), Long.parseLong(token.substring(comma + 1)));
      } catch (NumberFormatException e) {
        throw new XenApiException("EVENT_FROM_TOKEN_PARSE_FAILURE", token).withCause(e);
      }
    }
  }

  public Events(ObjectDatabase db, Schema schema, Sessions sessions, Alerts alerts, Clock clock) {
    this.alerts = alerts;
    alerts.onChange(this::wake);
    this.clock = clock;
    this.db = db;
    this.schema = schema;
    this.sessions = sessions;
    this.registration = db.onCommit(snapshot -> wake());
    sessions.onEnd(ref -> {
      registered.remove(ref);
      wake();
    });
  }

  private void wake() {
    CompletableFuture<Void> old;
    synchronized (this) {
      old = next;
      next = new CompletableFuture<>();
    }
    if (old.getNumberOfDependents() == 0) {
      old.complete(null); // nobody waits yet, and whoever does from now on has to look at once
      return;
    }
    // Off the committing thread: completing runs no waiter, but may be many of them to unpark. Not
    // in the common pool: it has one thread on a small machine, which anybody may hold.
    Thread.ofVirtual().name("events").start(() -> old.complete(null));
  }

  private synchronized CompletableFuture<Void> nextWake() {
    return next;
  }

  /**
   * event.from.
   *
   * @param token from a former call, or empty for everything there is
   * @param timeoutSeconds what no time span is becomes a day
   */
  public Content from(String session, List<String> classes, String token, double timeoutSeconds)
      throws XenApiException, InterruptedException {
    List<Subscription> subscriptions = Subscription.parse(classes);
    Position since = token.isEmpty() ? new Position(0, 0) : Position.of(token);
    Duration timeout =
        timeoutSeconds >= 0 && timeoutSeconds < LONGEST.toSeconds()
            ? Duration.ofNanos((long) (timeoutSeconds * 1e9))
            : LONGEST;
    long begun = System.nanoTime();
    long deadline = begun + timeout.toNanos();
    if (token.isEmpty()) {
      Alerts.Told said = alerts.told(0);
      Snapshot snapshot = db.snapshot();
      List<Content> messages = contents(said, subscriptions, NO_TIME);
      Iterable<Content> everything = everything(messages, snapshot, subscriptions);
      since = new Position(snapshot.generation(), said.generation());
      if (everything.iterator().hasNext()) {
        return answer(everything, snapshot, since);
      }
      // There is nothing yet: wait for the first of it.
    }
    long seen = since.database();
    while (true) {
      CompletableFuture<Void> wake = nextWake();
      requireLive(session);
      Snapshot snapshot = db.snapshot();
      if (!changes(snapshot, subscriptions, seen).isEmpty()
          || !contents(alerts.told(since.alerts()), subscriptions, NO_TIME).isEmpty()) {
        long now = System.nanoTime();
        long gather = Math.max(GATHER.toNanos(), begun + BATCH.toNanos() - now);
        long left = deadline - now;
        if (left > 0) {
          Thread.sleep(Duration.ofNanos(Math.min(left, gather)));
        }
        requireLive(session);
        Alerts.Told said = alerts.told(since.alerts());
        Snapshot batched = db.snapshot();
        List<Content> all = contents(said, subscriptions, NO_TIME);
        all.addAll(contents(batched, changes(batched, subscriptions, since.database()), NO_TIME));
        if (!all.isEmpty()) {
          return answer(all, batched, new Position(batched.generation(), said.generation()));
        }
        snapshot = batched;
      }
      seen = Math.max(seen, snapshot.generation());
      if (!await(wake, deadline)) {
        return answer(List.of(), snapshot, new Position(snapshot.generation(), since.alerts()));
      }
    }
  }

  /** Whether it was woken before the deadline. */
  private boolean await(CompletableFuture<Void> wake, long deadline)
      throws InterruptedException, XenApiException {
    synchronized (this) {
      if (closed) {
        throw new XenApiException("HOST_OFFLINE", "");
      }
    }
    long left = deadline - System.nanoTime();
    if (left <= 0) {
      return false;
    }
    try {
      wake.get(left, TimeUnit.NANOSECONDS);
      return true;
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  private void requireLive(String session) throws XenApiException {
    if (!sessions.isLive(session)) {
      throw new XenApiException("SESSION_INVALID", session);
    }
  }

  /** event.inject: a token from which event.from sees a change of this object. */
  public String inject(String className, String ref) throws XenApiException {
    ClassDef type =
        schema
            .findIgnoringCase(className)
            .orElseThrow(() -> new XenApiException("HANDLE_INVALID", className, ref));
    long before = db.snapshot().generation();
    db.change(tx -> {
      Schema.row(tx, type.name(), ref);
      tx.touch(type.name(), ref);
    });
    return new Position(before, alerts.generation()).token();
  }

  public void register(String session, List<String> classes) throws XenApiException {
    List<Subscription> added = Subscription.parse(classes);
    registered.compute(
        session,
        (s, old) -> {
          List<Subscription> all = new ArrayList<>(added);
          if (old != null) {
            all.addAll(old.subscriptions());
          }
          return new Registered(
              all,
              old == null
                  ? new Position(db.snapshot().generation(), alerts.generation())
                  : old.told());
        });
  }

  public void unregister(String session, List<String> classes) throws XenApiException {
    List<Subscription> removed = Subscription.parse(classes);
    registered.computeIfPresent(
        session,
        (s, old) -> {
          List<Subscription> left =
              old.subscriptions().stream().filter(x -> !removed.contains(x)).toList();
          return left.isEmpty() ? null : new Registered(left, old.told());
        });
  }

  /** event.next: waits for changes since the last answer. */
  public Content next(String session) throws XenApiException, InterruptedException {
    long deadline = System.nanoTime() + LONGEST.toNanos();
    while (true) {
      CompletableFuture<Void> wake = nextWake();
      requireLive(session);
      Registered r = registered.get(session);
      if (r == null) {
        throw new XenApiException("SESSION_NOT_REGISTERED", session);
      }
      Alerts.Told said = alerts.told(r.told().alerts());
      Snapshot snapshot = db.snapshot();
      List<Content> all = contents(said, r.subscriptions(), now());
      all.addAll(
          contents(snapshot, changes(snapshot, r.subscriptions(), r.told().database()), now()));
      Position told = new Position(snapshot.generation(), said.generation());
      registered.computeIfPresent(session, (s, old) -> new Registered(old.subscriptions(), told));
      if (!all.isEmpty()) {
        return new Content.Items(all);
      }
      if (!await(wake, deadline)) {
        return new Content.Items(List.of());
      }
    }
  }

  /** Seconds since the epoch. */
  private String now() {
    return String.format(Locale.ROOT, "%.3f", clock.instant().toEpochMilli() / 1000.0);
  }

  public long currentId() {
    return db.snapshot().generation();
  }

  private List<Snapshot.Change> changes(
      Snapshot snapshot, List<Subscription> subscriptions, long since) {
    List<Snapshot.Change> wanted = new ArrayList<>();
    for (Snapshot.Change c : snapshot.changesSince(since)) {
      if (hasEvents(c.className())
          && Subscription.anyMatch(subscriptions, c.className(), c.ref())) {
        wanted.add(c);
      }
    }
    return wanted;
  }

  private boolean hasEvents(String className) {
    return DataModel.findClass(className).map(ClassDef::events).orElse(false);
  }

  /** Every live object as an addition, walked while it is written. */
  private Iterable<Content> everything(
      List<Content> first, Snapshot snapshot, List<Subscription> subscriptions) {
    return () -> Stream.concat(first.stream(), everything(snapshot, subscriptions)).iterator();
  }

  private Stream<Content> everything(Snapshot snapshot, List<Subscription> subscriptions) {
    return DataModel.classes().stream()
        .filter(c -> c.inDatabase() && c.events())
        .filter(c -> Subscription.anyOf(subscriptions, c.name()))
        .flatMap(c -> snapshot.rows(c.name()).stream())
        .filter(r -> Subscription.anyMatch(subscriptions, r.className(), r.ref()))
        .map(
            r -> event(Snapshot.Change.Kind.ADD, r.className(), r.ref(), r.modified(), NO_TIME, r));
  }

  /** Those come first, and have no number of their own. */
  private static List<Content> contents(
      Alerts.Told said, List<Subscription> subscriptions, String timestamp) {
    List<Content> events = new ArrayList<>();
    for (Alerts.Change c : said.changes()) {
      if (Subscription.anyMatch(subscriptions, ALERTS, c.ref())) {
        SequencedMap<String, Value> m = new LinkedHashMap<>();
        m.put("id", Value.of("0"));
        m.put("timestamp", Value.of(timestamp));
        m.put("class", Value.of(ALERTS));
        m.put("operation", Value.of(c.alert().isPresent() ? "add" : "del"));
        m.put("ref", Value.of(c.ref()));
        c.alert().ifPresent(alert -> m.put("snapshot", alert.record()));
        events.add(Content.of(new Value.Struct(m)));
      }
    }
    return events;
  }

  /** Additions, then changes, then deletions. */
  private List<Content> contents(
      Snapshot snapshot, List<Snapshot.Change> changes, String timestamp) {
    List<Content> events = new ArrayList<>();
    for (Snapshot.Change.Kind kind : Snapshot.Change.Kind.values()) {
      for (Snapshot.Change c : changes) {
        if (c.kind() != kind) {
          continue;
        }
        Row row = snapshot.row(c.className(), c.ref()).orElse(null);
        if (row != null || kind == Snapshot.Change.Kind.DEL) {
          events.add(event(kind, c.className(), c.ref(), c.generation(), timestamp, row));
        }
      }
    }
    return events;
  }

  private Content event(
      Snapshot.Change.Kind kind,
      String className,
      String ref,
      long generation,
      String timestamp,
      @org.jspecify.annotations.Nullable Row row) {
    SequencedMap<String, Value> m = new LinkedHashMap<>();
    m.put("id", Value.of(Long.toString(generation)));
    m.put("timestamp", Value.of(timestamp));
    m.put("class", Value.of(className.toLowerCase(Locale.ROOT)));
    m.put("operation", Value.of(kind.name().toLowerCase(Locale.ROOT)));
    m.put("ref", Value.of(ref));
    if (row != null && kind != Snapshot.Change.Kind.DEL) {
      m.put("snapshot", schema.record(row));
    }
    return Content.of(new Value.Struct(m));
  }

  private static Content answer(Iterable<Content> events, Snapshot snapshot, Position told) {
    Map<String, Integer> counts = new TreeMap<>();
    for (ClassDef c : DataModel.classes()) {
      if (c.inDatabase()) {
        counts.put(c.name().toLowerCase(Locale.ROOT), 0);
      }
    }
    counts.putAll(snapshot.counts());
    List<Map.Entry<String, Content>> refs = new ArrayList<>();
    counts.forEach((k, v) -> refs.add(Map.entry(k, new Content.Int32(v))));
    return new Content.Members(
        List.of(
            Map.entry("events", new Content.Items(events)),
            Map.entry("valid_ref_counts", new Content.Members(refs)),
            Map.entry("token", Content.of(Value.of(told.token())))));
  }

  @Override
  public void close() {
    registration.close();
    synchronized (this) {
      closed = true;
    }
    wake();
  }
}
