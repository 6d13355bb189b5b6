package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.Host;
import io.xenferry.model.PBD;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.Value;
import io.xenferry.model.VbdMode;
import io.xenferry.model.VdiOperations;
import io.xenferry.model.VdiType;
import io.xenferry.model.VmApplianceOperation;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.vm.Appliances;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/**
 * The database, with {@code allowed_operations} of VDIs, SRs, hosts and appliances following in the
 * same transaction from what it changes: what this server would accept now. Pools have none, since
 * none of theirs is implemented; VMs and their devices are {@link AllowedOperations}' part.
 *
 * <p>What needs more than the records to be known, such as whether a VM is being moved, is left to
 * the messages to refuse.
 */
public final class ResourceOperations implements ObjectDatabase {
  /** The SR driver's capability that an operation needs; those not named need none. */
  private static final Map<String, String> CAPABILITIES =
      Map.ofEntries(
          Map.entry("create", "VDI_CREATE"),
          Map.entry("destroy", "VDI_DELETE"),
          Map.entry("resize", "VDI_RESIZE"),
          Map.entry("resize_online", "VDI_RESIZE_ONLINE"),
          Map.entry("clone", "VDI_CLONE"),
          Map.entry("snapshot", "VDI_SNAPSHOT"),
          Map.entry("mirror", "VDI_MIRROR"),
          Map.entry("update", "VDI_UPDATE"),
          Map.entry("enable_cbt", "VDI_CONFIG_CBT"),
          Map.entry("disable_cbt", "VDI_CONFIG_CBT"),
          Map.entry("data_destroy", "VDI_CONFIG_CBT"),
          Map.entry("list_changed_blocks", "VDI_CONFIG_CBT"));

  /**
   * Of disks, as an attached SR has them, without their prefix: those that published servers tell.
   * Clients take words that came to the enumeration later for unknown ones.
   */
  private static final List<String> OF_DISKS =
      List.of(
          "create",
          "destroy",
          "resize",
          "clone",
          "snapshot",
          "mirror",
          "enable_cbt",
          "disable_cbt",
          "data_destroy",
          "list_changed_blocks");

  /** What leaves a disk as it is, and what may be done with it meanwhile. */
  private static final Set<VdiOperations> READING = Set.of(VdiOperations.COPY, VdiOperations.CLONE);

  private static final Set<String> BESIDE_READING = Set.of("copy", "clone");

  private final ObjectDatabase database;
  private final Schema schema = new Schema();

  public ResourceOperations(ObjectDatabase database) {
    this.database = database;
  }

  @Override
  public Snapshot snapshot() {
    return database.snapshot();
  }

  @Override
  public <R> R write(Work<R> work) throws XenApiException {
    return database.write(tx -> {
      R result = work.run(tx);
      follow(tx, tx.changesSince(tx.generation() - 1));
      return result;
    });
  }

  @Override
  public Registration onCommit(Consumer<Snapshot> listener) {
    return database.onCommit(listener);
  }

  @Override
  public void close() {
    database.close();
  }

  /** At start-up: as if everything had changed. */
  public void refreshAll() throws XenApiException {
    database.change(tx -> follow(tx, tx.changesSince(0)));
  }

  private void follow(Transaction tx, List<Snapshot.Change> changes) throws XenApiException {
    Set<String> disks = new HashSet<>();
    Set<String> repositories = new HashSet<>();
    Set<String> appliances = new HashSet<>();
    for (Snapshot.Change change : changes) {
      Row row = tx.row(change.className(), change.ref()).orElse(null);
      if (row == null) {
        continue;
      }
      switch (change.className()) {
        case "VBD" -> disks.add(schema.text(row, "VDI"));
        case "VDI" -> disks.add(row.ref());
        case "PBD" -> repositories.add(schema.text(row, "SR"));
        case "SR" -> repositories.add(row.ref());
        case "host" -> set(tx, row, host(tx, Ref.of(row.ref())));
        case "VM" -> appliances.add(schema.text(row, "appliance"));
        case "VM_appliance" -> appliances.add(row.ref());
        default -> {}
      }
    }
    // What hangs on a disk concerns its SR, and the other way round.
    for (String disk : disks) {
      tx.row("VDI", disk).ifPresent(row -> repositories.add(schema.text(row, "SR")));
    }
    for (String repository : repositories) {
      Row row = tx.row("SR", repository).orElse(null);
      if (row != null) {
        List<String> before = schema.texts(row, "allowed_operations");
        List<String> now = repository(tx, Ref.of(repository));
        set(tx, row, now);
        if (before.contains("scan") != now.contains("scan")) {
          disks.addAll(schema.texts(row, "VDIs"));
        }
      }
    }
    for (String disk : disks) {
      Row row = tx.row("VDI", disk).orElse(null);
      if (row != null) {
        set(tx, row, disk(tx, Ref.of(disk)));
      }
    }
    for (String appliance : appliances) {
      Row row = tx.row("VM_appliance", appliance).orElse(null);
      if (row != null) {
        List<VmApplianceOperation> allowed = Appliances.allowed(tx, Ref.of(appliance));
        set(tx, row, allowed.stream().map(VmApplianceOperation::wire).toList());
      }
    }
  }

