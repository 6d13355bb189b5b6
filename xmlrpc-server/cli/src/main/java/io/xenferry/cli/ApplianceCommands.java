package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** Appliances, and schedules of snapshots: what VMs may belong to. */
final class ApplianceCommands {
  /** As many as published servers keep unless told otherwise. */
  private static final long RETAINED = 7;

  private ApplianceCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("appliance-create", ApplianceCommands::create);
    commands.put("appliance-start", ApplianceCommands::start);
    commands.put("appliance-shutdown", ApplianceCommands::shutdown);
    commands.put("vmss-create", ApplianceCommands::createSchedule);
  }

  private static void create(Run run) throws XenApiException, CliException, IOException {
    SequencedMap<String, Value> record = new LinkedHashMap<>();
    record.put("name_label", Value.of(run.arguments().need("name-label")));
    record.put("name_description", Value.of(run.arguments().get("name-description", "")));
    made(run, "VM_appliance", record);
  }

  private static void made(Run run, String className, SequencedMap<String, Value> record)
      throws XenApiException, IOException {
    String ref = run.calls().text(className + ".create", new Value.Struct(record));
    run.printer().list(List.of(run.calls().uuid(className, ref)));
  }

  private static Value self(Run run) throws XenApiException, CliException {
    return Value.of(run.calls().byUuid("VM_appliance", run.arguments().need("uuid")));
  }

  private static void start(Run run) throws XenApiException, CliException {
    run.calls().call("VM_appliance.start", self(run), Value.of(run.arguments().flag("paused")));
  }

  private static void shutdown(Run run) throws XenApiException, CliException {
    String how = run.arguments().flag("force") ? "hard_shutdown" : "clean_shutdown";
    run.calls().call("VM_appliance." + how, self(run));
  }

  private static void createSchedule(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    SequencedMap<String, Value> record = new LinkedHashMap<>();
    record.put("name_label", Value.of(a.need("name-label")));
    record.put("name_description", Value.of(a.get("name-description", "")));
    record.put("enabled", Value.of(a.flag("enabled", true)));
    record.put("type", word("type", "vmss_type", a.need("type")));
    record.put("frequency", word("frequency", "vmss_frequency", a.need("frequency")));
    record.put("schedule", Value.ofTexts(a.map("schedule")));
    Optional<String> retained = a.get("retained-snapshots");
    record.put(
        "retained_snapshots",
        Value.of(
            retained.isPresent()
                ? Parameter.number("retained-snapshots", retained.get())
                : RETAINED));
    made(run, "VMSS", record);
  }

  private static Value word(String name, String enumName, String text) throws CliException {
    RecordClass.EnumWords words = RecordClass.words(enumName);
    return Value.of(
        words
            .read(text)
            .orElseThrow(() ->
                CliException.failed(
                    "Parameter '%s' takes one of %s"
                        .formatted(name, String.join(", ", words.shown().values())))));
  }
}
