package io.xenferry.server.session;

import io.xenferry.model.MessageDef;
import io.xenferry.model.Value;
import java.util.List;
import java.util.Optional;

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

  /** A user with a built-in role: messages that name the role. */
  public record Role(String name) implements Rights {}

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

  public Optional<String> role() {
    return switch (rights) {
      case Superuser s -> Optional.of("pool-admin");
      case Role r -> Optional.of(r.name());
      case Restricted r -> Optional.empty();
    };
  }

  /**
   * Roles are the model's, those of single keys of maps, too; a message without roles is
   * everybody's but a restricted session's.
   */
  public boolean mayCall(MessageDef message, List<Value> args) {
    return switch (rights) {
      case Superuser s -> true;
      case Role r -> Permission.of(message, args).has(r.name());
      case Restricted r -> r.scope().allows(message, args);
    };
  }

  /** Whether a role of its own, or being root, gives it the permission. */
  public boolean has(Permission permission) {
    return switch (rights) {
      case Superuser s -> true;
      case Role r -> permission.has(r.name());
      case Restricted r -> false;
    };
  }

  /** Whether it may touch what belongs to another: tasks, sessions. */
  public boolean operator() {
    return switch (rights) {
      case Superuser s -> true;
      case Role r -> r.name().equals("pool-admin") || r.name().equals("pool-operator");
      case Restricted r -> false;
    };
  }
}
