package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.LinkedHashMap;
import java.util.List;
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

  private static void steer(Run run, Map<String, String> wanted)
      throws XenApiException, CliException {
    run.environment()
        .migrations()
        .steer(run.calls().session(), run.arguments().need("uuid"), wanted);
  }

  /** What is given of what the command takes. */
  private static void set(Run run) throws XenApiException, CliException {
    Map<String, String> wanted = new LinkedHashMap<>();
    for (String name : run.command().takes()) {
      run.arguments().get(name).ifPresent(value -> wanted.put(name, value));
    }
    if (wanted.isEmpty()) {
      throw CliException.failed(
          "Nothing to change: give one of " + String.join(", ", run.command().takes()));
    }
    steer(run, wanted);
  }

  static void register(Map<String, Command.Handler> commands) {
    commands.put(
        "migration-report",
        run ->
            run.printer()
                .tables(
                    List.of(
                        List.copyOf(
                            run.environment()
                                .migrations()
                                .report(run.calls().session(), run.arguments().need("uuid"))
                                .entrySet()))));
    commands.put("migration-param-set", MigrationCommands::set);
    commands.put("migration-pause", run -> steer(run, Map.of("paused", "true")));
    commands.put("migration-resume", run -> steer(run, Map.of("paused", "false")));
    commands.put(
        "migration-cut-over", run -> steer(run, Map.of("paused", "false", "cutover", "now")));
    commands.put(
        "migration-cancel",
        run ->
            run.environment()
                .migrations()
                .cancel(run.calls().session(), run.arguments().need("uuid")));
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
