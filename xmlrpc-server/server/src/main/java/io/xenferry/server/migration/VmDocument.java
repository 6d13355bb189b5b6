package io.xenferry.server.migration;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Type;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.vm.BuiltMachine;
import io.xenferry.server.vm.FirmwareVariables;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.TpmStates;
import io.xenferry.server.vm.Vtpms;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * A VM's records as they travel to the other pool: the VM, its VBDs with their VDIs, its VIFs with
 * the networks that the client chose there, and the same of each of its snapshots. References do
 * not travel, and nothing that only the server of a pool knows (power state, operations, domain
 * id).
 *
 * @param tracking what is known of the disks' changed blocks
 * @param vcpus how many processors the VM has now, if it runs
 * @param machine of a guest that goes on; empty for one that does not, or that is an older server's
 * @param messages about the VM and its snapshots
 */
record VmDocument(
    Ref<VM> ref,
    Map<String, Value> vm,
    List<Drive> drives,
    List<Nic> nics,
    Map<UUID, Map<String, Value>> vdis,
    Past past,
    Tracking tracking,
    long vcpus,
    Optional<Vtpms.Tpm> tpm,
    Optional<BuiltMachine> machine,
    VmMessages messages) {

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Where the guest's machine, if it goes with it, is the usual one. */
  private static final int VERSION = 1;

  /** A server that knows no options of machines would build another than the guest's. */
  private static final int WITH_OPTIONS = 2;

  /**
   * Characters of the largest document; a VM with hundreds of disks and long maps has some tens of
   * KiB, each of its snapshots as many; and changed blocks have a limit of their own.
   */
  static final int LIMIT = 8 << 20;

  /** What a pool's server decides by itself. */
  private static final Set<String> NOT_CARRIED =
      Set.of(
          "uuid",
          "allowed_operations",
          "current_operations",
          "power_state",
          "domid",
          "storage_lock",
          "reserved",
          "status_code",
          "status_detail",
          "runtime_properties",
          "location",
          "virtual_size",
          "physical_utilisation",
          "managed",
          "missing",
          "sm_config",
          "cbt_enabled",
          "is_tools_iso",
          "version");

  /** A VBD; the VDI is named by its uuid at the source, absent for an empty drive. */
  record Drive(Optional<UUID> vdi, Map<String, Value> fields) {}

  /**
   * What was before the VM.
   *
   * @param parent the snapshot that the VM was last made of, or made
   * @param snapshots all of the VM, in the order of time
   * @param snapshotOf of which VDI each VDI is a snapshot, by their uuids at the source
   */
  record Past(Optional<UUID> parent, List<Taken> snapshots, Map<UUID, UUID> snapshotOf) {
    static final Past NONE = new Past(Optional.empty(), List.of(), Map.of());
  }

  /** A snapshot of the VM. */
  record Taken(
      UUID uuid,
      Optional<UUID> parent,
      Map<String, Value> vm,
      List<Drive> drives,
      List<Nic> nics,
      Optional<Vtpms.Tpm> tpm) {}

  /** A VIF, and the reference of its network at the destination. */
  record Nic(String network, Map<String, Value> fields) {}

  /**
   * @param there what the VM's reference shall be at the destination, so that the source can tell
   *     its client
   * @param networks for each VIF of the VM the reference of the network at the destination; those
   *     that have none are left out, which is an obstacle that somebody else sees
   * @param withPast of what is known of its disks: empty for a VM without its past
   * @param machine of the guest, if that goes on there
   * @param messages about what goes
   */
  static VmDocument of(
      Snapshot db,
      Ref<VM> vm,
      Ref<VM> there,
      Map<Ref<VIF>, String> networks,
      Optional<Tracking> withPast,
      Optional<BuiltMachine> machine,
      VmMessages messages)
      throws XenApiException {
    Map<UUID, Map<String, Value>> vdis = new LinkedHashMap<>();
    List<Drive> drives = drives(db, vm, vdis, true);
    Ref<VDI> image = db.get(vm, VM.SUSPEND_VDI);
    if (db.row("VDI", image.opaque()).isPresent()) {
      vdis.put(UUID.fromString(db.get(image, VDI.UUID)), fields(db, "VDI", image.opaque()));
    }
    List<Nic> nics = nics(db, vm, networks);
    Tracking tracking = withPast.orElse(Tracking.NONE);
    for (Tracking.Emptied each : tracking.emptied()) {
      Row row = db.byUuid("VDI", each.vdi().toString()).orElseThrow();
      vdis.put(each.vdi(), fields(db, "VDI", row.ref()));
    }
    Past past = withPast.isPresent() ? past(db, vm, networks, vdis) : Past.NONE;
    long vcpus = db.get(db.get(vm, VM.METRICS), VMMetrics.VCPUS_NUMBER);
    Map<String, Value> fields = fields(db, "VM", vm.opaque());
    return new VmDocument(
        there,
        fields,
        drives,
        nics,
        vdis,
        past,
        tracking,
        vcpus,
        Vtpms.of(db, vm),
        machine,
        messages);
  }

  /**
   * @param withSerials whether a guest may know the disks, which are other VDIs at the destination
   */
  private static List<Drive> drives(
      Snapshot db, Ref<VM> vm, Map<UUID, Map<String, Value>> vdis, boolean withSerials)
      throws XenApiException {
    List<Drive> drives = new ArrayList<>();
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      Ref<VDI> vdi = db.get(vbd, VBD.VDI);
      boolean cd = db.get(vbd, VBD.TYPE).wire().equals("CD");
      Optional<UUID> uuid = Optional.empty();
      Map<String, Value> fields = new LinkedHashMap<>(fields(db, "VBD", vbd.opaque()));
      if (!vdi.isNull() && !db.get(vbd, VBD.EMPTY) && !cd) {
        uuid = Optional.of(UUID.fromString(db.get(vdi, VDI.UUID)));
        vdis.put(uuid.get(), fields(db, "VDI", vdi.opaque()));
      } else {
        fields.put("empty", Value.of(true));
      }
      Map<String, String> config =
          uuid.isPresent() && withSerials
              ? GuestSpecs.withSerial(db, vbd)
              : new LinkedHashMap<>(db.get(vbd, VBD.OTHER_CONFIG));
      config.remove(EjectedCds.KEY);
      fields.put("other_config", Value.ofTexts(config));
      drives.add(new Drive(uuid, fields));
    }
    return drives;
  }

  private static List<Nic> nics(Snapshot db, Ref<VM> vm, Map<Ref<VIF>, String> networks)
      throws XenApiException {
    List<Nic> nics = new ArrayList<>();
    for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
      String network = networks.get(vif);
      if (network != null) {
        nics.add(new Nic(network, fields(db, "VIF", vif.opaque())));
      }
    }
    return nics;
  }

  /** The VM's snapshots, the oldest first. */
  static List<Ref<VM>> snapshots(Snapshot db, Ref<VM> vm) throws XenApiException {
    Map<Ref<VM>, Instant> times = new LinkedHashMap<>();
    for (Ref<VM> snapshot : db.get(vm, VM.SNAPSHOTS)) {
      times.put(snapshot, db.get(snapshot, VM.SNAPSHOT_TIME));
    }
    return times.entrySet().stream()
        .sorted(Map.Entry.comparingByValue())
        .map(Map.Entry::getKey)
        .toList();
  }

  private static Past past(
      Snapshot db, Ref<VM> vm, Map<Ref<VIF>, String> networks, Map<UUID, Map<String, Value>> vdis)
      throws XenApiException {
    List<Taken> taken = new ArrayList<>();
    for (Ref<VM> snapshot : snapshots(db, vm)) {
      taken.add(
          new Taken(
              UUID.fromString(db.get(snapshot, VM.UUID)),
              parent(db, snapshot),
              fields(db, "VM", snapshot.opaque()),
              drives(db, snapshot, vdis, false),
              nics(db, snapshot, networks),
              Vtpms.of(db, snapshot)));
    }
    Map<UUID, UUID> snapshotOf = new LinkedHashMap<>();
    for (UUID vdi : vdis.keySet()) {
      Ref<VDI> ref = new Ref<>(db.byUuid("VDI", vdi.toString()).orElseThrow().ref());
      Ref<VDI> origin = db.get(ref, VDI.SNAPSHOT_OF);
      if (db.row("VDI", origin.opaque()).isPresent()) {
        snapshotOf.put(vdi, UUID.fromString(db.get(origin, VDI.UUID)));
      }
    }
    return new Past(parent(db, vm), taken, snapshotOf);
  }

  private static Optional<UUID> parent(Snapshot db, Ref<VM> vm) throws XenApiException {
    Ref<VM> parent = db.get(vm, VM.PARENT);
    return db.row("VM", parent.opaque()).isPresent()
        ? Optional.of(UUID.fromString(db.get(parent, VM.UUID)))
        : Optional.empty();
  }

  private static Map<String, Value> fields(Snapshot db, String className, String ref)
      throws XenApiException {
    Row row =
        db.row(className, ref)
            .orElseThrow(() -> new XenApiException("HANDLE_INVALID", className, ref));
    Map<String, Value> fields = new LinkedHashMap<>();
    for (FieldDef field : carried(className)) {
      fields.put(field.name(), row.get(field));
    }
    return fields;
  }

  private static List<FieldDef> carried(String className) {
    ClassDef c = DataModel.classDef(className);
    return c.fields().stream()
        .filter(f -> !NOT_CARRIED.contains(f.name()) && !refers(f.type()))
        .toList();
  }

  private static boolean refers(Type type) {
    return switch (type) {
      case Type.Basic basic -> false;
      case Type.EnumOf word -> false;
      case Type.RefTo ref -> true;
      case Type.RecordOf record -> true;
      case Type.SetOf set -> refers(set.element());
      case Type.MapOf map -> refers(map.key()) || refers(map.value());
      case Type.OptionOf option -> refers(option.inner());
    };
  }

  String text() {
    ObjectNode root = JSON.createObjectNode();
    root.put("version", machine.map(BuiltMachine::isUsual).orElse(true) ? VERSION : WITH_OPTIONS);
    machine.ifPresent(built -> root.set("machine", built.json()));
    root.put("ref", ref.opaque());
    root.put("vcpus", vcpus);
    devices(root, vm, drives, nics);
    tpm(root, tpm);
    past.parent().ifPresent(parent -> root.put("parent", parent.toString()));
    ArrayNode takenNodes = root.putArray("snapshots");
    for (Taken taken : past.snapshots()) {
      ObjectNode node = takenNodes.addObject();
      node.put("uuid", taken.uuid().toString());
      taken.parent().ifPresent(parent -> node.put("parent", parent.toString()));
      devices(node, taken.vm(), taken.drives(), taken.nics());
      tpm(node, taken.tpm());
    }
    ObjectNode origins = root.putObject("snapshot_of");
    past.snapshotOf().forEach((vdi, of) -> origins.put(vdi.toString(), of.toString()));
    ObjectNode vdiNodes = root.putObject("vdis");
    vdis.forEach((uuid, fields) -> vdiNodes.set(uuid.toString(), object(fields)));
    tracking.write(root);
    messages.write(root);
    return root.toString();
  }

  private static void devices(
      ObjectNode root, Map<String, Value> vm, List<Drive> drives, List<Nic> nics) {
    root.set("vm", object(vm));
    ArrayNode driveNodes = root.putArray("vbds");
    for (Drive drive : drives) {
      ObjectNode node = driveNodes.addObject();
      drive.vdi().ifPresent(v -> node.put("vdi", v.toString()));
      node.set("record", object(drive.fields()));
    }
    ArrayNode nicNodes = root.putArray("vifs");
    for (Nic nic : nics) {
      ObjectNode node = nicNodes.addObject();
      node.put("network", nic.network());
      node.set("record", object(nic.fields()));
    }
  }

  private static void tpm(ObjectNode root, Optional<Vtpms.Tpm> tpm) {
    tpm.ifPresent(
        t -> root.putObject("vtpm").put("unique", t.unique()).put("contents", t.contents()));
  }

  private static Optional<Vtpms.Tpm> readTpm(JsonNode root) {
    JsonNode node = root.path("vtpm");
    if (!node.isObject()) {
      return Optional.empty();
    }
    String contents = node.path("contents").asText();
    if (!TpmStates.valid(contents)) {
      throw new IllegalArgumentException("what the VM's TPM keeps is not base64, or too long");
    }
    return Optional.of(new Vtpms.Tpm(node.path("unique").asBoolean(), contents));
  }

  private static ObjectNode object(Map<String, Value> fields) {
    ObjectNode node = JSON.createObjectNode();
    fields.forEach((name, value) -> node.set(name, ValueJson.write(value)));
    return node;
  }

  /**
   * Reads what a peer sent. Fields that this data model does not have are left out, missing ones
   * take their defaults.
   *
   * @throws IllegalArgumentException when it is no such document
   */
  static VmDocument parse(String text) {
    if (text.length() > LIMIT) {
      throw new IllegalArgumentException(
          "the VM's document has more than " + LIMIT + " characters");
    }
    JsonNode root;
    try {
      root = JSON.readTree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("the VM's document is no JSON", e);
    }
    int version = root.path("version").asInt();
    if (version != VERSION && version != WITH_OPTIONS) {
      throw new IllegalArgumentException("the VM's document has an unknown version");
    }
    List<Drive> drives = readDrives(root);
    List<Nic> nics = readNics(root);
    List<Taken> taken = new ArrayList<>();
    for (JsonNode node : root.path("snapshots")) {
      taken.add(
          new Taken(
              UUID.fromString(node.path("uuid").asText()),
              uuid(node, "parent"),
              vm(node.path("vm")),
              readDrives(node),
              readNics(node),
              readTpm(node)));
    }
    Map<UUID, UUID> snapshotOf = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : root.path("snapshot_of").properties()) {
      snapshotOf.put(UUID.fromString(entry.getKey()), UUID.fromString(entry.getValue().asText()));
    }
    Past past = new Past(uuid(root, "parent"), taken, snapshotOf);
    Map<UUID, Map<String, Value>> vdis = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : root.path("vdis").properties()) {
      vdis.put(UUID.fromString(entry.getKey()), record(entry.getValue(), "VDI"));
    }
    String ref = root.path("ref").asText();
    if (!ref.matches("OpaqueRef:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")) {
      throw new IllegalArgumentException("the VM's document names no reference");
    }
    return new VmDocument(
        new Ref<>(ref),
        vm(root.path("vm")),
        drives,
        nics,
        vdis,
        past,
        Tracking.read(root),
        root.path("vcpus").asLong(),
        readTpm(root),
        BuiltMachine.read(root.path("machine")),
        VmMessages.read(root));
  }

  private static Optional<UUID> uuid(JsonNode node, String name) {
    return node.has(name)
        ? Optional.of(UUID.fromString(node.path(name).asText()))
        : Optional.empty();
  }

  private static List<Drive> readDrives(JsonNode root) {
    List<Drive> drives = new ArrayList<>();
    for (JsonNode node : root.path("vbds")) {
      drives.add(new Drive(uuid(node, "vdi"), record(node.path("record"), "VBD")));
    }
    return drives;
  }

  private static List<Nic> readNics(JsonNode root) {
    List<Nic> nics = new ArrayList<>();
    for (JsonNode node : root.path("vifs")) {
      nics.add(new Nic(node.path("network").asText(), record(node.path("record"), "VIF")));
    }
    return nics;
  }

  /** As much as this server itself takes from its clients. */
  private static Map<String, Value> vm(JsonNode node) {
    Map<String, Value> fields = record(node, "VM");
    long length = 0;
    if (fields.get("NVRAM") instanceof Value.Struct nvram) {
      for (Map.Entry<String, Value> e : nvram.members().entrySet()) {
        length += e.getKey().length();
        length += e.getValue() instanceof Value.Text(String text) ? text.length() : 0;
      }
    }
    if (length > FirmwareVariables.LIMIT) {
      throw new IllegalArgumentException(
          "NVRAM of the VM has more than " + FirmwareVariables.LIMIT + " characters");
    }
    return fields;
  }

  private static Map<String, Value> record(JsonNode node, String className) {
    Map<String, Value> fields = new LinkedHashMap<>();
    for (FieldDef field : carried(className)) {
      JsonNode value = node.get(field.name());
      if (value != null) {
        fields.put(field.name(), ValueJson.read(value, field.type()));
      }
    }
    return fields;
  }

  /** The networks that the VIFs name and this pool does not have. */
  List<String> missingNetworks(Snapshot db) {
    return Stream.concat(
            nics.stream(), past.snapshots().stream().flatMap(taken -> taken.nics().stream()))
        .map(Nic::network)
        .distinct()
        .filter(n -> db.row(DataModel.classDef("network").name(), n).isEmpty())
        .toList();
  }
}
