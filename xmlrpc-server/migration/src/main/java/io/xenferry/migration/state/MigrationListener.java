package io.xenferry.migration.state;

/** Told of every change of a migration, on the coordinator's scheduler: must not block. */
@FunctionalInterface
public interface MigrationListener {
  void changed(MigrationStatus status);
}
