package io.xenferry.migration.peer;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** Who decides on authenticated messages: the coordinator. Thread-safe. */
public interface PeerHandler {
  UUID incarnation();

  /** The key of a migration this host knows in that role; absent for unknown or never agreed. */
  Optional<String> key(MigrationId migration, Role role);

  /** An authenticated message; failures of the future are defects. */
  CompletableFuture<PeerAnswer> handle(MigrationId migration, PeerMessage message, Caller caller);

  /**
   * How the caller proved who it is.
   *
   * @param token the verified token, absent when only the key was needed
   * @param byKey whether the migration's key signed the message
   */
  record Caller(Optional<Token> token, boolean byKey) {}
}
