package io.xenferry.cli;

import java.util.List;
import java.util.Map;

/** Migrations as the ledger has them, and the decisions that only an administrator may take. */
final class MigrationCommands {
  private MigrationCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put(
        "migration-list",
        run ->
            run.printer()
                .tables(
                    run.environment().migrations().list(run.calls().session()).stream()
                        .map(row -> List.copyOf(row.sequencedEntrySet()))
                        .toList()));
    commands.put(
        "migration-force-commit",
        run ->
            run.environment()
                .migrations()
                .forceCommit(run.calls().session(), run.arguments().need("id")));
    commands.put(
        "migration-force-resume",
        run ->
            run.environment()
                .migrations()
                .forceResume(run.calls().session(), run.arguments().need("id")));
    commands.put(
        "migration-release",
        run ->
            run.environment()
                .migrations()
                .release(run.calls().session(), run.arguments().need("id")));
    commands.put(
        "migration-accept-restored-ledger",
        run -> run.environment().migrations().acceptRestoredLedger(run.calls().session()));
  }
}
