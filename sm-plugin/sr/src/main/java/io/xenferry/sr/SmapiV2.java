package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.model.Value;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * SMAPIv2's messages on a {@link StorageMux}: a method's name and its named arguments in, a value
 * out. What is not in the table is Unimplemented. Thread-safe; calls block.
 *
 * <p>SR.attach of the interface has no type: it is learnt from SR.create, from {@link #learnType},
 * or from device_config's key {@code type}.
 */
public final class SmapiV2 {
  private static final Logger LOG = LoggerFactory.getLogger(SmapiV2.class);

  private final StorageMux mux;
  private final UrlOpener opener;
  private final Map<String, String> types = new ConcurrentHashMap<>();
  private final Map<String, Call> calls = new HashMap<>();

  private interface Call {
    Value of(Smapi.Args a) throws SmapiException;
  }

  private interface VdiCall {
    Value of(StorageRepository sr, String vdi, Smapi.Args a) throws SmapiException;
  }

  /** Opens what a URL names for writing: an iSCSI initiator, most likely. */
  @FunctionalInterface
  public interface UrlOpener {
    BlockBackend open(String url) throws IOException;
  }

  public SmapiV2(StorageMux mux, UrlOpener opener) {
    this.mux = mux;
    this.opener = opener;
    srCalls();
    vdiCalls();
    datapathCalls();
  }

  /** Says of which type an SR is, as the pool's database knows. */
  public void learnType(String sr, String type) {
    types.put(sr, type);
  }

  /** The names of all methods that are there. */
  public List<String> methods() {
    return calls.keySet().stream().sorted().toList();
  }

  /** Does a call. */
  public Value call(String method, Value.Struct arguments) throws SmapiException {
    Call call = calls.get(method);
    if (call == null) {
      throw SmapiException.unimplemented(method);
    }
    try {
      return call.of(new Smapi.Args(arguments));
    } catch (RuntimeException e) {
      LOG.error("{} failed", method, e);
      throw SmapiException.internal(method + ": " + e).withCause(e);
    }
  }

  /** Does a call and wraps its outcome: members {@code Status} and {@code Value}. */
  public Value.Struct respond(String method, Value.Struct arguments) {
    SequencedMap<String, Value> answer = new LinkedHashMap<>();
    try {
      Value value = call(method, arguments);
      answer.put("Status", Value.of("Success"));
      answer.put("Value", value);
    } catch (SmapiException e) {
      LOG.debug("{} failed", method, e);
      answer.put("Status", Value.of("Failure"));
      answer.put("Value", e.toValue());
    }
    return new Value.Struct(answer);
  }

  private void srCalls() {
    calls.put("Query.query", a -> Smapi.of(driver(a).query()));
    calls.put("Query.diagnostics", a -> Value.of("attached: " + mux.list()));
    calls.put(
        "SR.create",
        a -> {
          Map<String, String> config = new HashMap<>(a.texts("device_config"));
          String type = types.getOrDefault(a.text("sr"), config.getOrDefault("type", "file"));
          Map<String, String> stored =
              mux.drivers()
                  .ofType(type)
                  .create(
                      a.text("sr"),
                      a.text("name_label"),
                      a.text("name_description"),
                      config,
                      a.number("physical_size", 0));
          types.put(a.text("sr"), type);
          return Value.ofTexts(stored);
        });
    calls.put(
        "SR.attach",
        a -> {
          Map<String, String> config = a.texts("device_config");
          String type = types.getOrDefault(a.text("sr"), config.getOrDefault("type", "file"));
          mux.attach(a.text("sr"), type, config);
          return Value.VOID;
        });
    calls.put("SR.detach", a -> done(() -> mux.detach(a.text("sr"))));
    calls.put("SR.destroy", a -> done(() -> mux.destroy(a.text("sr"))));
    calls.put("SR.list", a -> Value.ofTexts(mux.list()));
    calls.put("SR.stat", a -> Smapi.of(sr(a).stat()));
    calls.put("SR.scan", a -> vdis(sr(a).scan()));
    calls.put(
        "SR.scan2", a -> new Value.Array(List.of(vdis(sr(a).scan()), Smapi.of(sr(a).stat()))));
    calls.put("SR.set_name_label", a -> done(() -> sr(a).setNameLabel(a.text("new_name_label"))));
    calls.put(
        "SR.set_name_description",
        a -> done(() -> sr(a).setNameDescription(a.text("new_name_description"))));
    calls.put(
        "SR.probe",
        a ->
            Smapi.probe(
                driver(a)
                    .probe(
                        a.texts("device_config"),
                        a.has("sm_config") ? a.texts("sm_config") : Map.of())));
  }

  private void vdiCalls() {
    calls.put("VDI.create", a -> Smapi.of(sr(a).create(Smapi.vdiInfo(a.struct("vdi_info")))));
    calls.put(
        "VDI.snapshot",
        a ->
            Smapi.of(
                mux.snapshot(a.text("sr"), Smapi.vdiInfo(a.struct("vdi_info")), Progress.NONE)));
    calls.put(
        "VDI.clone",
        a ->
            Smapi.of(mux.copyOf(a.text("sr"), Smapi.vdiInfo(a.struct("vdi_info")), Progress.NONE)));
    calls.put(
        "VDI.introduce",
        a -> Smapi.of(sr(a).introduce(a.text("uuid"), a.texts("sm_config"), a.text("location"))));
    vdi("VDI.stat", (sr, vdi, a) -> Smapi.of(sr.stat(vdi)));
    vdi("VDI.similar_content", (sr, vdi, a) -> vdis(sr.similarContent(vdi)));
    vdi(
        "VDI.set_name_label",
        (sr, vdi, a) -> {
          String label = a.text("new_name_label");
          return changed(sr, vdi, v -> v.edit().nameLabel(label).done());
        });
    vdi(
        "VDI.set_name_description",
        (sr, vdi, a) -> {
          String description = a.text("new_name_description");
          return changed(sr, vdi, v -> v.edit().nameDescription(description).done());
        });
    vdi(
        "VDI.set_content_id",
        (sr, vdi, a) -> {
          String content = a.text("content_id");
          return changed(sr, vdi, v -> v.edit().contentId(content).done());
        });
    vdi(
        "VDI.add_to_sm_config",
        (sr, vdi, a) -> {
          String key = a.text("key");
          String value = a.text("value");
          return changed(sr, vdi, v -> v.withSmConfig(key, value));
        });
    vdi(
        "VDI.remove_from_sm_config",
        (sr, vdi, a) -> {
          String key = a.text("key");
          return changed(sr, vdi, v -> v.withoutSmConfig(key));
        });
    vdi(
        "VDI.set_persistent",
        (sr, vdi, a) -> {
          if (!a.bool("persistent", true)) {
            throw SmapiException.unimplemented("VDI.set_persistent");
          }
          return Value.VOID;
        });
    // Persistent disks keep what is written; others set_persistent refuses.
    vdi("VDI.epoch_begin", (sr, vdi, a) -> Value.VOID);
    vdi("VDI.epoch_end", (sr, vdi, a) -> Value.VOID);
    calls.put("VDI.get_by_name", this::getByName);
    calls.put("get_by_name", this::getByName);
    calls.put("VDI.destroy", a -> done(() -> mux.destroyVdi(a.text("sr"), a.text("vdi"))));
    calls.put(
        "VDI.resize",
        a -> Value.of(mux.resize(a.text("sr"), a.text("vdi"), a.number("new_size", 0))));
    calls.put(
        "VDI.revert",
        a -> {
          Smapi.Args snapshot = a.struct("snapshot_info");
          mux.revert(a.text("sr"), snapshot.text("snapshot_of"), snapshot.text("vdi"));
          return Value.VOID;
        });
    vdi(
        "VDI.enable_cbt",
        (sr, vdi, a) -> {
          sr.enableCbt(vdi);
          return Value.VOID;
        });
    vdi(
        "VDI.disable_cbt",
        (sr, vdi, a) -> {
          sr.disableCbt(vdi);
          return Value.VOID;
        });
    calls.put("VDI.data_destroy", a -> done(() -> mux.dataDestroy(a.text("sr"), a.text("vdi"))));
    // The published interface spells the second name so.
    calls.put(
        "VDI.list_changed_blocks",
        a ->
            Value.of(
                sr(a)
                    .listChangedBlocks(
                        a.text("vdi_from"),
                        a.has("vdi_tp") ? a.text("vdi_tp") : a.text("vdi_to"))));
    calls.put("VDI.get_url", a -> Value.of(mux.getUrl(a.text("sr"), a.text("vdi"))));
    calls.put("VDI.copy", this::copy);
    calls.put("VDI.close_url", a -> done(() -> mux.closeUrl(a.text("sr"), a.text("vdi"))));
  }

  private void datapathCalls() {
    Call attach =
        a ->
            Smapi.backend(
                mux.attachVdi(
                    a.text("dp"),
                    a.text("sr"),
                    a.text("vdi"),
                    a.text("vm", "0"),
                    a.bool("read_write", false)));
    calls.put(
        "VDI.attach",
        a ->
            Smapi.attachInfo(
                mux.attachVdi(
                    a.text("dp"), a.text("sr"), a.text("vdi"), "0", a.bool("read_write", false))));
    calls.put("VDI.attach2", attach);
    calls.put("VDI.attach3", attach);
    Call activate =
        a -> done(() -> mux.activate(a.text("dp"), a.text("sr"), a.text("vdi"), a.text("vm", "0")));
    calls.put("VDI.activate", activate);
    calls.put("VDI.activate3", activate);
    calls.put(
        "VDI.activate_readonly",
        a ->
            done(() ->
                mux.activate(a.text("dp"), a.text("sr"), a.text("vdi"), a.text("vm", "0"), true)));
    calls.put(
        "VDI.deactivate",
        a -> done(() -> mux.deactivate(a.text("dp"), a.text("sr"), a.text("vdi"))));
    calls.put(
        "VDI.detach", a -> done(() -> mux.detachVdi(a.text("dp"), a.text("sr"), a.text("vdi"))));
    calls.put("DP.create", a -> Value.of(a.text("id")));
    calls.put(
        "DP.destroy",
        a -> done(() -> mux.destroyDatapath(a.text("dp"), a.bool("allow_leak", false))));
    calls.put(
        "DP.destroy2",
        a ->
            done(() ->
                mux.destroyDatapath(
                    a.text("dp"), a.text("sr"), a.text("vdi"), a.bool("allow_leak", false))));
    calls.put(
        "DP.attach_info",
        a -> Smapi.backend(mux.attachInfo(a.text("dp"), a.text("sr"), a.text("vdi"))));
    calls.put("DP.stat_vdi", this::statVdi);
    calls.put("DP.diagnostics", a -> Value.of(String.join("\n", mux.describeDatapaths())));
  }

  private Value statVdi(Smapi.Args a) throws SmapiException {
    Map<String, DatapathState> dps = mux.datapaths(a.text("sr"), a.text("vdi"));
    SequencedMap<String, Value> each = new LinkedHashMap<>();
    dps.forEach((dp, state) -> each.put(dp, state.toValue()));
    SequencedMap<String, Value> answer = new LinkedHashMap<>();
    answer.put(
        "superstate",
        dps.values().stream().reduce(DatapathState.DETACHED, DatapathState::and).toValue());
    answer.put("dps", new Value.Struct(each));
    return new Value.Struct(answer);
  }

  private Value copy(Smapi.Args a) throws SmapiException {
    try (BlockBackend to = opener.open(a.text("url"))) {
      mux.copy(a.text("sr"), a.text("vdi"), to, Progress.NONE);
      return Value.VOID;
    } catch (IOException e) {
      throw SmapiException.backend("VDI_COPY_FAILED", List.of("cannot open the destination: " + e))
          .withCause(e);
    }
  }

  /** With an SR the VDI; without, the pair of SR and VDI. */
  private Value getByName(Smapi.Args a) throws SmapiException {
    String name = a.text("name");
    List<String> where = a.has("sr") ? List.of(a.text("sr")) : mux.list();
    for (String sr : where) {
      for (VdiInfo v : mux.repository(sr).scan()) {
        if (v.nameLabel().equals(name)) {
          return a.has("sr") ? Smapi.of(v) : new Value.Array(List.of(Value.of(sr), Smapi.of(v)));
        }
      }
    }
    throw SmapiException.vdiDoesNotExist(a.text("sr", ""), name);
  }

  private interface Action {
    void run() throws SmapiException;
  }

  private static Value done(Action action) throws SmapiException {
    action.run();
    return Value.VOID;
  }

  private static Value changed(StorageRepository sr, String vdi, StorageRepository.Change change)
      throws SmapiException {
    sr.update(vdi, change);
    return Value.VOID;
  }

  private void vdi(String method, VdiCall call) {
    calls.put(method, a -> call.of(sr(a), a.text("vdi"), a));
  }

  private StorageRepository sr(Smapi.Args a) throws SmapiException {
    return mux.repository(a.text("sr"));
  }

  /** The queue of a driver ends in its type; without a queue the first driver answers. */
  private SrDriver driver(Smapi.Args a) throws SmapiException {
    String queue = a.text("queue", mux.drivers().all().getFirst().type());
    return mux.drivers().ofType(queue.substring(queue.lastIndexOf('.') + 1));
  }

  private static Value vdis(List<VdiInfo> infos) {
    List<Value> items = new ArrayList<>();
    infos.forEach(v -> items.add(Smapi.of(v)));
    return new Value.Array(items);
  }
}
