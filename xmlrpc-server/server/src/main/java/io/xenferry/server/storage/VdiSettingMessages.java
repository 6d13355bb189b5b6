package io.xenferry.server.storage;

import io.xenferry.model.DataModel;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.Value;
import io.xenferry.model.VbdMode;
import io.xenferry.model.VdiType;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.sr.ProbeResult;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SrInfo;
import io.xenferry.sr.VdiInfo;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** Who may have disks and how, and disks and SRs that are there already. */
public final class VdiSettingMessages {
  private static final String TEST = "VdiSettingsTest.";

  /** Keys of sm_config by which this server knows its own. */
  private static final String RESERVED = "xenferry-";

  private final HostStorage storage;

  public VdiSettingMessages(HostStorage storage) {
    this.storage = storage;
  }

  public void register(Registry r) {
    r.implement("VDI.set_sharable", this::setSharable, TEST + "aDiskIsNotShared");
    r.implement("VDI.set_read_only", this::setReadOnly, TEST + "aDiskIsOnlyRead");
    r.implement("VDI.set_on_boot", this::setOnBoot, TEST + "whatADriverCannotIsRefused");
    r.implement("VDI.introduce", this::introduce, TEST + "aForgottenDiskIsIntroduced");
    r.implement("VDI.get_nbd_info", this::nbdInfo, TEST + "whatADriverCannotIsRefused");
    r.implement("SR.set_shared", this::setShared, TEST + "whatADriverCannotIsRefused");
    r.implement("SR.probe_ext", this::probe, TEST + "aProbeFindsAnSr");
  }

  private static boolean isWritten(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
      if (db.get(vbd, VBD.CURRENTLY_ATTACHED) && db.get(vbd, VBD.MODE) == VbdMode.RW) {
        return true;
      }
    }
    return false;
  }

  /** Nothing here arbitrates between two guests that write one image: each locks it. */
  private Value setSharable(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          requireUnshared(tx.get(vdi, VDI.SR), c.bool(1));
          tx.set(vdi, VDI.SHARABLE, false);
        });
    return Value.VOID;
  }

  /**
   * @throws XenApiException SR_OPERATION_NOT_SUPPORTED for a disk that several VMs shall write
   */
  static void requireUnshared(Ref<SR> sr, boolean shared) throws XenApiException {
    if (shared) {
      throw new XenApiException("SR_OPERATION_NOT_SUPPORTED", sr.opaque());
    }
  }

  private Value setReadOnly(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          if (c.bool(1) && isWritten(tx, vdi)) {
            throw new XenApiException("VDI_IN_USE", vdi.opaque(), "set_read_only");
          }
          tx.set(vdi, VDI.READ_ONLY, c.bool(1));
        });
    return Value.VOID;
  }

  /** No driver here forgets what was written when a VM starts. */
  private Value setOnBoot(Call c) throws XenApiException {
    Ref<SR> sr = c.server().db().snapshot().get(c.<VDI>ref(0), VDI.SR);
    if (!c.text(1).equals("persist")) {
      throw new XenApiException("SR_OPERATION_NOT_SUPPORTED", sr.opaque());
    }
    return Value.VOID;
  }

  /** No network has the purpose. */
  private Value nbdInfo(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    VdiType type = c.server().db().snapshot().get(vdi, VDI.TYPE);
    if (type == VdiType.CBT_METADATA) {
      throw new XenApiException("VDI_INCOMPATIBLE_TYPE", vdi.opaque(), type.wire());
    }
    return Value.EMPTY_ARRAY;
  }

  private Value setShared(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Ref<SR> sr = c.ref(0);
    if (db.get(sr, SR.SHARED) != c.bool(1)) {
      String host = db.rows("host").iterator().next().ref();
      throw new XenApiException("SR_NOT_SHARABLE", sr.opaque(), host);
    }
    return Value.VOID;
  }

  /** Takes a disk that is in the SR already into the records. */
  private Value introduce(Call c) throws XenApiException {
    String uuid = c.text(0);
    Ref<SR> sr = c.ref(3);
    String location = c.text(8);
    Snapshot db = c.server().db().snapshot();
    String repository = db.get(sr, SR.UUID);
    storage.requireAttached(sr);
    requireUnshared(sr, c.bool(5));
    for (Ref<VDI> known : db.get(sr, SR.VDIS)) {
      if (db.get(known, VDI.LOCATION).equals(location)) {
        throw new XenApiException("LOCATION_NOT_UNIQUE", sr.opaque(), location);
      }
    }
    if (db.byUuid("VDI", uuid).isPresent()) {
      throw new XenApiException("DB_UNIQUENESS_CONSTRAINT_VIOLATION", "VDI", "uuid", uuid);
    }
    Map<String, String> config = new LinkedHashMap<>();
    Optional<VdiInfo> there =
        HostStorage.driver(() -> storage.mux().repository(repository).scan()).stream()
            .filter(info -> info.vdi().equals(location))
            .findFirst();
    if (there.isPresent()) {
      if (there.get().migration().isPresent()) {
        throw new XenApiException("OPERATION_NOT_ALLOWED", "the disk belongs to a migration");
      }
      config.putAll(there.get().smConfig());
    }
    c.textMap(10)
        .forEach((key, value) -> {
          if (!key.startsWith(RESERVED)) {
            config.putIfAbsent(key, value);
          }
        });
    VdiInfo made =
        HostStorage.driver(
            () -> storage.mux().repository(repository).introduce(uuid, config, location));
    Ref<VDI> vdi = storage.introduce(sr, made);
    c.server()
        .db()
        .change(tx -> {
          tx.set(vdi, VDI.TYPE, VdiType.ofWire(c.text(4)));
          tx.set(vdi, VDI.READ_ONLY, c.bool(6) || made.readOnly());
          tx.set(
              "VDI", vdi.opaque(), DataModel.field("VDI", "other_config").orElseThrow(), c.arg(7));
        });
    storage.rename(vdi, Optional.of(c.text(1)), Optional.of(c.text(2)));
    return Value.of(vdi);
  }

  /** What could be found, as a structure. */
  private Value probe(Call c) throws XenApiException {
    c.server().db().snapshot().get(c.<Host>ref(0), Host.UUID);
    try {
      List<Value> results = new ArrayList<>();
      for (ProbeResult result :
          storage.mux().drivers().ofType(c.text(2)).probe(c.textMap(1), c.textMap(3))) {
        SequencedMap<String, Value> members = new LinkedHashMap<>();
        members.put("configuration", Value.ofTexts(result.configuration()));
        members.put("complete", Value.of(result.complete()));
        result.sr().ifPresent(sr -> members.put("sr", stat(sr)));
        members.put("extra_info", Value.ofTexts(result.extra()));
        results.add(new Value.Struct(members));
      }
      return new Value.Array(results);
    } catch (SmapiException e) {
      throw e.toXenApi();
    }
  }

  private static Value stat(SrInfo sr) {
    SequencedMap<String, Value> members = new LinkedHashMap<>();
    members.put("uuid", Value.of(sr.uuid()));
    members.put("name_label", Value.of(sr.nameLabel()));
    members.put("name_description", Value.of(sr.nameDescription()));
    members.put("free_space", Value.of(sr.freeSpace()));
    members.put("total_space", Value.of(sr.totalSpace()));
    members.put("clustered", Value.of(sr.clustered()));
    members.put("health", Value.of(sr.health().word().toLowerCase(Locale.ROOT)));
    return new Value.Struct(members);
  }
}
