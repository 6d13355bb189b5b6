package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** SRs, PBDs and VDIs. */
final class StorageCommands {
  private StorageCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("sr-create", StorageCommands::createSr);
    commands.put("sr-introduce", StorageCommands::introduceSr);
    commands.put("sr-probe", StorageCommands::probeSr);
    commands.put("sr-probe-ext", StorageCommands::probeSrExt);
    commands.put("vdi-introduce", StorageCommands::introduceVdi);
    commands.put("pbd-create", StorageCommands::createPbd);
    commands.put("vdi-create", StorageCommands::createVdi);
    commands.put("vdi-destroy", run -> onVdi(run, "VDI.destroy"));
    commands.put("vdi-forget", run -> onVdi(run, "VDI.forget"));
    commands.put("vdi-update", run -> onVdi(run, "VDI.update"));
    commands.put("vdi-resize", StorageCommands::resizeVdi);
    commands.put("vdi-copy", StorageCommands::copyVdi);
    commands.put("vdi-clone", run -> duplicate(run, "VDI.clone"));
    commands.put("vdi-snapshot", run -> duplicate(run, "VDI.snapshot"));
    commands.put("vdi-list-changed-blocks", StorageCommands::listChangedBlocks);
    commands.put("vdi-pool-migrate", StorageCommands::poolMigrateVdi);
  }

  /** The host that is named, or the coordinator where it is clear that it will do. */
  private static String hostForSr(Run run, boolean shared) throws XenApiException, CliException {
    Optional<String> uuid = run.arguments().get("host-uuid");
    if (uuid.isPresent()) {
      return run.calls().byUuid("host", uuid.get());
    }
    if (!shared && run.calls().records("host", "true").size() != 1) {
      throw CliException.required("host-uuid");
    }
    return run.calls()
        .of(run.calls().records("pool", "true").firstEntry().getKey(), "pool.get_master");
  }

  /**
   * The device configuration; {@code KEY-filename=F} is KEY with the content of the client's file
   * F.
   */
  private static Value deviceConfig(Run run) throws CliException, IOException {
    SequencedMap<String, String> config = new LinkedHashMap<>();
    for (Map.Entry<String, String> e : run.arguments().map("device-config").entrySet()) {
      if (e.getKey().endsWith("-filename")) {
        byte[] content =
            run.client()
                .load(e.getValue())
                .orElseThrow(() -> CliException.failed("The client cannot read " + e.getValue()));
        config.put(
            e.getKey().substring(0, e.getKey().length() - "-filename".length()),
            new String(content, StandardCharsets.UTF_8));
      } else {
        config.put(e.getKey(), e.getValue());
      }
    }
    return Value.ofTexts(config);
  }

  private static void createSr(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    boolean shared = a.flag("shared");
    String host = hostForSr(run, shared);
    String sr =
        run.calls()
            .text(
                "SR.create",
                Value.of(host),
                deviceConfig(run),
                Value.of(a.size("physical-size").orElse(0L)),
                Value.of(a.need("name-label")),
                Value.of(a.get("name-description", "")),
                Value.of(a.need("type")),
                Value.of(a.get("content-type", "")),
                Value.of(shared),
                Value.ofTexts(a.map("sm-config")));
    run.client().print(run.calls().uuid("SR", sr));
  }

  private static void introduceSr(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    String sr =
        run.calls()
            .text(
                "SR.introduce",
                Value.of(a.need("uuid")),
                Value.of(a.need("name-label")),
                Value.of(a.get("name-description", "")),
                Value.of(a.need("type")),
                Value.of(a.get("content-type", "")),
                Value.of(a.flag("shared")),
                Value.ofTexts(a.map("sm-config")));
    run.printer().line(run.calls().uuid("SR", sr));
  }

  private static void probeSr(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    run.printer()
        .line(
            run.calls()
                .text(
                    "SR.probe",
                    Value.of(hostForSr(run, true)),
                    deviceConfig(run),
                    Value.of(a.need("type")),
                    Value.ofTexts(a.map("sm-config"))));
  }

  /** What is there, and which configurations would do or want more. */
  private static void probeSrExt(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    Value found =
        run.calls()
            .call(
                "SR.probe_ext",
                Value.of(hostForSr(run, true)),
                deviceConfig(run),
                Value.of(a.need("type")),
                Value.ofTexts(a.map("sm-config")));
    Map<String, List<List<Map.Entry<String, String>>>> tables = new LinkedHashMap<>();
    for (String kind : List.of("SRs", "Complete configurations", "Incomplete configurations")) {
      tables.put(kind, new ArrayList<>());
    }
    for (Value result : found instanceof Value.Array array ? array.items() : List.<Value>of()) {
      Map<String, Value> members = Calls.members(result);
      boolean complete = Calls.truth(members.getOrDefault("complete", Value.of(false)));
      List<Map.Entry<String, String>> configuration = new ArrayList<>();
      for (String part : List.of("configuration", "extra_info")) {
        configuration.addAll(
            Calls.textMap(members.getOrDefault(part, Value.EMPTY_STRUCT)).entrySet());
      }
      add(
          tables,
          complete ? "Complete configurations" : "Incomplete configurations",
          configuration);
      List<Map.Entry<String, String>> sr = new ArrayList<>();
      Calls.members(members.getOrDefault("sr", Value.EMPTY_STRUCT))
          .forEach(
              (name, value) -> sr.add(Map.entry(name.replace('_', '-'), Display.plain(value))));
      add(tables, "SRs", sr);
    }
    for (Map.Entry<String, List<List<Map.Entry<String, String>>>> kind : tables.entrySet()) {
      if (!kind.getValue().isEmpty()) {
        run.printer().say(kind.getKey() + ":");
        run.printer().tables(kind.getValue());
      }
    }
  }

  private static void add(
      Map<String, List<List<Map.Entry<String, String>>>> tables,
      String kind,
      List<Map.Entry<String, String>> table) {
    if (!table.isEmpty()) {
      tables.computeIfAbsent(kind, k -> new ArrayList<>()).add(table);
    }
  }

  private static void introduceVdi(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    RecordClass.EnumWords types = RecordClass.words("vdi_type");
    String type = a.need("type");
    String vdi =
        run.calls()
            .text(
                "VDI.introduce",
                Value.of(a.need("uuid")),
                Value.of(a.get("name-label", "")),
                Value.of(a.get("name-description", "")),
                Value.of(run.calls().byUuid("SR", a.need("sr-uuid"))),
                Value.of(types.read(type).orElse(type)),
                Value.of(a.flag("sharable")),
                Value.of(a.flag("read-only")),
                Value.ofTexts(a.map("other-config")),
                Value.of(a.need("location")),
                Value.ofTexts(a.map("xenstore-data")),
                Value.ofTexts(a.map("sm-config")));
    run.printer().line(run.calls().uuid("VDI", vdi));
  }

  private static void createPbd(Run run) throws XenApiException, CliException, IOException {
    SequencedMap<String, Value> pbd = new LinkedHashMap<>();
    pbd.put("host", Value.of(run.calls().byUuid("host", run.arguments().need("host-uuid"))));
    pbd.put("SR", Value.of(run.calls().byUuid("SR", run.arguments().need("sr-uuid"))));
    pbd.put("device_config", deviceConfig(run));
    pbd.put("other_config", Value.Struct.of(Map.of()));
    String ref = run.calls().text("PBD.create", new Value.Struct(pbd));
    run.printer().line(run.calls().uuid("PBD", ref));
  }

  private static void createVdi(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    SequencedMap<String, Value> vdi = new LinkedHashMap<>();
    String type = a.get("type", "user");
    String word =
        RecordClass.words("vdi_type")
            .read(type)
            .filter(List.of("system", "user", "suspend", "crashdump")::contains)
            .orElseThrow(() ->
                CliException.failed(
                    "Parameter 'type' takes system, user, suspend or crashdump, not '%s'"
                        .formatted(type)));
    vdi.put("name_label", Value.of(a.need("name-label")));
    vdi.put("name_description", Value.of(a.get("name-description", "")));
    vdi.put("SR", Value.of(run.calls().byUuid("SR", a.need("sr-uuid"))));
    vdi.put("virtual_size", Value.of(a.size("virtual-size").orElseThrow()));
    vdi.put("type", Value.of(word));
    vdi.put("sharable", Value.of(a.flag("sharable")));
    vdi.put("read_only", Value.of(false));
    vdi.put("other_config", Value.Struct.of(Map.of()));
    vdi.put("xenstore_data", Value.Struct.of(Map.of()));
    vdi.put("sm_config", Value.ofTexts(a.map("sm-config")));
    vdi.put("tags", Value.ofTexts(List.copyOf(a.map("tags").sequencedKeySet())));
    String ref = run.calls().text("VDI.create", new Value.Struct(vdi));
    run.printer().line(run.calls().uuid("VDI", ref));
  }

  private static String vdi(Run run) throws XenApiException, CliException {
    return run.calls().byUuid("VDI", run.arguments().need("uuid"));
  }

  private static void onVdi(Run run, String method) throws XenApiException, CliException {
    run.calls().call(method, Value.of(vdi(run)));
  }

  private static void resizeVdi(Run run) throws XenApiException, CliException {
    long size =
        run.arguments().size("disk-size").orElseThrow(() -> CliException.required("disk-size"));
    String method = run.arguments().flag("online") ? "VDI.resize_online" : "VDI.resize";
    run.calls().call(method, Value.of(vdi(run)), Value.of(size));
  }

  private static Value optional(Run run, String className, String parameter)
      throws XenApiException {
    Optional<String> uuid = run.arguments().get(parameter);
    return Value.of(uuid.isPresent() ? run.calls().byUuid(className, uuid.get()) : Calls.NULL);
  }

  private static void copyVdi(Run run) throws XenApiException, CliException, IOException {
    if (run.arguments().has("sr-uuid") == run.arguments().has("into-vdi-uuid")) {
      throw CliException.failed("Give either sr-uuid or into-vdi-uuid");
    }
    String copy =
        run.calls()
            .text(
                "VDI.copy",
                Value.of(vdi(run)),
                optional(run, "SR", "sr-uuid"),
                optional(run, "VDI", "base-vdi-uuid"),
                optional(run, "VDI", "into-vdi-uuid"));
    run.printer().line(run.calls().uuid("VDI", copy));
  }

  private static void duplicate(Run run, String method)
      throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    String made =
        run.calls().text(method, Value.of(vdi(run)), Value.ofTexts(a.map("driver-params")));
    Optional<String> name = a.get("new-name-label");
    if (name.isPresent()) {
      run.calls().call("VDI.set_name_label", Value.of(made), Value.of(name.get()));
    }
    Optional<String> description = a.get("new-name-description");
    if (description.isPresent()) {
      run.calls().call("VDI.set_name_description", Value.of(made), Value.of(description.get()));
    }
    run.printer().line(run.calls().uuid("VDI", made));
  }

  private static void listChangedBlocks(Run run) throws XenApiException, CliException, IOException {
    run.client()
        .print(
            run.calls()
                .text(
                    "VDI.list_changed_blocks",
                    Value.of(run.calls().byUuid("VDI", run.arguments().need("vdi-from-uuid"))),
                    Value.of(run.calls().byUuid("VDI", run.arguments().need("vdi-to-uuid")))));
  }

  private static void poolMigrateVdi(Run run) throws XenApiException, CliException, IOException {
    SequencedMap<String, String> options = new LinkedHashMap<>();
    for (String option : List.of("dest-img-format", "bandwidth")) {
      run.arguments().get(option).ifPresent(value -> options.put(option, value));
    }
    String moved =
        run.calls()
            .text(
                "VDI.pool_migrate",
                Value.of(vdi(run)),
                Value.of(run.calls().byUuid("SR", run.arguments().need("sr-uuid"))),
                Value.ofTexts(options));
    run.printer().line(run.calls().uuid("VDI", moved));
  }
}
