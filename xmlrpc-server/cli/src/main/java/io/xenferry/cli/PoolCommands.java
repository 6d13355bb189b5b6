package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** The pool, and what is kept with it: messages, secrets, groups, the caller's own password. */
final class PoolCommands {
  /** Calls without arguments or an answer, by their commands. */
  private static final Map<String, String> PLAIN =
      Map.of(
          "pool-sync-database", "pool.sync_database",
          "pool-ha-disable", "pool.disable_ha",
          "pool-disable-redo-log", "pool.disable_redo_log",
          "pool-deconfigure-wlb", "pool.deconfigure_wlb",
          "pool-secret-rotate", "pool.rotate_secret");

  /** By the argument that names one, what a message may be of. */
  private static final SequencedMap<String, String> SUBJECTS = new LinkedHashMap<>();

  static {
    SUBJECTS.put("vm-uuid", "VM");
    SUBJECTS.put("host-uuid", "Host");
    SUBJECTS.put("sr-uuid", "SR");
    SUBJECTS.put("pool-uuid", "Pool");
  }

  private PoolCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    PLAIN.forEach((name, method) -> commands.put(name, run -> run.calls().call(method)));
    commands.put("pool-designate-new-master", PoolCommands::designate);
    commands.put("pool-recover-slaves", PoolCommands::recover);
    commands.put("pool-ha-enable", PoolCommands::enableHa);
    commands.put(
        "pool-enable-redo-log",
        run -> run.calls().call("pool.enable_redo_log", named(run, "SR", "sr-uuid")));
    commands.put(
        "pool-retrieve-wlb-configuration",
        run -> run.calls().call("pool.retrieve_wlb_configuration"));
    commands.put(
        "pool-send-wlb-configuration",
        run ->
            run.calls()
                .call("pool.send_wlb_configuration", Value.ofTexts(run.arguments().map("config"))));
    commands.put("pool-apply-edition", PoolCommands::edition);
    commands.put("message-create", PoolCommands::createMessage);
    commands.put("message-destroy", PoolCommands::destroyMessages);
    commands.put("message-destroy-all", PoolCommands::destroyAllMessages);
    commands.put("pool-dump-database", PoolCommands::dump);
    for (String of : List.of("certificate", "crl")) {
      commands.put(
          "pool-" + of + "-list",
          run -> run.printer().list(Calls.texts(run.calls().call("pool." + of + "_list"))));
    }
    commands.put("secret-create", PoolCommands::createSecret);
    commands.put("vm-group-create", PoolCommands::createGroup);
    commands.put("user-password-change", PoolCommands::changePassword);
  }

  private static Value named(Run run, String className, String parameter)
      throws XenApiException, CliException {
    return Value.of(run.calls().byUuid(className, run.arguments().need(parameter)));
  }

  private static void designate(Run run) throws XenApiException, CliException {
    run.calls().call("pool.designate_new_master", named(run, "host", "host-uuid"));
  }

  private static void recover(Run run) throws XenApiException, IOException {
    List<String> uuids = new ArrayList<>();
    for (String host : Calls.texts(run.calls().call("pool.recover_slaves"))) {
      uuids.add(run.calls().uuid("host", host));
    }
    run.printer().list(uuids);
  }

  private static void enableHa(Run run) throws XenApiException {
    List<Value> srs = new ArrayList<>();
    for (String uuid : run.arguments().get("heartbeat-sr-uuids", "").split(",")) {
      if (!uuid.isBlank()) {
        srs.add(Value.of(run.calls().byUuid("SR", uuid.strip())));
      }
    }
    run.calls()
        .call(
            "pool.enable_ha",
            new Value.Array(srs),
            Value.ofTexts(run.arguments().map("ha-config")));
  }

  private static void edition(Run run) throws XenApiException, CliException {
    Optional<String> uuid = run.arguments().get("uuid");
    String pool =
        uuid.isPresent()
            ? run.calls().byUuid("pool", uuid.get())
            : Calls.texts(run.calls().call("pool.get_all")).getFirst();
    run.calls()
        .call("pool.apply_edition", Value.of(pool), Value.of(run.arguments().need("edition")));
  }

  private static void createMessage(Run run) throws XenApiException, CliException {
    Arguments a = run.arguments();
    List<String> given = SUBJECTS.keySet().stream().filter(a::has).toList();
    if (given.size() != 1) {
      throw CliException.failed("One of these is needed: " + String.join(", ", SUBJECTS.keySet()));
    }
    run.calls()
        .call(
            "message.create",
            Value.of(a.need("name")),
            Value.of(Parameter.number("priority", a.need("priority"))),
            Value.of(SUBJECTS.getOrDefault(given.getFirst(), "")),
            Value.of(a.need(given.getFirst())),
            Value.of(a.need("body")));
  }

  private static void destroyMessages(Run run) throws XenApiException, CliException {
    List<Value> messages = new ArrayList<>();
    String uuids = run.arguments().get("uuids", run.arguments().get("uuid", ""));
    for (String uuid : uuids.split(",")) {
      if (!uuid.isBlank()) {
        messages.add(Value.of(run.calls().byUuid("message", uuid.strip())));
      }
    }
    if (messages.isEmpty()) {
      throw CliException.required("uuid");
    }
    run.calls().call("message.destroy_many", new Value.Array(messages));
  }

  private static void destroyAllMessages(Run run) throws XenApiException {
    Map<String, String> filters = new LinkedHashMap<>();
    for (String name : List.of("before", "after", "priority")) {
      run.arguments().get(name).ifPresent(value -> filters.put(name, value));
    }
    run.calls().call("message.destroy_all", Value.ofTexts(filters));
  }

  private static void dump(Run run) throws XenApiException, CliException, IOException {
    String file = run.arguments().need("file-name");
    BlobCommands.transfer(
        run, "Downloading the database", "/pool/xmldbdump?", path -> run.client().get(file, path));
  }

  private static void made(Run run, String className, SequencedMap<String, Value> record)
      throws XenApiException, IOException {
    String ref = run.calls().text(className + ".create", new Value.Struct(record));
    run.printer().line(run.calls().uuid(className, ref));
  }

  private static void createSecret(Run run) throws XenApiException, CliException, IOException {
    SequencedMap<String, Value> record = new LinkedHashMap<>();
    record.put("value", Value.of(run.arguments().need("value")));
    record.put("other_config", Value.Struct.of(Map.of()));
    made(run, "secret", record);
  }

  private static void createGroup(Run run) throws XenApiException, CliException, IOException {
    SequencedMap<String, Value> record = new LinkedHashMap<>();
    record.put("name_label", Value.of(run.arguments().need("name-label")));
    record.put("name_description", Value.of(run.arguments().get("name-description", "")));
    String placement = run.arguments().need("placement");
    record.put(
        "placement",
        Value.of(RecordClass.words("placement_policy").read(placement).orElse(placement)));
    made(run, "VM_group", record);
  }

  private static void changePassword(Run run) throws XenApiException, CliException {
    run.calls()
        .call(
            "session.change_password",
            Value.of(run.arguments().get("old", "")),
            Value.of(run.arguments().need("new")));
  }
}
