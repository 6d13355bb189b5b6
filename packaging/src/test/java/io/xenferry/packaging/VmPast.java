package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A VM's snapshots, and how its disks rest on theirs: all that is the same wherever the VM is. A
 * disk is named here by whose it is, since its own uuid changes when it moves.
 *
 * @param parent uuid of the snapshot that the VM was last made of, or made
 * @param snapshots by their uuids
 * @param layers of each disk, whose the images are that it rests on, from the top
 */
record VmPast(String parent, Map<String, Snapshot> snapshots, Map<String, List<String>> layers) {

  /**
   * @param fields of the VM's record, that no move may change
   * @param disks by their devices
   */
  record Snapshot(String parent, Map<String, Value> fields, Map<Integer, Disk> disks) {}

  /**
   * @param fields of the VDI's record, that no move may change
   * @param origin whose disk it is a snapshot of
   * @param digest of its contents
   */
  record Disk(Map<String, Value> fields, String origin, String digest) {}

  private static final List<String> VM_FIELDS =
      List.of(
          "name_label",
          "is_a_snapshot",
          "is_a_template",
          "snapshot_time",
          "snapshot_info",
          "snapshot_metadata",
          "tags");

  private static final List<String> VDI_FIELDS =
      List.of(
          "name_label",
          "is_a_snapshot",
          "snapshot_time",
          "virtual_size",
          "type",
          "read_only",
          "sharable",
          "managed");

  /** Reads it all. The contents of snapshots never change, so the VM may be running. */
  static VmPast of(Site site, String vm) throws Exception {
    try (Api api = new Api(site)) {
      return new Reader(api, site).read(api.text("VM.get_by_uuid", vm));
    }
  }

  private static final class Reader {
    private final Api api;
    private final Site site;

    /** Whose disk a VDI is, by its reference; and an image, by its path. */
    private final Map<String, String> owners = new HashMap<>();

    private final Map<Path, String> imageOwners = new HashMap<>();

    Reader(Api api, Site site) {
      this.api = api;
      this.site = site;
    }

    VmPast read(String vm) throws Exception {
      Map<String, Map<Integer, String>> disks = new TreeMap<>();
      disks.put(vm, disks(vm, "the VM's disk "));
      List<String> snapshots = api.texts("VM.get_snapshots", vm);
      for (String snapshot : snapshots) {
        disks.put(snapshot, disks(snapshot, api.text("VM.get_uuid", snapshot) + "'s disk "));
      }
      Map<String, Snapshot> found = new TreeMap<>();
      Map<String, List<String>> layers = new TreeMap<>();
      for (String snapshot : snapshots) {
        assertThat(api.text("VM.get_snapshot_of", snapshot)).isEqualTo(vm);
        Map<Integer, Disk> of = new TreeMap<>();
        for (var disk : disks.getOrDefault(snapshot, Map.of()).entrySet()) {
          of.put(disk.getKey(), disk(disk.getValue()));
        }
        found.put(
            api.text("VM.get_uuid", snapshot),
            new Snapshot(
                uuid(api.text("VM.get_parent", snapshot)), fields("VM", snapshot, VM_FIELDS), of));
      }
      for (Map<Integer, String> of : disks.values()) {
        for (String vdi : of.values()) {
          layers.put(owners.getOrDefault(vdi, ""), layers(vdi));
        }
      }
      return new VmPast(uuid(api.text("VM.get_parent", vm)), found, layers);
    }

    private String uuid(String vm) throws Exception {
      return vm.equals("OpaqueRef:NULL") ? "" : api.text("VM.get_uuid", vm);
    }

    private Map<Integer, String> disks(String vm, String owner) throws Exception {
      Map<Integer, String> found = new TreeMap<>();
      for (String vbd : api.texts("VM.get_VBDs", vm)) {
        int device = Integer.parseInt(api.text("VBD.get_userdevice", vbd));
        String vdi = api.text("VBD.get_VDI", vbd);
        found.put(device, vdi);
        owners.put(vdi, owner + device);
        imageOwners.put(image(vdi), owner + device);
      }
      return found;
    }

    private Path image(String vdi) throws Exception {
      return DiskFiles.image(site, api.text("VDI.get_uuid", vdi));
    }

    private Disk disk(String vdi) throws Exception {
      return new Disk(
          fields("VDI", vdi, VDI_FIELDS),
          owners.getOrDefault(api.text("VDI.get_snapshot_of", vdi), "nobody's"),
          DiskFiles.digest(image(vdi)));
    }

    private List<String> layers(String vdi) throws Exception {
      List<String> named = new ArrayList<>();
      for (Path image : DiskFiles.chain(image(vdi))) {
        named.add(imageOwners.getOrDefault(image, "nobody's: " + image));
      }
      return named;
    }

    private Map<String, Value> fields(String className, String ref, List<String> names)
        throws Exception {
      var all = ((Value.Struct) api.call(className + ".get_record", Value.of(ref))).members();
      Map<String, Value> chosen = new TreeMap<>();
      for (String name : names) {
        assertThat(all).containsKey(name);
        chosen.put(name, all.get(name));
      }
      return chosen;
    }
  }
}
