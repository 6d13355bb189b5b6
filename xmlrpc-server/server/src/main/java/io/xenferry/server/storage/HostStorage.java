package io.xenferry.server.storage;

import io.xenferry.iscsi.target.TargetService;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Host;
import io.xenferry.model.PBD;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VdiType;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.vm.VmDisks;
import io.xenferry.sr.DatapathState;
import io.xenferry.sr.Implementation;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SrDrivers;
import io.xenferry.sr.SrInfo;
import io.xenferry.sr.StorageMux;
import io.xenferry.sr.VdiInfo;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The SRs of this host and the disks on them. Drivers do the work; the records of SRs, PBDs and
 * VDIs follow what the drivers say. Blocking, thread-safe.
 */
public final class HostStorage implements VmDisks, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(HostStorage.class);

  private final ObjectDatabase database;
  private final StorageMux mux;
  private final Exporters exporters;
  private final NbdsExporter nbds;
  private final Ref<Host> host;
  private final Gate gate;
  private final StorageUse use;

  /**
   * Where and as whom disks are offered over NBD with TLS.
   *
   * @param address to listen at
   * @param port to listen at; 0 leaves the choice to the system
   * @param directory where open exports are noted
   */
  public record Nbds(InetAddress address, int port, Path directory, Certificate certificate) {}

  /**
   * @param stateFile where the datapaths in use are noted, so that a restarted server knows them
   */
  public HostStorage(
      ObjectDatabase database,
      TargetService targets,
      Nbds nbds,
      Gate gate,
      Ref<Host> host,
      Path stateFile)
      throws IOException {
    this.database = database;
    this.gate = gate;
    this.nbds =
        new NbdsExporter(
            new NbdsExporter.Settings(
                nbds.directory(),
                nbds.address(),
                nbds.port(),
                nbds.certificate().context(Trust.anyClient()),
                nbds.certificate().fingerprint()));
    this.exporters =
        new Exporters(
            Map.of(Transport.ISCSI, new IscsiExporter(targets), Transport.NBDS, this.nbds));
    this.mux = new StorageMux(SrDrivers.installed(), exporters, Optional.of(stateFile));
    this.use = new StorageUse(database, mux);
    mux.onMerged(use::ofAllIn);
    this.host = host;
  }

  /** Lets go of the SRs for the next server; guests and targets stay as they are. */
  @Override
  public void close() {
    nbds.close();
    mux.close();
  }

  /** The same disks, as migrations see them. */
  public MigrationDisks migrationDisks() {
    return new TaggedDisks(database, this, exporters);
  }

  public StorageMux mux() {
    return mux;
  }

  /** What the records say that disks take up. */
  StorageUse use() {
    return use;
  }

  /** Brings what the records say that the disks of guests take up, and their SRs, up to date. */
  public void noteUse(Collection<UUID> vms) throws XenApiException {
    use.ofGuests(vms);
  }

  /** Something a driver does. */
  @FunctionalInterface
  interface DriverCall<T> {
    T run() throws SmapiException;
  }

  /** Errors of drivers name objects by uuid or location; clients know references. */
  static <T> T driver(DriverCall<T> call) throws XenApiException {
    try {
      return call.run();
    } catch (SmapiException e) {
      throw e.toXenApi();
    }
  }

  /** As {@link #driver(DriverCall)}; what fails is about the disk. */
  static <T> T driver(Ref<VDI> vdi, DriverCall<T> call) throws XenApiException {
    try {
      return call.run();
    } catch (SmapiException e) {
      throw e.toXenApi(vdi.opaque());
    }
  }

  static void drive(DriverRun run) throws XenApiException {
    try {
      run.run();
    } catch (SmapiException e) {
      throw e.toXenApi();
    }
  }

  /** As {@link #drive(DriverRun)}; what fails is about the disk. */
  static void drive(Ref<VDI> vdi, DriverRun run) throws XenApiException {
    try {
      run.run();
    } catch (SmapiException e) {
      throw e.toXenApi(vdi.opaque());
    }
  }

  /** Something a driver does without a result. */
  @FunctionalInterface
  interface DriverRun {
    void run() throws SmapiException;
  }

  // ---- SRs and PBDs

  /** After a start of the server: SRs that were attached are attached again. */
  public void attachAll() throws XenApiException {
    for (Row row : List.copyOf(database.snapshot().rows("PBD"))) {
      Ref<PBD> pbd = new Ref<>(row.ref());
      Snapshot db = database.snapshot();
      if (db.get(pbd, PBD.CURRENTLY_ATTACHED)) {
        try {
          attach(db, pbd);
          scan(db.get(pbd, PBD.SR));
        } catch (XenApiException e) {
          log.error("the SR of PBD {} cannot be attached", pbd, e);
          database.change(tx -> tx.set(pbd, PBD.CURRENTLY_ATTACHED, false));
        }
      }
    }
  }

  /**
   * Re-opens exports that a migration knows to be open and closes all others; before anything else
   * runs.
   */
  public void takeUpExports(Set<String> names) throws IOException {
    exporters.takeUp(names::contains);
  }

  /** Makes an SR with its PBD on this host, attached. */
  Ref<SR> createSr(Map<String, Value> fields, Map<String, String> deviceConfig, long physicalSize)
      throws XenApiException {
    String type = text(fields, "type");
    String uuid = UUID.randomUUID().toString();
    Map<String, String> config =
        driver(() ->
            mux.drivers()
                .ofType(type)
                .create(
                    uuid,
                    text(fields, "name_label"),
                    text(fields, "name_description"),
                    deviceConfig,
                    physicalSize));
    Map<String, Value> record = new LinkedHashMap<>(fields);
    record.put("uuid", Value.of(uuid));
    Ref<SR> sr = new Ref<>(database.write(tx -> tx.create("SR", record)));
    Ref<PBD> pbd = createPbd(host, sr, config);
    plug(pbd);
    return sr;
  }

  private static String text(Map<String, Value> fields, String name) {
    return fields.get(name) instanceof Value.Text(String text) ? text : "";
  }

  Ref<PBD> createPbd(Ref<Host> on, Ref<SR> sr, Map<String, String> deviceConfig)
      throws XenApiException {
    Map<String, Value> pbd = new LinkedHashMap<>();
    pbd.put("host", Value.of(on));
    pbd.put("SR", Value.of(sr));
    pbd.put("device_config", Value.ofTexts(deviceConfig));
    pbd.put("currently_attached", Value.of(false));
    return new Ref<>(database.write(tx -> tx.create("PBD", pbd)));
  }

  void plug(Ref<PBD> pbd) throws XenApiException {
    Snapshot db = database.snapshot();
    attach(db, pbd);
    database.change(tx -> tx.set(pbd, PBD.CURRENTLY_ATTACHED, true));
    scan(db.get(pbd, PBD.SR));
  }

  private void attach(Snapshot db, Ref<PBD> pbd) throws XenApiException {
    Ref<SR> sr = db.get(pbd, PBD.SR);
    String uuid = db.get(sr, SR.UUID);
    String type = db.get(sr, SR.TYPE);
    Map<String, String> config = db.get(pbd, PBD.DEVICE_CONFIG);
    drive(() -> mux.attach(uuid, type, config));
  }

  void unplug(Ref<PBD> pbd) throws XenApiException {
    Snapshot db = database.snapshot();
    String uuid = db.get(db.get(pbd, PBD.SR), SR.UUID);
    drive(() -> mux.detach(uuid));
    database.change(tx -> tx.set(pbd, PBD.CURRENTLY_ATTACHED, false));
  }

  /** Deletes the SR and its records; it must be attached and hold no VDI. */
  void destroySr(Ref<SR> sr) throws XenApiException {
    String uuid = database.snapshot().get(sr, SR.UUID);
    requireAttached(sr);
    drive(() -> mux.destroy(uuid));
    forgetSr(sr);
  }

  void forgetSr(Ref<SR> sr) throws XenApiException {
    database.change(tx -> {
      for (Ref<VDI> vdi : List.copyOf(tx.get(sr, SR.VDIS))) {
        VdiRecords.delete(tx, vdi);
      }
      for (Ref<PBD> pbd : tx.get(sr, SR.PBDS)) {
        tx.delete("PBD", pbd.opaque());
      }
      tx.delete("SR", sr.opaque());
    });
  }

  boolean isAttached(Ref<SR> sr) throws XenApiException {
    return mux.list().contains(database.snapshot().get(sr, SR.UUID));
  }

  void requireAttached(Ref<SR> sr) throws XenApiException {
    if (!isAttached(sr)) {
      throw new XenApiException("SR_NOT_ATTACHED", sr.opaque());
    }
  }

  /** Brings the records of an SR in line with what is in it. */
  void scan(Ref<SR> sr) throws XenApiException {
    Snapshot before = database.snapshot();
    String uuid = before.get(sr, SR.UUID);
    requireAttached(sr);
    List<VdiInfo> found = driver(() -> mux.repository(uuid).scan());
    SrInfo info = driver(() -> mux.repository(uuid).stat());
    database.change(tx -> {
      Set<String> locations = new HashSet<>();
      Map<String, Ref<VDI>> there = byLocation(tx, sr);
      // What is made or destroyed while the driver lists is left to whoever does it.
      Set<Ref<VDI>> now = new HashSet<>(tx.get(sr, SR.VDIS));
      Set<String> destroyed = new HashSet<>();
      for (Ref<VDI> known : before.get(sr, SR.VDIS)) {
        if (!now.contains(known)) {
          destroyed.add(before.get(known, VDI.LOCATION));
        }
      }
      for (VdiInfo vdi : found) {
        locations.add(vdi.vdi());
        if (!destroyed.contains(vdi.vdi())) {
          record(tx, sr, there, unlessChanged(before, tx, there, vdi));
        }
      }
      for (Ref<VDI> known : before.get(sr, SR.VDIS)) {
        if (now.contains(known) && !locations.contains(tx.get(known, VDI.LOCATION))) {
          VdiRecords.delete(tx, known);
        }
      }
      StorageUse.record(tx, sr, info);
    });
  }

  /** Makes the record of a volume that has none yet. */
  Ref<VDI> introduce(Ref<SR> sr, VdiInfo found) throws XenApiException {
    return database.write(tx -> record(tx, sr, byLocation(tx, sr), found));
  }

  /** What the driver has listed says nothing of a record that was changed meanwhile. */
  private static VdiInfo unlessChanged(
      Snapshot before, Transaction tx, Map<String, Ref<VDI>> there, VdiInfo listed)
      throws XenApiException {
    Ref<VDI> vdi = there.get(listed.vdi());
    if (vdi == null || before.row("VDI", vdi.opaque()).isEmpty()) {
      return listed;
    }
    Map<String, String> now = tx.get(vdi, VDI.SM_CONFIG);
    return before.get(vdi, VDI.SM_CONFIG).equals(now) ? listed : listed.edit().smConfig(now).done();
  }

  private static Map<String, Ref<VDI>> byLocation(Transaction tx, Ref<SR> sr)
      throws XenApiException {
    Map<String, Ref<VDI>> there = new HashMap<>();
    for (Ref<VDI> vdi : tx.get(sr, SR.VDIS)) {
      there.put(tx.get(vdi, VDI.LOCATION), vdi);
    }
    return there;
  }

  /**
   * @param there the SR's VDIs by location, which tells more than the uuid: a disk that is taken up
   *     has its new one in the database first
   */
  private static Ref<VDI> record(
      Transaction tx, Ref<SR> sr, Map<String, Ref<VDI>> there, VdiInfo info)
      throws XenApiException {
    String uuid = info.uuid().orElse(info.vdi());
    Optional<Row> known =
        Optional.ofNullable(there.get(info.vdi()))
            .flatMap(vdi -> tx.row("VDI", vdi.opaque()))
            .or(() -> tx.byUuid("VDI", uuid));
    Map<String, Value> fields = new LinkedHashMap<>();
    fields.put("virtual_size", Value.of(info.virtualSize()));
    fields.put("physical_utilisation", Value.of(info.physicalUtilisation()));
    fields.put("location", Value.of(info.vdi()));
    fields.put("sm_config", Value.ofTexts(info.smConfig()));
    if (known.isPresent()) {
      Ref<VDI> vdi = new Ref<>(known.get().ref());
      tx.set(vdi, VDI.VIRTUAL_SIZE, info.virtualSize());
      tx.set(vdi, VDI.PHYSICAL_UTILISATION, info.physicalUtilisation());
      tx.set(vdi, VDI.SM_CONFIG, info.smConfig());
      tx.set(vdi, VDI.CBT_ENABLED, info.cbtEnabled());
      return vdi;
    }
    fields.put("uuid", Value.of(uuid));
    fields.put("SR", Value.of(sr));
    fields.put("name_label", Value.of(info.nameLabel()));
    fields.put("name_description", Value.of(info.nameDescription()));
    fields.put("type", Value.of(info.type().isEmpty() ? "user" : info.type()));
    fields.put("read_only", Value.of(info.readOnly()));
    fields.put("sharable", Value.of(info.sharable()));
    fields.put("cbt_enabled", Value.of(info.cbtEnabled()));
    fields.put("is_a_snapshot", Value.of(info.isASnapshot()));
    fields.put("snapshot_time", Value.of(info.snapshotTime()));
    fields.put("managed", Value.of(true));
    for (Ref<VDI> other : info.snapshotOf().isEmpty() ? List.<Ref<VDI>>of() : tx.get(sr, SR.VDIS)) {
      if (tx.get(other, VDI.LOCATION).equals(info.snapshotOf())) {
        fields.put("snapshot_of", Value.of(other));
      }
    }
    return new Ref<>(tx.create("VDI", fields));
  }

  // ---- VDIs

  /** Where a VDI is: the uuid of its SR, and its location there. */
  record Place(Ref<VDI> ref, String sr, String location) {}

  private Place place(Ref<VDI> vdi) throws XenApiException {
    Snapshot db = database.snapshot();
    return new Place(vdi, db.get(db.get(vdi, VDI.SR), SR.UUID), db.get(vdi, VDI.LOCATION));
  }

  Optional<Place> find(UUID vdi) throws XenApiException {
    Optional<Row> row = database.snapshot().byUuid("VDI", vdi.toString());
    return row.isPresent() ? Optional.of(place(new Ref<>(row.get().ref()))) : Optional.empty();
  }

  Place get(UUID vdi) throws XenApiException {
    return find(vdi).orElseThrow(() -> new XenApiException("UUID_INVALID", "VDI", vdi.toString()));
  }

  Ref<VDI> createVdi(Ref<SR> sr, VdiInfo wanted) throws XenApiException {
    requireAttached(sr);
    String uuid = database.snapshot().get(sr, SR.UUID);
    return recordMade(sr, driver(() -> mux.repository(uuid).create(wanted)));
  }

  /** Writes the record of a VDI that the driver has just made. */
  Ref<VDI> recordMade(Ref<SR> sr, VdiInfo made) throws XenApiException {
    Ref<VDI> vdi = database.write(tx -> record(tx, sr, byLocation(tx, sr), made));
    use.ofSr(sr);
    return vdi;
  }

  void destroyVdi(Ref<VDI> vdi) throws XenApiException {
    Place place = place(vdi);
    Ref<SR> sr = database.snapshot().get(vdi, VDI.SR);
    drive(vdi, () -> destroyOrGone(place));
    database.change(tx -> {
      if (tx.row("VDI", vdi.opaque()).isPresent()) {
        VdiRecords.delete(tx, vdi);
      }
    });
    use.ofSr(sr);
  }

  /**
   * One that is gone already has only its record left, as where the database could not be written
   * when it was destroyed.
   */
  private void destroyOrGone(Place place) throws SmapiException {
    try {
      mux.destroyVdi(place.sr(), place.location());
    } catch (SmapiException e) {
      if (!e.error().equals(SmapiException.VDI_DOES_NOT_EXIST)) {
        throw e;
      }
    }
  }

  /** The VMs that have a disk, or whose memory it holds. */
  private static List<Ref<VM>> users(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    List<Ref<VM>> users = new ArrayList<>();
    Ref<VDI> of = db.get(vdi, VDI.SNAPSHOT_OF);
    if (db.get(vdi, VDI.SM_CONFIG).containsKey(VdiInfo.SM_CONFIG_MIGRATION)
        && db.row("VDI", of.opaque()).isPresent()) {
      // One by which a disk is being moved is its VM's as long as that moves.
      users.addAll(users(db, of));
    }
    for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
      users.add(db.get(vbd, VBD.VM));
    }
    if (db.get(vdi, VDI.TYPE) == VdiType.SUSPEND) {
      for (Row row : db.rows("VM")) {
        Ref<VM> vm = new Ref<>(row.ref());
        if (db.get(vm, VM.SUSPEND_VDI).equals(vdi)) {
          users.add(vm);
        }
      }
    }
    return users;
  }

  /** For a client: not while the disk belongs to a VM in doubt, which the gate is asked about. */
  void destroyByClient(Ref<VDI> vdi) throws XenApiException {
    Snapshot db = database.snapshot();
    List<Gate.Permit> permits = new ArrayList<>();
    try {
      for (Ref<VM> vm : users(db, vdi)) {
        permits.add(gate.enter(UUID.fromString(db.get(vm, VM.UUID)), Operation.DESTROY_DISK));
      }
      destroyVdi(vdi);
    } finally {
      permits.forEach(Gate.Permit::close);
    }
  }

  /**
   * For whoever uses or changes volumes beneath the records: leave to do so from every VM that has
   * one of them, to be closed afterwards.
   *
   * @param location of a VDI; none means all of the SR
   * @throws XenApiException when it belongs to a VM that is moving or in doubt, or to a migration
   */
  List<Gate.Permit> permits(String srUuid, Optional<String> location) throws XenApiException {
    Snapshot db = database.snapshot();
    List<Gate.Permit> permits = new ArrayList<>();
    Optional<Row> sr = db.byUuid("SR", srUuid);
    if (sr.isEmpty()) {
      return permits;
    }
    try {
      for (Ref<VDI> vdi : db.get(new Ref<SR>(sr.get().ref()), SR.VDIS)) {
        if (location.isPresent() && !location.get().equals(db.get(vdi, VDI.LOCATION))) {
          continue;
        }
        String migration = db.get(vdi, VDI.SM_CONFIG).get(VdiInfo.SM_CONFIG_MIGRATION);
        if (migration != null) {
          throw new XenApiException(
              "OPERATION_NOT_ALLOWED", "The VDI belongs to migration " + migration + ".");
        }
        for (Ref<VM> vm : users(db, vdi)) {
          permits.add(gate.enter(UUID.fromString(db.get(vm, VM.UUID)), Operation.DESTROY_DISK));
        }
      }
      return permits;
    } catch (XenApiException | RuntimeException e) {
      permits.forEach(Gate.Permit::close);
      throw e;
    }
  }

  /** The type of an SR, as its record has it. */
  Optional<String> typeOf(String srUuid) throws XenApiException {
    Snapshot db = database.snapshot();
    Optional<Row> sr = db.byUuid("SR", srUuid);
    return sr.isPresent()
        ? Optional.of(db.get(new Ref<SR>(sr.get().ref()), SR.TYPE))
        : Optional.empty();
  }

  void resizeVdi(Ref<VDI> vdi, long size) throws XenApiException {
    Place place = place(vdi);
    long now = driver(vdi, () -> mux.resize(place.sr(), place.location(), size));
    database.change(tx -> tx.set(vdi, VDI.VIRTUAL_SIZE, now));
    use.of(vdi);
  }

  /** Begins or ends the tracking of a disk's changed blocks. */
  void track(Ref<VDI> vdi, boolean on) throws XenApiException {
    Place place = place(vdi);
    if (on && database.snapshot().get(vdi, VDI.IS_A_SNAPSHOT)) {
      throw new XenApiException("OPERATION_NOT_ALLOWED", "a snapshot does not change");
    }
    // What moves with the disk has been noted when the move begins.
    List<Gate.Permit> permits = new ArrayList<>();
    try {
      for (Ref<VM> vm : users(database.snapshot(), vdi)) {
        UUID uuid = UUID.fromString(database.snapshot().get(vm, VM.UUID));
        permits.add(gate.enter(uuid, Operation.CHANGE_DEVICE));
      }
      drive(
          vdi,
          () -> {
            if (on) {
              mux.repository(place.sr()).enableCbt(place.location());
            } else {
              mux.repository(place.sr()).disableCbt(place.location());
            }
          });
      database.change(tx -> tx.set(vdi, VDI.CBT_ENABLED, on));
    } finally {
      permits.forEach(Gate.Permit::close);
    }
  }

  String changedBlocks(Ref<VDI> from, Ref<VDI> to) throws XenApiException {
    Place earlier = place(from);
    Place later = place(to);
    if (!earlier.sr().equals(later.sr())) {
      throw new XenApiException("INVALID_VALUE", "vdi_to", "the VDIs are in different SRs");
    }
    return driver(
        () -> mux.repository(later.sr()).listChangedBlocks(earlier.location(), later.location()));
  }

  /** Leaves of a snapshot what is known of its changed blocks. */
  void dataDestroy(Ref<VDI> vdi) throws XenApiException {
    Place place = place(vdi);
    Snapshot db = database.snapshot();
    List<Gate.Permit> permits = new ArrayList<>();
    try {
      for (Ref<VM> vm : users(db, vdi)) {
        permits.add(gate.enter(UUID.fromString(db.get(vm, VM.UUID)), Operation.DESTROY_DISK));
      }
      drive(vdi, () -> mux.dataDestroy(place.sr(), place.location()));
    } finally {
      permits.forEach(Gate.Permit::close);
    }
    database.change(tx -> tx.set(vdi, VDI.TYPE, io.xenferry.model.VdiType.CBT_METADATA));
    use.of(vdi);
  }

  /** Tells the driver of a new name, and then the record. */
  void rename(Ref<VDI> vdi, Optional<String> label, Optional<String> description)
      throws XenApiException {
    Place place = place(vdi);
    drive(() ->
        mux.repository(place.sr())
            .update(
                place.location(),
                info -> {
                  VdiInfo.Edit edit = info.edit();
                  label.ifPresent(edit::nameLabel);
                  description.ifPresent(edit::nameDescription);
                  return edit.done();
                }));
    database.change(tx -> {
      if (label.isPresent()) {
        tx.set(vdi, VDI.NAME_LABEL, label.get());
      }
      if (description.isPresent()) {
        tx.set(vdi, VDI.NAME_DESCRIPTION, description.get());
      }
    });
  }

  // ---- disks of VMs

  private static final String DATAPATHS = "vbd/";

  private static String datapath(UUID vm, Place place) {
    return DATAPATHS + vm + "/" + place.location();
  }

  /**
   * For whoever uses volumes beneath the records.
   *
   * @throws XenApiException when the datapath is that of a VM here, which its guest may be using
   */
  void requireForeign(String datapath) throws XenApiException {
    if (datapath.startsWith(DATAPATHS)) {
      int end = datapath.indexOf('/', DATAPATHS.length());
      String vm = datapath.substring(DATAPATHS.length(), end < 0 ? datapath.length() : end);
      if (database.snapshot().byUuid("VM", vm).isPresent()) {
        throw new XenApiException(
            "OPERATION_NOT_ALLOWED", "Datapath " + datapath + " is that of a VM.");
      }
    }
  }

  @Override
  public Path attach(Ref<VDI> vdi, UUID vm, boolean writable) throws XenApiException {
    Place place = place(vdi);
    String dp = datapath(vm, place);
    if (mux.datapaths(place.sr(), place.location())
        .getOrDefault(dp, DatapathState.DETACHED)
        .isActivated()) {
      return image(UUID.fromString(database.snapshot().get(vdi, VDI.UUID)));
    }
    List<Implementation> ways =
        driver(vdi, () -> mux.attachVdi(dp, place.sr(), place.location(), vm.toString(), writable));
    for (Implementation way : ways) {
      if (way instanceof Implementation.File(String path)) {
        return Path.of(path);
      }
    }
    throw new XenApiException(
        "INTERNAL_ERROR", "the SR driver offers no file for VDI " + place.location());
  }

  @Override
  public void activate(Ref<VDI> vdi, UUID vm) throws XenApiException {
    Place place = place(vdi);
    String dp = datapath(vm, place);
    drive(vdi, () -> mux.activate(dp, place.sr(), place.location(), vm.toString()));
  }

  @Override
  public void detach(Ref<VDI> vdi, UUID vm) throws XenApiException {
    Place place = place(vdi);
    String dp = datapath(vm, place);
    drive(vdi, () -> mux.destroyDatapath(dp, place.sr(), place.location(), false));
    use.of(vdi);
  }

  /** Where the image of a disk is; UUID_INVALID, SR_NOT_ATTACHED. */
  public Path image(UUID vdi) throws XenApiException {
    Place place = get(vdi);
    Optional<Path> path = driver(() -> mux.repository(place.sr()).path(place.location()));
    return path.orElseThrow(
        () -> new XenApiException("INTERNAL_ERROR", "VDI " + vdi + " is no file"));
  }

  Ref<SR> sr(String refOrUuid) throws XenApiException {
    Snapshot db = database.snapshot();
    Optional<Row> row = db.row("SR", refOrUuid).or(() -> db.byUuid("SR", refOrUuid));
    return new Ref<>(
        row.orElseThrow(() -> new XenApiException("HANDLE_INVALID", "SR", refOrUuid)).ref());
  }
}
