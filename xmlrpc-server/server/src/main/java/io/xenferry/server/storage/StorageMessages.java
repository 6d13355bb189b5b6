package io.xenferry.server.storage;

import io.xenferry.model.Host;
import io.xenferry.model.PBD;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.Value;
import io.xenferry.model.VdiOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.OptionValues;
import io.xenferry.server.call.Registry;
import io.xenferry.server.task.Task;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SrDriver;
import io.xenferry.sr.VdiInfo;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The messages of SRs, PBDs and VDIs that act on storage. */
public final class StorageMessages {
  private static final String TEST = "StorageTest.";
  private static final String CBT = "SnapshotTest.";

  /** The option of VDI.pool_migrate that chooses the new image's format. */
  private static final String IMAGE_FORMAT = "dest-img-format";

  /** Of the same: bytes per second. */
  private static final String BANDWIDTH = "bandwidth";

  private static final OptionValues PACE =
      new OptionValues(
          value -> value.matches("[1-9][0-9]{0,14}"), "a number of bytes a second, 1 or more");

  private final HostStorage storage;
  private final DiskCopies copies;
  private final DiskMoves moves;

  public StorageMessages(HostStorage storage, DiskCopies copies, DiskMoves moves) {
    this.moves = moves;
    this.storage = storage;
    this.copies = copies;
  }

  public void register(Registry r) {
    r.implement("SR.create", this::createSr, TEST + "anSrIsMadeAndDestroyed");
    r.implement("SR.destroy", c -> done(() -> destroySr(c)), TEST + "anSrIsMadeAndDestroyed");
    r.implement("SR.forget", c -> done(() -> forgetSr(c)), TEST + "aForgottenSrKeepsItsDisks");
    r.implement("SR.scan", c -> done(() -> storage.scan(c.ref(0))), TEST + "aScanFindsDisks");
    r.implement("SR.update", c -> done(() -> storage.scan(c.ref(0))), TEST + "aScanFindsDisks");
    r.implement("SR.introduce", this::introduceSr, TEST + "aForgottenSrKeepsItsDisks");
    r.implement("SR.probe", this::probe, TEST + "aProbeTells");
    r.implement("SR.get_supported_types", this::types, TEST + "aProbeTells");
    r.implement(
        "SR.set_name_label", c -> done(() -> renameSr(c, true)), TEST + "namesReachTheDriver");
    r.implement(
        "SR.set_name_description",
        c -> done(() -> renameSr(c, false)),
        TEST + "namesReachTheDriver");
    r.implement("PBD.create", this::createPbd, TEST + "aPbdIsPlugged");
    r.implement("PBD.destroy", c -> done(() -> destroyPbd(c)), TEST + "aPbdIsPlugged");
    r.implement(
        "PBD.set_device_config", c -> done(() -> setDeviceConfig(c)), TEST + "aPbdIsPlugged");
    r.implement("PBD.plug", c -> done(() -> plug(c)), TEST + "aPbdIsPlugged");
    r.implement("PBD.unplug", c -> done(() -> unplug(c)), TEST + "aPbdIsPlugged");
    r.implement("VDI.create", this::createVdi, TEST + "aDiskIsMadeResizedAndDestroyed");
    r.implement(
        "VDI.destroy", c -> done(() -> destroyVdi(c)), TEST + "aDiskIsMadeResizedAndDestroyed");
    r.implement("VDI.resize", c -> done(() -> resize(c)), TEST + "aDiskIsMadeResizedAndDestroyed");
    r.implement("VDI.clone", this::cloneVdi, "CloneTest.disksAreClonedAndCopiedByThemselves");
    r.implement("VDI.copy", this::copyVdi, "CloneTest.disksAreClonedAndCopiedByThemselves");
    r.implement(
        "VDI.checksum",
        c -> Value.of(copies.checksum(c.ref(0), c.task().orElseThrow())),
        "CloneTest.aDisksContentIsSummedUp");
    r.cancellable("VDI.clone", "VDI.copy", "VDI.checksum");
    r.implement(
        "VDI.revert",
        c -> done(() -> copies.revert(c.ref(0), c.task().orElseThrow())),
        CBT + "aDiskGoesBackByItself");
    r.implement(
        "VDI.enable_cbt", x -> done(() -> storage.track(x.ref(0), true)), CBT + "changesAreListed");
    r.implement(
        "VDI.disable_cbt",
        x -> done(() -> storage.track(x.ref(0), false)),
        CBT + "changesAreListed");
    r.implement(
        "VDI.list_changed_blocks",
        x -> Value.of(storage.changedBlocks(x.ref(0), x.ref(1))),
        CBT + "changesAreListed");
    r.implement("VDI.data_destroy", x -> done(() -> dataDestroy(x)), CBT + "changesAreListed");
    r.implement("VDI.pool_migrate", this::moveVdi, "DiskMoveTest.aDiskOfAHaltedVmMovesToAnotherSr");
    r.implement("VDI.forget", c -> done(() -> forgetVdi(c)), TEST + "aScanFindsDisks");
    r.implement("VDI.update", c -> done(() -> scanOf(c)), TEST + "aScanFindsDisks");
    r.implement(
        "VDI.set_name_label",
        c -> done(() -> storage.rename(c.ref(0), Optional.of(c.text(1)), Optional.empty())),
        TEST + "namesReachTheDriver");
    r.implement(
        "VDI.set_name_description",
        c -> done(() -> storage.rename(c.ref(0), Optional.empty(), Optional.of(c.text(1)))),
        TEST + "namesReachTheDriver");
  }

