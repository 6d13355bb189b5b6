package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.stream.Collectors;

/** Disks, CDs and network cards of selected VMs. */
final class DriveCommands {
  private static final String DISK_PARAMS = "uuid,vm-name-label,userdevice";
  private static final String VDI_PARAMS = "uuid,name-label,sr-name-label,virtual-size";
  private static final String CD_PARAMS = "uuid,name-label";
  private static final Set<String> VIF_PARAMS =
      Set.of("uuid", "device", "MAC", "network-uuid", "network-name-label", "vm-name-label");

  private DriveCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("vm-disk-list", run -> list(run, false));
    commands.put("vm-cd-list", run -> list(run, true));
    commands.put("cd-list", DriveCommands::listCds);
    commands.put("vm-vif-list", DriveCommands::listVifs);
    commands.put("vm-cd-add", run -> VmCommands.each(run, false, false, vm -> addCd(run, vm)));
    commands.put(
        "vm-cd-insert", run -> VmCommands.each(run, false, false, vm -> insertCd(run, vm)));
    commands.put("vm-cd-eject", run -> VmCommands.each(run, false, false, vm -> ejectCd(run, vm)));
    commands.put(
        "vm-cd-remove", run -> VmCommands.each(run, false, false, vm -> removeCd(run, vm)));
    commands.put("vm-disk-add", run -> VmCommands.each(run, false, false, vm -> addDisk(run, vm)));
    commands.put(
        "vm-disk-remove", run -> VmCommands.each(run, false, false, vm -> removeDisk(run, vm)));
  }

  /** A VBD of a VM with its record. */
  private record Drive(String ref, Map<String, Value> record) {
    boolean empty() {
      return Calls.truth(record.getOrDefault("empty", Value.of(false)));
    }

    String vdi() {
      return Calls.field(record, "VDI");
    }
  }

  private static List<Drive> drives(Run run, Selection.Chosen vm, boolean cds)
      throws XenApiException {
    List<Drive> drives = new ArrayList<>();
    for (String ref : Calls.texts(vm.record().getOrDefault("VBDs", Value.VOID))) {
      Map<String, Value> record = run.calls().record("VBD", ref);
      if (Calls.field(record, "type").equals("CD") == cds) {
        drives.add(new Drive(ref, record));
      }
    }
    return drives;
  }

  private static void list(Run run, boolean cds) throws XenApiException, CliException, IOException {
    // A list is no operation: any number of VMs, and one that has none is no error.
    List<Selection.Chosen> vms =
        run.selection().vms(Selection.filters(run.arguments(), run.command().own()), false, false);
    for (Selection.Chosen vm : vms) {
      list(run, vm, cds);
    }
  }

  /** The disks, or the CDs, of one VM or snapshot. */
  static void list(Run run, Selection.Chosen vm, boolean cds) throws XenApiException, IOException {
    String vbdParams = run.arguments().get("vbd-params", DISK_PARAMS + (cds ? ",empty" : ""));
    String vdiParams = run.arguments().get("vdi-params", VDI_PARAMS);
    String what = cds ? "CD" : "Disk";
    int number = 0;
    for (Drive drive : drives(run, vm, cds)) {
      run.printer().say("%s %d VBD:".formatted(what, number));
      show(run, "vbd", drive.ref(), drive.record(), vbdParams);
      if (!drive.empty() && !drive.vdi().equals(Calls.NULL)) {
        run.printer().say("%s %d VDI:".formatted(what, number));
        show(run, "vdi", drive.vdi(), run.calls().record("VDI", drive.vdi()), vdiParams);
      }
      number++;
    }
  }

  private static void show(
      Run run, String type, String ref, Map<String, Value> record, String params)
      throws IOException {
    run.printer().tables(List.of(table(run, type, ref, record, params)));
  }

  private static List<Map.Entry<String, String>> table(
      Run run, String type, String ref, Map<String, Value> record, String params) {
    Optional<Set<String>> fields =
        params.equals("all")
            ? Optional.empty()
            : Optional.of(Arrays.stream(params.split(",")).collect(Collectors.toSet()));
    return run.display().table(ref, record, RecordClass.of(type), fields, false);
  }

  /** What can be inserted, whether it is in a drive or not. */
  private static void listCds(Run run) throws XenApiException, IOException {
    String params = run.arguments().get("params", CD_PARAMS);
    List<List<Map.Entry<String, String>>> tables = new ArrayList<>();
    for (Map<String, Value> sr : run.calls().records("SR", "true").values()) {
      if (Calls.field(sr, "content_type").equals("iso")) {
        for (String ref : Calls.texts(sr.getOrDefault("VDIs", Value.VOID))) {
          tables.add(table(run, "vdi", ref, run.calls().record("VDI", ref), params));
        }
      }
    }
    run.printer().tables(tables);
  }

  private static void listVifs(Run run) throws XenApiException, CliException, IOException {
    List<List<Map.Entry<String, String>>> tables = new ArrayList<>();
    for (Selection.Chosen vm :
        run.selection()
            .vms(Selection.filters(run.arguments(), run.command().own()), false, false)) {
      for (String ref : Calls.texts(vm.record().getOrDefault("VIFs", Value.VOID))) {
        tables.add(
            run.display()
                .table(
                    ref,
                    run.calls().record("VIF", ref),
                    RecordClass.of("vif"),
                    Optional.of(VIF_PARAMS),
                    false));
      }
    }
    run.printer().tables(tables);
  }

  /** The one image of that name in an SR for CDs. */
  private static String cd(Run run) throws XenApiException, CliException {
    String name = run.arguments().need("cd-name");
    List<String> found = new ArrayList<>();
    for (Map.Entry<String, Map<String, Value>> vdi :
        run.calls().records("VDI", Calls.anyEquals(name, "name__label")).entrySet()) {
      if (inIsoSr(run, vdi.getValue())) {
        found.add(vdi.getKey());
      }
    }
    if (found.size() != 1) {
      throw CliException.failed(
          found.isEmpty()
              ? "No CD of the name '%s' in an SR for CDs".formatted(name)
              : "%d CDs have the name '%s': vbd-insert takes a uuid".formatted(found.size(), name));
    }
    return found.getFirst();
  }

  private static boolean inIsoSr(Run run, Map<String, Value> vdi) throws XenApiException {
    return run.calls().of(Calls.field(vdi, "SR"), "SR.get_content_type").equals("iso");
  }

  private static void addCd(Run run, Selection.Chosen vm)
      throws XenApiException, CliException, IOException {
    String vdi = cd(run);
    String vbd = create(run, vm, vdi, run.arguments().need("device"), "CD", Map.of());
    if (!plugIfItCanBe(run, vm, vbd)) {
      run.printer().say("The drive is there when the VM is next started, or rebooted: vm-reboot.");
    }
  }

  private static String create(
      Run run,
      Selection.Chosen vm,
      String vdi,
      String device,
      String type,
      Map<String, String> otherConfig)
      throws XenApiException {
    SequencedMap<String, Value> vbd = new LinkedHashMap<>();
    vbd.put("VM", Value.of(vm.ref()));
    vbd.put("VDI", Value.of(vdi));
    vbd.put("userdevice", Value.of(device));
    vbd.put("bootable", Value.of(false));
    vbd.put("mode", Value.of(type.equals("CD") ? "RO" : "RW"));
    vbd.put("type", Value.of(type));
    vbd.put("unpluggable", Value.of(true));
    vbd.put("empty", Value.of(false));
    vbd.put("qos_algorithm_type", Value.of(""));
    vbd.put("qos_algorithm_params", Value.Struct.of(Map.of()));
    vbd.put("other_config", Value.ofTexts(otherConfig));
    return run.calls().text("VBD.create", new Value.Struct(vbd));
  }

  /**
   * The device is there from the VM's next start on in any case.
   *
   * @return false where that is to be waited for
   */
  private static boolean plugIfItCanBe(Run run, Selection.Chosen vm, String vbd)
      throws XenApiException {
    if (Calls.field(vm.record(), "power_state").equals("Running")) {
      try {
        run.calls().call("VBD.plug", Value.of(vbd));
      } catch (XenApiException e) {
        if (!e.code().equals("OPERATION_NOT_ALLOWED")) {
          throw e;
        }
        return false;
      }
    }
    return true;
  }

  private static Drive soleDrive(Run run, Selection.Chosen vm, boolean empty)
      throws XenApiException, CliException {
    List<Drive> fitting =
        drives(run, vm, true).stream().filter(drive -> drive.empty() == empty).toList();
    if (fitting.size() != 1) {
      throw CliException.failed(
          "The VM has %d CD drives that are %s; vbd-insert and vbd-eject take a uuid"
              .formatted(fitting.size(), empty ? "empty" : "not empty"));
    }
    return fitting.getFirst();
  }

  private static void insertCd(Run run, Selection.Chosen vm) throws XenApiException, CliException {
    String vdi = cd(run);
    Drive drive = soleDrive(run, vm, true);
    run.calls().call("VBD.insert", Value.of(drive.ref()), Value.of(vdi));
  }

  private static void ejectCd(Run run, Selection.Chosen vm) throws XenApiException, CliException {
    run.calls().call("VBD.eject", Value.of(soleDrive(run, vm, false).ref()));
  }

  private static void removeCd(Run run, Selection.Chosen vm) throws XenApiException, CliException {
    String name = run.arguments().need("cd-name");
    List<Drive> found = new ArrayList<>();
    for (Drive drive : drives(run, vm, true)) {
      if (!drive.empty() && !drive.vdi().equals(Calls.NULL)) {
        Map<String, Value> vdi = run.calls().record("VDI", drive.vdi());
        if (Calls.field(vdi, "name_label").equals(name) && inIsoSr(run, vdi)) {
          found.add(drive);
        }
      }
    }
    if (found.size() != 1) {
      throw CliException.failed("%d CD drives of the VM hold '%s'".formatted(found.size(), name));
    }
    run.calls().call("VBD.destroy", Value.of(found.getFirst().ref()));
  }

  private static void addDisk(Run run, Selection.Chosen vm) throws XenApiException, CliException {
    Optional<String> uuid = run.arguments().get("sr-uuid");
    String sr = uuid.isPresent() ? run.calls().byUuid("SR", uuid.get()) : defaultSr(run);
    SequencedMap<String, Value> vdi = new LinkedHashMap<>();
    vdi.put("name_label", Value.of("Created by xe"));
    vdi.put("name_description", Value.of(""));
    vdi.put("SR", Value.of(sr));
    vdi.put(
        "virtual_size", Value.of(Arguments.size("disk-size", run.arguments().need("disk-size"))));
    vdi.put("type", Value.of("user"));
    vdi.put("sharable", Value.of(false));
    vdi.put("read_only", Value.of(false));
    vdi.put("other_config", Value.Struct.of(Map.of()));
    vdi.put("sm_config", Value.Struct.of(Map.of()));
    String made = run.calls().text("VDI.create", new Value.Struct(vdi));
    String vbd = create(run, vm, made, run.arguments().need("device"), "Disk", Map.of("owner", ""));
    plugIfItCanBe(run, vm, vbd);
  }

  private static String defaultSr(Run run) throws XenApiException, CliException {
    for (Map<String, Value> pool : run.calls().records("pool", "true").values()) {
      String sr = Calls.field(pool, "default_SR");
      if (!sr.isEmpty() && !sr.equals(Calls.NULL)) {
        return sr;
      }
    }
    throw CliException.failed("The pool has no default SR: sr-uuid is missing");
  }

  private static void removeDisk(Run run, Selection.Chosen vm)
      throws XenApiException, CliException {
    String device = run.arguments().need("device");
    for (Drive drive : drives(run, vm, false)) {
      if (Calls.field(drive.record(), "userdevice").equals(device)) {
        run.calls().call("VBD.destroy", Value.of(drive.ref()));
        run.calls().call("VDI.destroy", Value.of(drive.vdi()));
        return;
      }
    }
    throw CliException.failed("The VM has no disk '%s'".formatted(device));
  }
}