  private static List<String> disk(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    Collection<VdiOperations> current = db.get(vdi, VDI.CURRENT_OPERATIONS).values();
    if (!current.stream().allMatch(READING::contains)) {
      return List.of();
    }
    Ref<SR> sr = db.get(vdi, VDI.SR);
    boolean used = false;
    boolean written = false;
    for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
      if (db.get(vbd, VBD.CURRENTLY_ATTACHED)) {
        used = true;
        written |= db.get(vbd, VBD.MODE) == VbdMode.RW;
      }
    }
    List<String> operations = new ArrayList<>();
    if (attached(db, sr)) {
      operations.addAll(ofContent(db, vdi, used, written));
      if (!used) {
        operations.add("destroy");
      }
      operations.add("update");
    }
    if (!used) {
      operations.add("forget");
    }
    Set<String> capabilities = capabilities(db, sr);
    return operations.stream()
        .filter(o -> can(capabilities, o))
        .filter(o -> current.isEmpty() || BESIDE_READING.contains(o))
        .toList();
  }

  private static List<String> ofContent(Snapshot db, Ref<VDI> vdi, boolean used, boolean written)
      throws XenApiException {
    boolean tracked = db.get(vdi, VDI.CBT_ENABLED);
    boolean frozen = db.get(vdi, VDI.IS_A_SNAPSHOT);
    if (db.get(vdi, VDI.TYPE) == VdiType.CBT_METADATA) {
      return List.of("list_changed_blocks");
    }
    List<String> operations = new ArrayList<>();
    boolean layers = "qcow2".equals(db.get(vdi, VDI.SM_CONFIG).get("image-format"));
    if (!written) {
      operations.addAll(List.of("clone", "copy"));
    }
    // Above the image of a disk that a guest writes there must be room for another.
    if (!written || layers) {
      operations.add("snapshot");
    }
    if (!used) {
      operations.add("resize");
    }
    if (!used || written) {
      operations.add("resize_online");
    }
    if (!db.get(vdi, VDI.VBDS).isEmpty()) {
      operations.add("mirror");
    }
    if (layers && !tracked && !frozen) {
      operations.add("enable_cbt");
    }
    if (tracked) {
      operations.addAll(List.of("disable_cbt", "list_changed_blocks"));
      if (frozen && !used) {
        operations.add("data_destroy");
      }
    }
    return operations;
  }

  private static List<String> repository(Snapshot db, Ref<SR> sr) throws XenApiException {
    if (!db.get(sr, SR.CURRENT_OPERATIONS).isEmpty()) {
      return List.of();
    }
    List<String> operations = new ArrayList<>();
    boolean idle = true;
    for (Ref<VDI> vdi : db.get(sr, SR.VDIS)) {
      for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
        idle &= !db.get(vbd, VBD.CURRENTLY_ATTACHED);
      }
    }
    List<Ref<PBD>> pbds = db.get(sr, SR.PBDS);
    if (attached(db, sr)) {
      operations.addAll(List.of("scan", "update"));
      if (db.get(sr, SR.VDIS).isEmpty()) {
        operations.add("destroy");
      }
      if (idle) {
        operations.add("unplug");
      }
      Set<String> capabilities = capabilities(db, sr);
      OF_DISKS.stream()
          .filter(o -> can(capabilities, o))
          .map(o -> "vdi_" + o)
          .forEach(operations::add);
    } else {
      operations.add("forget");
      operations.addAll(pbds.isEmpty() ? List.of("pbd_create") : List.of("plug", "pbd_destroy"));
    }
    return operations;
  }

  private static List<String> host(Snapshot db, Ref<Host> host) throws XenApiException {
    return db.get(host, Host.ENABLED)
        ? List.of("provision", "vm_start", "vm_resume", "vm_migrate")
        : List.of("provision", "vm_start", "vm_resume", "enable");
  }

  private static boolean attached(Snapshot db, Ref<SR> sr) throws XenApiException {
    if (db.row("SR", sr.opaque()).isEmpty()) {
      return false;
    }
    for (Ref<PBD> pbd : db.get(sr, SR.PBDS)) {
      if (db.get(pbd, PBD.CURRENTLY_ATTACHED)) {
        return true;
      }
    }
    return false;
  }

  private static Set<String> capabilities(Snapshot db, Ref<SR> sr) throws XenApiException {
    Set<String> capabilities = new HashSet<>();
    if (db.row("SR", sr.opaque()).isPresent()) {
      Value type = Value.of(db.get(sr, SR.TYPE));
      Schema schema = new Schema();
      for (Row driver : db.rows("SM")) {
        if (schema.get(driver, "type").equals(type)) {
          capabilities.addAll(schema.texts(driver, "capabilities"));
        }
      }
    }
    return capabilities;
  }

  private static boolean can(Set<String> capabilities, String operation) {
    String needed = CAPABILITIES.get(operation);
    return needed == null || capabilities.contains(needed);
  }

  private static void set(Transaction tx, Row row, List<String> operations) throws XenApiException {
    tx.set(
        row.className(),
        row.ref(),
        DataModel.field(row.className(), "allowed_operations").orElseThrow(),
        Value.ofTexts(operations));
  }
}