  /** Something without a result. */
  @FunctionalInterface
  private interface Step {
    void run() throws XenApiException;
  }

  private static Value done(Step step) throws XenApiException {
    step.run();
    return Value.VOID;
  }

  private Value createSr(Call c) throws XenApiException {
    Ref<Host> host = c.ref(0);
    c.server().db().snapshot().get(host, Host.UUID);
    Map<String, Value> sr = new LinkedHashMap<>();
    sr.put("name_label", c.arg(3));
    sr.put("name_description", c.arg(4));
    sr.put("type", c.arg(5));
    sr.put("content_type", Value.of(driver(c.text(5)).contentType().orElse(c.text(6))));
    sr.put("shared", c.arg(7));
    sr.put("sm_config", c.arg(8));
    if (c.bool(7)) {
      throw new XenApiException("OPERATION_NOT_ALLOWED", "SRs of this type cannot be shared");
    }
    if (c.integer(2) < 0) {
      throw new XenApiException("INVALID_VALUE", "physical_size", Long.toString(c.integer(2)));
    }
    return Value.of(storage.createSr(sr, c.textMap(1), c.integer(2)));
  }

  private SrDriver driver(String type) throws XenApiException {
    try {
      return storage.mux().drivers().ofType(type);
    } catch (SmapiException e) {
      throw e.toXenApi();
    }
  }

  private Value introduceSr(Call c) throws XenApiException {
    SrDriver driver = driver(c.text(3));
    Map<String, Value> sr = new LinkedHashMap<>();
    sr.put("uuid", c.arg(0));
    sr.put("name_label", c.arg(1));
    sr.put("name_description", c.arg(2));
    sr.put("type", c.arg(3));
    sr.put("content_type", Value.of(driver.contentType().orElse(c.text(4))));
    sr.put("shared", c.arg(5));
    sr.put("sm_config", c.arg(6));
    String ref = c.server().db().write(tx -> tx.create("SR", sr));
    return Value.of(ref);
  }

  private void destroySr(Call c) throws XenApiException {
    Ref<SR> sr = c.ref(0);
    Snapshot db = c.server().db().snapshot();
    if (!db.get(sr, SR.VDIS).isEmpty()) {
      throw new XenApiException("SR_NOT_EMPTY");
    }
    storage.destroySr(sr);
  }

  private void forgetSr(Call c) throws XenApiException {
    Ref<SR> sr = c.ref(0);
    Snapshot db = c.server().db().snapshot();
    for (Ref<PBD> pbd : db.get(sr, SR.PBDS)) {
      if (db.get(pbd, PBD.CURRENTLY_ATTACHED)) {
        throw new XenApiException("SR_HAS_PBD", sr.opaque());
      }
    }
    storage.forgetSr(sr);
  }

  private Value types(Call c) {
    return Value.ofTexts(storage.mux().drivers().all().stream().map(SrDriver::type).toList());
  }

  private Value probe(Call c) throws XenApiException {
    try {
      var results = driver(c.text(2)).probe(c.textMap(1), c.textMap(3));
      StringBuilder text = new StringBuilder("<?xml version=\"1.0\" ?><SRlist>");
      results.forEach(r ->
          r.sr()
              .ifPresent(sr -> text.append("<SR><UUID>").append(sr.uuid()).append("</UUID></SR>")));
      return Value.of(text.append("</SRlist>").toString());
    } catch (SmapiException e) {
      throw e.toXenApi();
    }
  }

