package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.stream.Stream;

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

  /** What is not understood would be left unread, and of what is said twice one half. */
  private static void checkKnown(Run run) throws CliException {
    Set<String> own = run.command().own();
    Set<String> seen = new HashSet<>();
    for (Map.Entry<String, String> given : run.arguments().all()) {
      String name = given.getKey();
      if (own.contains(name) && !seen.add(name)) {
        throw CliException.failed("Parameter '%s' is given twice".formatted(name));
      }
      if (!own.contains(name) && !Selection.STANDARD.contains(name)) {
        throw CliException.failed(
            "Unknown parameter '%s': %s takes %s"
                .formatted(
                    name,
                    run.command().name(),
                    String.join(
                        ", ",
                        Stream.concat(
                                run.command().needs().stream(), run.command().takes().stream())
                            .toList())));
      }
    }
  }

  private static void strictly(
      Map<String, Command.Handler> commands, String name, Command.Handler handler) {
    commands.put(
        name,
        run -> {
          checkKnown(run);
          handler.run(run);
        });
  }

  static void register(Map<String, Command.Handler> commands) {
    strictly(
        commands,
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
    strictly(commands, "migration-param-set", MigrationCommands::set);
    strictly(commands, "migration-pause", run -> steer(run, Map.of("paused", "true")));
    strictly(commands, "migration-resume", run -> steer(run, Map.of("paused", "false")));
    strictly(
        commands,
        "migration-cut-over",
        run -> steer(run, Map.of("paused", "false", "cutover", "now")));
    strictly(
        commands,
        "migration-cancel",
        run ->
            run.environment()
                .migrations()
                .cancel(run.calls().session(), run.arguments().need("uuid")));
    strictly(
        commands,
        "migration-force-commit",
        run ->
            run.environment()
                .migrations()
                .forceCommit(run.calls().session(), run.arguments().need("uuid")));
    strictly(
        commands,
        "migration-force-resume",
        run ->
            run.environment()
                .migrations()
                .forceResume(run.calls().session(), run.arguments().need("uuid")));
    strictly(
        commands,
        "migration-release",
        run ->
            run.environment()
                .migrations()
                .release(run.calls().session(), run.arguments().need("uuid")));
    strictly(
        commands,
        "migration-accept-restored-ledger",
        run -> run.environment().migrations().acceptRestoredLedger(run.calls().session()));
  }
}
