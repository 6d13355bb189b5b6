package io.xenferry.server.session;

import io.xenferry.model.MessageDef;
import io.xenferry.model.Roles;
import io.xenferry.model.Value;
import java.util.Collection;
import java.util.List;

/**
 * Who calls.
 *
 * @param ref the secret that calls carry
 * @param user as logged in
 * @param origin from the login, {@code xapi} or {@code cli} for example
 */
public record Session(String ref, String user, String origin, Rights rights) {

  /** What a session may do. */
  public sealed interface Rights {}

  /** root: everything. */
  public record Superuser() implements Rights {}

  /**
   * A user with built-in roles: messages that name one of them.
   *
   * @param subject the user's identifier
   * @param rows of the class subject, for which a user of the host was let in, his own before his
   *     groups'; none for a user of this server's own
   * @param names of the roles, at least one
   */
  public record Role(String subject, List<String> rows, List<String> names) implements Rights {
    /** Whether the operating system knows the user, and not this server. */
    public boolean external() {
      return !rows.isEmpty();
    }
  }

  /** Somebody who carries a token and may do what it is for, nothing else. */
  public record Restricted(Scope scope) implements Rights {}

  /** What a token allows. */
  @FunctionalInterface
  public interface Scope {
    boolean allows(MessageDef message, List<Value> args);
  }

  public boolean superuser() {
    return rights instanceof Superuser;
  }

  /** Names of its roles; none when it may do what a token is for. */
  public List<String> roles() {
    return switch (rights) {
      case Superuser s -> List.of(Roles.POOL_ADMIN);
      case Role r -> r.names();
      case Restricted r -> List.of();
    };
  }

  /** Whether one of its roles is among these. */
  public boolean hasOneOf(Collection<String> wanted) {
    return roles().stream().anyMatch(wanted::contains);
  }

  /**
   * Roles are the model's, those of single keys of maps, too; a message without roles is
   * everybody's but a restricted session's.
   */
  public boolean mayCall(MessageDef message, List<Value> args) {
    return switch (rights) {
      case Superuser s -> true;
      case Role r -> r.names().stream().anyMatch(Permission.of(message, args)::has);
      case Restricted r -> r.scope().allows(message, args);
    };
  }

  /** Whether a role of its own, or being root, gives it the permission. */
  public boolean has(Permission permission) {
    return switch (rights) {
      case Superuser s -> true;
      case Role r -> r.names().stream().anyMatch(permission::has);
      case Restricted r -> false;
    };
  }

  /** Whether it may touch what belongs to another: tasks, sessions. */
  public boolean operator() {
    return switch (rights) {
      case Superuser s -> true;
      case Role r -> hasOneOf(List.of(Roles.POOL_ADMIN, Roles.POOL_OPERATOR));
      case Restricted r -> false;
    };
  }
}