  private void renameSr(Call c, boolean label) throws XenApiException {
    Ref<SR> sr = c.ref(0);
    String uuid = c.server().db().snapshot().get(sr, SR.UUID);
    try {
      if (storage.mux().list().contains(uuid)) {
        if (label) {
          storage.mux().repository(uuid).setNameLabel(c.text(1));
        } else {
          storage.mux().repository(uuid).setNameDescription(c.text(1));
        }
      }
    } catch (SmapiException e) {
      throw e.toXenApi();
    }
    c.server()
        .db()
        .change(tx -> tx.set(sr, label ? SR.NAME_LABEL : SR.NAME_DESCRIPTION, c.text(1)));
  }

  private Value createPbd(Call c) throws XenApiException {
    Map<String, Value> record = c.members(0);
    Ref<Host> host = ref(record, "host");
    Ref<SR> sr = ref(record, "SR");
    Snapshot db = c.server().db().snapshot();
    db.get(host, Host.UUID);
    for (Ref<PBD> pbd : db.get(sr, SR.PBDS)) {
      if (db.get(pbd, PBD.HOST).equals(host)) {
        throw new XenApiException("PBD_EXISTS", sr.opaque(), host.opaque(), pbd.opaque());
      }
    }
    Map<String, String> config = new LinkedHashMap<>();
    if (record.get("device_config") instanceof Value.Struct s) {
      s.members().forEach((k, v) -> config.put(k, ((Value.Text) v).text()));
    }
    return Value.of(storage.createPbd(host, sr, config));
  }

  private static <T> Ref<T> ref(Map<String, Value> record, String name) throws XenApiException {
    if (record.get(name) instanceof Value.Text(String text)) {
      return Ref.of(text);
    }
    throw new XenApiException("INVALID_VALUE", name, "");
  }

