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
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * A VM's records as they travel to the other pool: the VM, its VBDs with their VDIs, its VIFs with
 * the networks that the client chose there. References do not travel, and nothing that only the
 * server of a pool knows (power state, operations, domain id).
 */
record VmDocument(
    Ref<VM> ref,
    Map<String, Value> vm,
    List<Drive> drives,
    List<Nic> nics,
    Map<UUID, Map<String, Value>> vdis) {

  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Bytes of the largest document; a VM with hundreds of disks and long maps has some tens of KiB.
   */
  static final int LIMIT = 1 << 20;

  /** What a pool's server decides by itself. */
  private static final Set<String> NOT_CARRIED =
      Set.of(
          "uuid",
          "allowed_operations",
          "current_operations",
          "power_state",
          "domid",
          "currently_attached",
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

  /** A VIF, and the reference of its network at the destination. */
  record Nic(String network, Map<String, Value> fields) {}

  /**
   * @param there what the VM's reference shall be at the destination, so that the source can tell
   *     its client
   * @param networks for each VIF of the VM the reference of the network at the destination
   */
  static VmDocument of(Snapshot db, Ref<VM> vm, Ref<VM> there, Map<Ref<VIF>, String> networks)
      throws XenApiException {
    List<Drive> drives = new ArrayList<>();
    Map<UUID, Map<String, Value>> vdis = new LinkedHashMap<>();
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
      drives.add(new Drive(uuid, fields));
    }
    List<Nic> nics = new ArrayList<>();
    for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
      String network = networks.get(vif);
      if (network == null) {
        throw new XenApiException("VIF_NOT_IN_MAP", vif.opaque());
      }
      nics.add(new Nic(network, fields(db, "VIF", vif.opaque())));
    }
    return new VmDocument(there, fields(db, "VM", vm.opaque()), drives, nics, vdis);
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
    root.put("version", 1);
    root.put("ref", ref.opaque());
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
    ObjectNode vdiNodes = root.putObject("vdis");
    vdis.forEach((uuid, fields) -> vdiNodes.set(uuid.toString(), object(fields)));
    return root.toString();
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
    if (root.path("version").asInt() != 1) {
      throw new IllegalArgumentException("the VM's document has an unknown version");
    }
    List<Drive> drives = new ArrayList<>();
    for (JsonNode node : root.path("vbds")) {
      Optional<UUID> vdi =
          node.has("vdi")
              ? Optional.of(UUID.fromString(node.path("vdi").asText()))
              : Optional.empty();
      drives.add(new Drive(vdi, record(node.path("record"), "VBD")));
    }
    List<Nic> nics = new ArrayList<>();
    for (JsonNode node : root.path("vifs")) {
      nics.add(new Nic(node.path("network").asText(), record(node.path("record"), "VIF")));
    }
    Map<UUID, Map<String, Value>> vdis = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : root.path("vdis").properties()) {
      vdis.put(UUID.fromString(entry.getKey()), record(entry.getValue(), "VDI"));
    }
    String ref = root.path("ref").asText();
    if (!ref.matches("OpaqueRef:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")) {
      throw new IllegalArgumentException("the VM's document names no reference");
    }
    return new VmDocument(new Ref<>(ref), record(root.path("vm"), "VM"), drives, nics, vdis);
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
    return nics.stream()
        .map(Nic::network)
        .filter(n -> db.row(DataModel.classDef("network").name(), n).isEmpty())
        .toList();
  }
}
