package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;

/** Migrations as the ledger has them, and the decisions that only an administrator may take. */
final class MigrationCommands {
  private MigrationCommands() {}

  /** What {@code migration-list} chooses from, under keys of no meaning. */
  static SequencedMap<String, Map<String, Value>> records(Run run) throws XenApiException {
    SequencedMap<String, Map<String, Value>> records = new LinkedHashMap<>();
    for (SequencedMap<String, String> row :
        run.environment().migrations().list(run.calls().session())) {
      Map<String, Value> record = new LinkedHashMap<>();
      row.forEach((column, text) -> record.put(column, Value.of(text)));
      records.put(Integer.toString(records.size()), record);
    }
    return records;
  }

  static void register(Map<String, Command.Handler> commands) {
    commands.put(
        "migration-force-commit",
        run ->
            run.environment()
                .migrations()
                .forceCommit(run.calls().session(), run.arguments().need("uuid")));
    commands.put(
        "migration-force-resume",
        run ->
            run.environment()
                .migrations()
                .forceResume(run.calls().session(), run.arguments().need("uuid")));
    commands.put(
        "migration-release",
        run ->
            run.environment()
                .migrations()
                .release(run.calls().session(), run.arguments().need("uuid")));
    commands.put(
        "migration-accept-restored-ledger",
        run -> run.environment().migrations().acceptRestoredLedger(run.calls().session()));
  }
}
