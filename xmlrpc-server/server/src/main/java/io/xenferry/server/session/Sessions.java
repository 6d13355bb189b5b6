package io.xenferry.server.session;

import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.config.SessionConfig;
import io.xenferry.server.schema.Schema;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
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
  private static final Duration LOOK_FOR_EXPIRED = Duration.ofMinutes(1);
  private static final Value NOBODY = Value.of(Ref.nullRef());

  /** After which it is asked again whether a user of the host may still log in. */
  private static final Duration VALID = Duration.ofMinutes(30);

  private final ObjectDatabase db;
  private final Schema schema;
  private final Users users;
  private final Subjects subjects;
  private final SessionConfig config;
  private final Clock clock;
  private final Map<String, LiveSession> live = new ConcurrentHashMap<>();
  private final Map<Owner, OwnersSessions> owners = new ConcurrentHashMap<>();
  private volatile Instant expireNext = Instant.EPOCH;
  private final List<Consumer<String>> endListeners = new CopyOnWriteArrayList<>();
  private volatile Witness witness = Witness.NOBODY;

  /** Whoever is told of logins and their ends. Must neither fail nor block for long. */
  public interface Witness {
    void opened(Session session);

    void ended(Session session);

    /**
     * A login that failed.
     *
     * @param code of the error
     */
    void refused(String user, String originator, String code);

    /** Is told nothing. */
    Witness NOBODY =
        new Witness() {
          @Override
          public void opened(Session session) {}

          @Override
          public void ended(Session session) {}

          @Override
          public void refused(String user, String originator, String code) {}
        };
  }

  public Sessions(
      ObjectDatabase db,
      Schema schema,
      Users users,
      Subjects subjects,
      SessionConfig config,
      Clock clock)
      throws XenApiException {
    this.db = db;
    this.schema = schema;
    this.users = users;
    this.subjects = subjects;
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

  /** Tells of logins from now on. */
  public void tell(Witness whom) {
    witness = whom;
  }

  /**
   * Checks the password; a wrong one costs time. This server's own users come first, then, where
   * they are let in, the host's.
   *
   * @throws XenApiException SESSION_AUTHENTICATION_FAILED [user, message];
   *     SESSION_AUTHORIZATION_FAILED likewise for an account that is disabled;
   *     RBAC_PERMISSION_DENIED for one without a role
   */
  public Session login(String user, String password, String originator)
      throws XenApiException, InterruptedException {
    return open(user, originator, rights(user, password, originator), false);
  }

  /** The same for one request, of which somebody else tells what it was for. */
  public Session loginInPassing(String user, String password, String originator)
      throws XenApiException, InterruptedException {
    return open(user, originator, rights(user, password, originator), true);
  }

  private Session.Rights rights(String user, String password, String originator)
      throws XenApiException, InterruptedException {
    try {
      Optional<String> role = users.authenticate(user, password);
      if (role.isPresent()) {
        return role.get().equals(Users.SUPERUSER)
            ? new Session.Superuser()
            : new Session.Role(user, List.of(), List.of(role.get()));
      }
      if (!users.has(user) && subjects.enabled()) {
        return subjects.authenticate(user, password);
      }
      throw new XenApiException(
          "SESSION_AUTHENTICATION_FAILED", user, "The user name or the password is wrong");
    } catch (XenApiException e) {
      witness.refused(user, originator, e.code());
      Thread.sleep(config.failedLoginDelay());
      throw e;
    }
  }

  /** For callers who are root without a password, such as those on the Unix socket. */
  public Session openRoot(String originator) throws XenApiException {
    return open("root", originator, new Session.Superuser(), false);
  }

  /** For the bearer of a token. */
  public Session openRestricted(String user, Session.Scope scope) throws XenApiException {
    return open(user, "token", new Session.Restricted(scope), false);
  }

  private Session open(String user, String originator, Session.Rights rights, boolean passing)
      throws XenApiException {
    expire();
    Instant now = clock.instant();
    Session opening = new Session(Ref.random().opaque(), user, originator, rights);
    Owner owner = Owner.of(opening);
    // With the new row in one: where each login ends a session, that is half the commits.
    List<LiveSession> evicted = room(owner);
    List<String> tasks = replace(evicted, opening, now);
    LiveSession opened = new LiveSession(opening, passing, now);
    live.put(opening.ref(), opened);
    owners.compute(
        owner,
        (key, its) -> {
          OwnersSessions all = its == null ? new OwnersSessions() : its;
          all.add(opened);
          return all;
        });
    if (!passing) {
      witness.opened(opening);
    }
    evicted.forEach(old -> endListeners.forEach(l -> l.accept(old.session.ref())));
    forget(tasks);
    // Others may have logged in at the same time.
    for (LiveSession old : beyond(owner, limit(owner))) {
      finish(old);
    }
    return opening;
  }

  /**
   * The rows of those that end, and of the one that opens. They end in any case: nobody can use
   * them any more, and a disk that is full has no room but for that.
   *
   * @return the tasks that name those that have ended
   */
  private List<String> replace(List<LiveSession> evicted, Session opening, Instant now)
      throws XenApiException {
    try {
      return db.write(tx -> {
        List<String> tasks = new ArrayList<>();
        for (LiveSession old : evicted) {
          tasks.addAll(remove(tx, old));
        }
        tx.create("session", opening.ref(), fields(tx, opening, now));
        return tasks;
      });
    } catch (XenApiException | RuntimeException e) {
      for (LiveSession old : evicted) {
        try {
          finish(old);
        } catch (XenApiException | RuntimeException another) {
          e.addSuppressed(another);
        }
      }
      throw e;
    }
  }

  private static Map<String, Value> fields(Transaction tx, Session opening, Instant now) {
    Session.Rights rights = opening.rights();
    Map<String, Value> fields = new LinkedHashMap<>();
    tx.rows("host").stream().findFirst().ifPresent(h -> fields.put("this_host", Value.of(h.ref())));
    fields.put("last_active", Value.of(now));
    fields.put("validation_time", Value.of(now));
    fields.put("pool", Value.of(false));
    fields.put("is_local_superuser", Value.of(rights instanceof Session.Superuser));
    fields.put("auth_user_sid", Value.of(rights instanceof Session.Role r ? r.subject() : ""));
    fields.put("auth_user_name", Value.of(opening.user()));
    fields.put("originator", Value.of(opening.origin()));
    // Root needs none: clients ask for is_local_superuser first.
    if (rights instanceof Session.Role(var subject, var rows, var names)) {
      fields.put("rbac_permissions", Permission.ofRoles(names));
      rows.stream()
          .filter(r -> tx.row("subject", r).isPresent())
          .findFirst()
          .ifPresent(r -> fields.put("subject", Value.of(r)));
    }
    return fields;
  }

  /** Who may have so many sessions and no more. */
  private record Owner(boolean originator, String name) {
    static Owner of(Session session) {
      return session.origin().isEmpty()
          ? new Owner(false, session.user())
          : new Owner(true, session.origin());
    }
  }

  private int limit(Owner owner) {
    return owner.originator() ? config.perOriginator() : config.perUser();
  }

  /** Makes room for one more. */
  private List<LiveSession> room(Owner owner) {
    return beyond(owner, limit(owner) - 1);
  }

  /** The oldest ones beyond a limit, which nobody can use from now on; their rows are there. */
  private List<LiveSession> beyond(Owner owner, int limit) {
    List<LiveSession> ended = new ArrayList<>();
    while (true) {
      OwnersSessions its = owners.get(owner);
      Optional<LiveSession> oldest = its == null ? Optional.empty() : its.beyond(limit);
      if (oldest.isEmpty()) {
        return ended;
      }
      leave(oldest.get().session.ref()).ifPresent(ended::add);
    }
  }

  /**
   * Those that nobody uses; looked for now and then, since a call in one of them ends it as well.
   */
  private void expire() throws XenApiException {
    Instant now = clock.instant();
    if (now.isBefore(expireNext)) {
      return;
    }
    expireNext = now.plus(LOOK_FOR_EXPIRED);
    Instant limit = now.minus(config.expiry());
    for (LiveSession l : live.values()) {
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
    LiveSession l = live.get(ref);
    Instant now = clock.instant();
    if (l != null && l.active.isBefore(now.minus(config.expiry()))) {
      close(ref);
      l = null;
    }
    if (l == null) {
      throw new XenApiException("SESSION_INVALID", ref);
    }
    if (l.validated.isBefore(now.minus(VALID))) {
      l.validated = now;
      validate(l);
    }
    l.active = now;
    if (l.written.isBefore(now.minus(config.touchEvery()))) {
      l.written = now;
      note(ref, "last_active", now);
    }
    return l.session;
  }

  /**
   * For whoever looks at the row: that it cannot be written, on a full disk, ends nobody's call.
   */
  private void note(String ref, String field, Instant when) {
    try {
      db.change(tx -> {
        if (tx.row("session", ref).isPresent()) {
          schema.set(tx, "session", ref, field, Value.of(when));
        }
      });
    } catch (XenApiException e) {
      log.info("{} of a session is not noted", field, e);
    }
  }

  /** A user of the host may have lost his account, or the group that he was let in for. */
  private void validate(LiveSession l) throws XenApiException {
    if (!(l.session.rights() instanceof Session.Role role) || !role.external()) {
      return;
    }
    String ref = l.session.ref();
    if (!subjects.stillHas(role)) {
      close(ref);
      throw new XenApiException("SESSION_INVALID", ref);
    }
    note(ref, "validation_time", l.validated);
  }

  /**
   * Ends the sessions of users of the host who are let in for a subject.
   *
   * @param row of the subject; empty for all users of the host
   */
  public void closeOf(Optional<String> row) throws XenApiException {
    for (Session s : all()) {
      if (s.rights() instanceof Session.Role role
          && role.external()
          && (row.isEmpty() || role.rows().contains(row.get()))) {
        close(s.ref());
      }
    }
  }

  public boolean isLive(String ref) {
    return live.containsKey(ref);
  }

  public List<Session> all() {
    return live.values().stream().map(l -> l.session).toList();
  }

  /** Ends a session; idempotent. Listeners are told once. */
  public void close(String ref) throws XenApiException {
    Optional<LiveSession> ended = leave(ref);
    if (ended.isPresent()) {
      finish(ended.get());
    }
  }

  /** From now on nobody can use it; its row is there. Empty when that was so before. */
  private Optional<LiveSession> leave(String ref) {
    LiveSession ended = live.remove(ref);
    if (ended == null) {
      return Optional.empty();
    }
    owners.computeIfPresent(
        Owner.of(ended.session), (owner, its) -> its.remove(ended) ? its : null);
    if (!ended.passing) {
      witness.ended(ended.session);
    }
    return Optional.of(ended);
  }

  private void finish(LiveSession ended) throws XenApiException {
    forget(db.write(tx -> remove(tx, ended)));
    endListeners.forEach(l -> l.accept(ended.session.ref()));
  }

  /** Its row; returns the tasks that name it. */
  private static List<String> remove(Transaction tx, LiveSession ended) throws XenApiException {
    String ref = ended.session.ref();
    Optional<Row> row = tx.row("session", ref);
    if (row.isEmpty()) {
      return List.of();
    }
    List<String> tasks = Types.refs(TASKS.type(), row.get().get(TASKS));
    tx.delete("session", ref);
    return tasks;
  }

  /**
   * Not in one with the rows: sessions end on a full disk, too, where no task can be changed.
   *
   * @param tasks that name sessions which have ended
   */
  private void forget(List<String> tasks) {
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
  }

  /** Tells of every session that ends, by its reference. Must not block. */
  public void onEnd(Consumer<String> listener) {
    endListeners.add(listener);
  }
}
