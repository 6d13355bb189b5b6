package io.xenferry.server.session;

import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.server.config.SessionConfig;
import io.xenferry.server.schema.Schema;
import java.time.Clock;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sessions: rows that clients see, and who stands behind them. They end with logout, by disuse,
 * when their owner has too many, and with the server: nothing that outlives it hangs on them.
 * Thread-safe.
 */
public final class Sessions {
  private static final Logger log = LoggerFactory.getLogger(Sessions.class);

  private static final FieldDef TASKS = DataModel.field("session", "tasks").orElseThrow();
  private static final FieldDef TASKS_SESSION = DataModel.field("task", "session").orElseThrow();
  private static final Value NOBODY = Value.of(Ref.nullRef());

  private final ObjectDatabase db;
  private final Schema schema;
  private final Users users;
  private final SessionConfig config;
  private final Clock clock;
  private final Map<String, Live> live = new ConcurrentHashMap<>();
  private final List<Consumer<String>> endListeners = new CopyOnWriteArrayList<>();

  private static final class Live {
    final Session session;
    volatile Instant active;
    volatile Instant written;

    Live(Session session, Instant now) {
      this.session = session;
      this.active = now;
      this.written = now;
    }
  }

  public Sessions(ObjectDatabase db, Schema schema, Users users, SessionConfig config, Clock clock)
      throws XenApiException {
    this.db = db;
    this.schema = schema;
    this.users = users;
    this.config = config;
    this.clock = clock;
    db.change(tx -> {
      for (Row r : List.copyOf(tx.rows("session"))) {
        tx.delete("session", r.ref());
      }
      // Those of a server before this one are in no file; its tasks are.
      for (Row task : List.copyOf(tx.rows("task"))) {
        if (!Types.refs(TASKS_SESSION.type(), task.get(TASKS_SESSION)).isEmpty()) {
          tx.set("task", task.ref(), TASKS_SESSION, NOBODY);
        }
      }
    });
  }

  /**
   * Checks the password; a wrong one costs time.
   *
   * @throws XenApiException SESSION_AUTHENTICATION_FAILED [user, message]
   */
  public Session login(String user, String password, String originator)
      throws XenApiException, InterruptedException {
    Optional<String> role = users.authenticate(user, password);
    if (role.isEmpty()) {
      Thread.sleep(config.failedLoginDelay());
      throw new XenApiException(
          "SESSION_AUTHENTICATION_FAILED", user, "The user name or the password is wrong");
    }
    Session.Rights rights =
        role.get().equals(Users.SUPERUSER) ? new Session.Superuser() : new Session.Role(role.get());
    return open(user, originator, rights);
  }

  /** For callers who are root without a password, such as those on the Unix socket. */
  public Session openRoot(String originator) throws XenApiException {
    return open("root", originator, new Session.Superuser());
  }

  /** For the bearer of a token. */
  public Session openRestricted(String user, Session.Scope scope) throws XenApiException {
    return open(user, "token", new Session.Restricted(scope));
  }

  private Session open(String user, String originator, Session.Rights rights)
      throws XenApiException {
    expire();
    Instant now = clock.instant();
    boolean root = rights instanceof Session.Superuser;
    String ref =
        db.write(tx -> {
          Map<String, Value> fields = new LinkedHashMap<>();
          tx.rows("host").stream()
              .findFirst()
              .ifPresent(h -> fields.put("this_host", Value.of(h.ref())));
          fields.put("last_active", Value.of(now));
          fields.put("validation_time", Value.of(now));
          fields.put("pool", Value.of(false));
          fields.put("is_local_superuser", Value.of(root));
          fields.put("auth_user_sid", Value.of(root ? "" : user));
          fields.put("auth_user_name", Value.of(user));
          fields.put("originator", Value.of(originator));
          // Root needs none: clients ask for is_local_superuser first.
          if (rights instanceof Session.Role(String name)) {
            fields.put("rbac_permissions", Permission.ofRole(name));
          }
          return tx.create("session", fields);
        });
    Session session = new Session(ref, user, originator, rights);
    live.put(ref, new Live(session, now));
    evict(s -> !s.origin().isEmpty() && s.origin().equals(originator), config.perOriginator());
    evict(s -> s.origin().isEmpty() && s.user().equals(user), config.perUser());
    return session;
  }

  /** Ends the oldest beyond the limit. Not by sorting: calls change when a session was active. */
  private void evict(Predicate<Session> of, int limit) throws XenApiException {
    while (true) {
      int count = 0;
      Live oldest = null;
      for (Live l : live.values()) {
        if (of.test(l.session)) {
          count++;
          oldest = oldest == null || l.active.isBefore(oldest.active) ? l : oldest;
        }
      }
      if (oldest == null || count <= limit) {
        return;
      }
      close(oldest.session.ref());
    }
  }

  private void expire() throws XenApiException {
    Instant limit = clock.instant().minus(config.expiry());
    for (Live l : live.values()) {
      if (l.active.isBefore(limit)) {
        close(l.session.ref());
      }
    }
  }

  /**
   * The session behind a reference; counts as use.
   *
   * @throws XenApiException SESSION_INVALID [reference]
   */
  public Session check(String ref) throws XenApiException {
    Live l = live.get(ref);
    Instant now = clock.instant();
    if (l != null && l.active.isBefore(now.minus(config.expiry()))) {
      close(ref);
      l = null;
    }
    if (l == null) {
      throw new XenApiException("SESSION_INVALID", ref);
    }
    l.active = now;
    if (l.written.isBefore(now.minus(config.touchEvery()))) {
      l.written = now;
      db.change(tx -> {
        if (tx.row("session", ref).isPresent()) {
          schema.set(tx, "session", ref, "last_active", Value.of(now));
        }
      });
    }
    return l.session;
  }

  public boolean isLive(String ref) {
    return live.containsKey(ref);
  }

  public List<Session> all() {
    return live.values().stream().map(l -> l.session).toList();
  }

  /** Ends a session; idempotent. Listeners are told once. */
  public void close(String ref) throws XenApiException {
    if (live.remove(ref) == null) {
      return;
    }
    List<String> tasks =
        db.snapshot()
            .row("session", ref)
            .map(row -> Types.refs(TASKS.type(), row.get(TASKS)))
            .orElse(List.of());
    db.change(tx -> {
      if (tx.row("session", ref).isPresent()) {
        tx.delete("session", ref);
      }
    });
    // Not in one: sessions end on a full disk, too, where no task can be changed.
    if (!tasks.isEmpty()) {
      try {
        db.change(tx -> {
          for (String task : tasks) {
            if (tx.row("task", task).isPresent()) {
              tx.set("task", task, TASKS_SESSION, NOBODY);
            }
          }
        });
      } catch (XenApiException e) {
        log.info("tasks of a session that has ended name it until the next start", e);
      }
    }
    endListeners.forEach(l -> l.accept(ref));
  }

  /** Tells of every session that ends, by its reference. Must not block. */
  public void onEnd(Consumer<String> listener) {
    endListeners.add(listener);
  }
}