  /** For the next time that it is plugged. */
  private void setDeviceConfig(Call c) throws XenApiException {
    Ref<PBD> pbd = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          if (tx.get(pbd, PBD.CURRENTLY_ATTACHED)) {
            throw new XenApiException(
                "OPERATION_NOT_ALLOWED", "the PBD is attached; unplug it first");
          }
          tx.set(pbd, PBD.DEVICE_CONFIG, c.textMap(1));
        });
  }

  private void destroyPbd(Call c) throws XenApiException {
    Ref<PBD> pbd = c.ref(0);
    if (c.server().db().snapshot().get(pbd, PBD.CURRENTLY_ATTACHED)) {
      throw new XenApiException("OPERATION_NOT_ALLOWED", "the PBD is attached; unplug it first");
    }
    c.server().db().change(tx -> tx.delete("PBD", pbd.opaque()));
  }

  private void plug(Call c) throws XenApiException {
    if (!c.server().db().snapshot().get(c.<PBD>ref(0), PBD.CURRENTLY_ATTACHED)) {
      storage.plug(c.ref(0));
    }
  }

  private void unplug(Call c) throws XenApiException {
    if (c.server().db().snapshot().get(c.<PBD>ref(0), PBD.CURRENTLY_ATTACHED)) {
      storage.unplug(c.ref(0));
    }
  }

  private Value createVdi(Call c) throws XenApiException {
    Map<String, Value> record = c.members(0);
    Ref<SR> sr = ref(record, "SR");
    long size = record.get("virtual_size") instanceof Value.Int(long bytes) ? bytes : 0;
    if (size <= 0) {
      throw new XenApiException("INVALID_VALUE", "virtual_size", Long.toString(size));
    }
    c.server().db().snapshot().get(sr, SR.UUID);
    VdiSettingMessages.requireUnshared(
        sr, record.get("sharable") instanceof Value.Bool(boolean shared) && shared);
    VdiInfo wanted =
        VdiInfo.request(text(record, "name_label"), size)
            .edit()
            .nameDescription(text(record, "name_description"))
            .type(text(record, "type"))
            .smConfig(smConfig(record))
            .done();
    Ref<VDI> vdi = storage.createVdi(sr, wanted);
    c.server()
        .db()
        .change(tx -> {
          for (String name : List.of("other_config", "xenstore_data", "tags", "read_only")) {
            Value value = record.get(name);
            if (value != null) {
              tx.set(
                  "VDI",
                  vdi.opaque(),
                  io.xenferry.model.DataModel.field("VDI", name).orElseThrow(),
                  value);
            }
          }
        });
    return Value.of(vdi);
  }

  /** What the client gives, but for the keys by which this server knows its own. */
  private static Map<String, String> smConfig(Map<String, Value> record) {
    Map<String, String> config = new LinkedHashMap<>();
    if (record.get("sm_config") instanceof Value.Struct s) {
      s.members()
          .forEach((k, v) -> {
            if (!k.startsWith("xenferry-") && v instanceof Value.Text(String text)) {
              config.put(k, text);
            }
          });
    }
    return config;
  }

  private static String text(Map<String, Value> record, String name) {
    return record.get(name) instanceof Value.Text(String text) ? text : "";
  }

  private Value cloneVdi(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    return Value.of(
        copies.copyAlone(
            vdi,
            VdiOperations.CLONE,
            c.server().db().snapshot().get(vdi, VDI.SR),
            Optional.empty(),
            c.task().orElseThrow()));
  }

  /** Where a disk is named that it is to go into, that says where: the SR is not asked for. */
  private Value copyVdi(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    Optional<Ref<VDI>> base = Optional.of(c.<VDI>ref(2)).filter(ref -> !ref.isNull());
    Ref<VDI> into = c.ref(3);
    Task task = c.task().orElseThrow();
    if (into.isNull()) {
      return Value.of(copies.copyAlone(vdi, VdiOperations.COPY, c.ref(1), base, task));
    }
    copies.copyInto(vdi, into, base, task);
    return Value.of(into);
  }

  private Value moveVdi(Call c) throws XenApiException, InterruptedException {
    Map<String, String> options = c.textMap(2);
    for (Map.Entry<String, String> option : options.entrySet()) {
      switch (option.getKey()) {
        case IMAGE_FORMAT -> {}
        case BANDWIDTH -> PACE.check(BANDWIDTH, option.getValue());
        default ->
            throw OptionValues.words(List.of(BANDWIDTH, IMAGE_FORMAT))
                .refusal("options", option.getKey());
      }
    }
    DiskMoves.How how =
        new DiskMoves.How(
            Optional.ofNullable(options.get(IMAGE_FORMAT)).filter(format -> !format.isEmpty()),
            Long.parseLong(options.getOrDefault(BANDWIDTH, "0")));
    return Value.of(moves.move(c.ref(0), c.ref(1), how, c.task().orElseThrow()));
  }

  private void requireUnused(Call c, Ref<VDI> vdi, String operation) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    for (var vbd : db.get(vdi, VDI.VBDS)) {
      if (db.get(vbd, io.xenferry.model.VBD.CURRENTLY_ATTACHED)) {
        throw new XenApiException("VDI_IN_USE", vdi.opaque(), operation);
      }
    }
  }

  /** Also takes the VBDs along, as published servers do. */
  private void destroyVdi(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    requireUnused(c, vdi, "destroy");
    storage.destroyByClient(vdi);
    removeVbds(c, vdi);
  }

  private void dataDestroy(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    requireUnused(c, vdi, "data_destroy");
    storage.dataDestroy(vdi);
    removeVbds(c, vdi);
  }

  private static void removeVbds(Call c, Ref<VDI> vdi) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          for (Row row : List.copyOf(tx.rows("VBD"))) {
            Ref<io.xenferry.model.VBD> vbd = new Ref<>(row.ref());
            if (tx.get(vbd, io.xenferry.model.VBD.VDI).equals(vdi)) {
              tx.delete("VBD", vbd.opaque());
            }
          }
        });
  }

  private void forgetVdi(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    requireUnused(c, vdi, "forget");
    Ref<SR> sr = c.server().db().snapshot().get(vdi, VDI.SR);
    c.server().db().change(tx -> VdiRecords.delete(tx, vdi));
    removeVbds(c, vdi);
    if (storage.isAttached(sr)) {
      storage.use().ofSr(sr);
    }
  }

  private void resize(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    long now = c.server().db().snapshot().get(vdi, VDI.VIRTUAL_SIZE);
    if (c.integer(1) < now) {
      throw new XenApiException(
          "INVALID_VALUE", "size", c.integer(1) + " is less than the disk's " + now);
    }
    requireUnused(c, vdi, "resize");
    storage.resizeVdi(vdi, c.integer(1));
  }

  private void scanOf(Call c) throws XenApiException {
    storage.scan(c.server().db().snapshot().get(c.<VDI>ref(0), VDI.SR));
  }
}
