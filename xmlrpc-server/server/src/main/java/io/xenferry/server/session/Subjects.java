package io.xenferry.server.session;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.schema.Schema;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SequencedSet;
import java.util.Set;

/**
 * Whom this server lets in of those whom the host knows: rows of the class {@code subject}, users
 * or groups, with their roles. Only while the host's {@code external_auth_type} says so.
 * Thread-safe.
 */
public final class Subjects {
  /** The one type that there is: the users of the operating system. */
  public static final String PAM = "PAM";

  private final ObjectDatabase db;
  private final Schema schema;
  private final Accounts accounts;

  public Subjects(ObjectDatabase db, Schema schema, Accounts accounts) {
    this.db = db;
    this.schema = schema;
    this.accounts = accounts;
  }

  /** Whether users of the host may be let in. */
  public boolean enabled() {
    return db.snapshot().rows("host").stream()
        .anyMatch(host -> schema.text(host, "external_auth_type").equals(PAM));
  }

  /** Whom the host knows, also before anybody of them may be let in. */
  public Accounts accounts() {
    return accounts;
  }

  /**
   * @throws XenApiException AUTH_IS_DISABLED
   */
  public Accounts requireEnabled() throws XenApiException {
    if (!enabled()) {
      throw new XenApiException("AUTH_IS_DISABLED");
    }
    return accounts;
  }

  /** As {@link Sessions#login}. */
  Session.Role authenticate(String user, String password)
      throws XenApiException, InterruptedException {
    Accounts.Verdict verdict = accounts.authenticate(user, password);
    if (verdict == Accounts.Verdict.CLOSED) {
      throw new XenApiException("SESSION_AUTHORIZATION_FAILED", user, "The account is closed");
    }
    Optional<String> identifier =
        verdict == Accounts.Verdict.RIGHT ? accounts.identifier(user) : Optional.empty();
    // A wrong password and a user who is not let in are not told apart.
    List<Row> rows = identifier.isPresent() ? rows(identifier.get()) : List.of();
    if (rows.isEmpty()) {
      throw new XenApiException(
          "SESSION_AUTHENTICATION_FAILED", user, "The user name or the password is wrong");
    }
    List<String> names = names(rows);
    if (names.isEmpty()) {
      throw new XenApiException(
          "RBAC_PERMISSION_DENIED", "session.login_with_password", "The user has no role");
    }
    return new Session.Role(identifier.orElseThrow(), rows.stream().map(Row::ref).toList(), names);
  }

  /** Whether a user who was let in would be let in now, and in the same way. */
  boolean stillHas(Session.Role role) throws XenApiException {
    if (!enabled()) {
      return false;
    }
    try {
      if (accounts.information(role.subject()).isEmpty()) {
        return false;
      }
      List<Row> rows = rows(role.subject());
      return Set.copyOf(names(rows)).equals(Set.copyOf(role.names()));
    } catch (XenApiException e) {
      return true; // nobody can be asked: later
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return true;
    }
  }

  /** Of one and of its groups, the former first. */
  private List<Row> rows(String identifier) throws XenApiException, InterruptedException {
    SequencedSet<String> wanted = new java.util.LinkedHashSet<>(List.of(identifier));
    wanted.addAll(accounts.groups(identifier));
    List<Row> rows = new ArrayList<>();
    for (String one : wanted) {
      for (Row row : db.snapshot().rows("subject")) {
        if (schema.text(row, "subject_identifier").equals(one)) {
          rows.add(row);
        }
      }
    }
    return rows;
  }

  private List<String> names(List<Row> subjects) {
    Snapshot now = db.snapshot();
    SequencedSet<String> names = new java.util.LinkedHashSet<>();
    for (Row subject : subjects) {
      names.addAll(roles(now, subject));
    }
    return List.copyOf(names);
  }

  /** Names of the roles of one row. */
  public List<String> roles(Snapshot now, Row subject) {
    return schema.texts(subject, "roles").stream()
        .flatMap(ref -> now.row("role", ref).stream())
        .map(role -> schema.text(role, "name_label"))
        .toList();
  }

  /** All permissions of one row. */
  public Value permissions(Snapshot now, Row subject) {
    return Permission.ofRoles(roles(now, subject));
  }
}
