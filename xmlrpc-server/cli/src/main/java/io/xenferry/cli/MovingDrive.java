package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A VBD, not an empty one, of a VM that is to move.
 *
 * @param vbd its record
 */
record MovingDrive(Selection.Chosen vm, Map<String, Value> vbd) {

  static List<MovingDrive> of(Run run, List<Selection.Chosen> vms) throws XenApiException {
    List<MovingDrive> drives = new ArrayList<>();
    for (Selection.Chosen vm : vms) {
      for (String vbd : Calls.texts(run.calls().call("VM.get_VBDs", Value.of(vm.ref())))) {
        Map<String, Value> record = run.calls().record("VBD", vbd);
        if (!Calls.truth(record.getOrDefault("empty", Value.of(false)))) {
          drives.add(new MovingDrive(vm, record));
        }
      }
    }
    return drives;
  }

  boolean isCd() {
    return Calls.field(vbd, "type").equals("CD");
  }

  String vdi() {
    return Calls.field(vbd, "VDI");
  }

  /**
   * Tells what becomes of CDs, which do not move.
   *
   * @param there is asked for its uuid only where there are any
   */
  static void announceCds(Run run, List<MovingDrive> drives, Destination there)
      throws XenApiException, CliException, IOException {
    for (MovingDrive drive : drives) {
      if (drive.isCd()) {
        run.printer()
            .say(
                "CD %s (%s) in drive %s: %s."
                    .formatted(
                        run.calls().uuid("VDI", drive.vdi()),
                        run.calls().of(drive.vdi(), "VDI.get_name_label"),
                        Calls.field(drive.vbd(), "userdevice"),
                        drive.fate(run.arguments(), isOurs(run, there.uuid()))));
      }
    }
  }

  private String fate(Arguments a, boolean withinServer) throws CliException {
    if (withinServer) {
      return "stays in it";
    }
    if (a.flag("copy")) {
      return "stays in it; that of the copy is empty";
    }
    boolean kept = !a.get("keep-source", "false").equalsIgnoreCase("false");
    boolean runs = Calls.field(vm.record(), "power_state").equals("Running");
    return (runs ? "the guest is asked to give it back; " : "")
        + "it stays here, and the drive is empty there"
        + (kept ? "; the VM that is kept has it in its drive" : "");
  }

  /** A server may move a VM's disks from SR to SR of its own by the same command. */
  private static boolean isOurs(Run run, String host) {
    try {
      run.calls().byUuid("host", host);
      return true;
    } catch (XenApiException e) {
      return false;
    }
  }
}
