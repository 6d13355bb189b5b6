package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.model.Value;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the mux promises whatever driver is behind it, called directly and as SMAPIv2. */
abstract class StorageMuxContract {
  private static final int MIB = 1 << 20;

  @TempDir Path dir;
  protected final String sr = UUID.randomUUID().toString();
  protected final FakeExporter exporter = new FakeExporter();
  protected StorageMux mux;
  protected SmapiV2 smapi;
  protected String vdi;
  private final MemoryBackend remote = new MemoryBackend("remote", 8L * MIB);

  /** The same object each time. */
  protected abstract SrDriver driver();

  protected abstract Map<String, String> deviceConfig();

  @BeforeEach
  void start() throws Exception {
    driver().create(sr, "sr", "", deviceConfig(), 0);
    restart();
    vdi = mux.repository(sr).create(VdiInfo.request("disk", 8L * MIB)).vdi();
  }

  protected void restart() throws Exception {
    mux =
        new StorageMux(
            new SrDrivers(List.of(driver())), exporter, Optional.of(dir.resolve("storage.state")));
    mux.attach(sr, driver().type().toUpperCase(Locale.ROOT), deviceConfig());
    smapi = new SmapiV2(mux, url -> new StayingOpen(remote));
  }

  /** What is copied to is looked at afterwards. */
  private static final class StayingOpen extends ForwardingBackend {
    StayingOpen(BlockBackend backend) {
      super(backend);
    }

    @Override
    public void close() {}
  }

  protected static void assertError(ThrowingCallable call, String error) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            SmapiException.class, e -> assertThat(e.error()).as(e.toString()).isEqualTo(error));
  }

  protected static void assertInUse(ThrowingCallable call) {
    SrDriverContract.assertFails(call, SmError.VDI_IN_USE);
  }

  /** On a full disk, for one. A directory stands where the next state would be written. */
  @Test
  void whatCannotBeStoredHasNotHappened() throws Exception {
    Path next = dir.resolve("storage.state.new");
    Files.createDirectories(next.resolve("in-the-way"));
    String first = mux.repository(sr).create(VdiInfo.request("first", 8L * MIB)).vdi();
    SrDriverContract.assertFails(() -> mux.attachVdi("dp", sr, first, "1", true), SmError.METADATA);
    mux.destroyVdi(sr, first);
    Files.delete(next.resolve("in-the-way"));
    Files.delete(next);
    mux.attachVdi("other", sr, vdi, "2", true);
    Files.createDirectories(next.resolve("in-the-way"));
    SrDriverContract.assertFails(() -> mux.activate("other", sr, vdi, "2"), SmError.METADATA);
    Files.delete(next.resolve("in-the-way"));
    Files.delete(next);
    mux.detachVdi("other", sr, vdi);
    mux.destroyVdi(sr, vdi);
  }

  @Test
  void aDatapathGoesStepByStep() throws Exception {
    assertError(() -> mux.activate("dp", sr, vdi, "1"), "Illegal_transition");
    assertThat(mux.attachVdi("dp", sr, vdi, "1", false))
        .isEqualTo(mux.repository(sr).attachVdi(vdi, false));
    assertError(() -> mux.attachVdi("dp", sr, vdi, "1", true), "Illegal_transition");
    assertError(() -> mux.attachVdi("dp2", sr, vdi, "1", true), "Illegal_transition");
    mux.activate("dp", sr, vdi, "1");
    assertError(() -> mux.detachVdi("dp", sr, vdi), "Illegal_transition");
    assertInUse(() -> mux.destroyVdi(sr, vdi));
    SrDriverContract.assertFails(() -> mux.detach(sr), SmError.SR_IN_USE);
    mux.deactivate("dp", sr, vdi);
    mux.detachVdi("dp", sr, vdi);
    mux.detachVdi("dp", sr, vdi);
    mux.destroyVdi(sr, vdi);
    mux.detach(sr);
    assertError(() -> mux.repository(sr), "Sr_not_attached");
  }

  @Test
  void twoDatapathsAddUp() throws Exception {
    mux.attachVdi("a", sr, vdi, "1", true);
    mux.attachVdi("b", sr, vdi, "1", false);
    mux.activate("b", sr, vdi, "1");
    String before = mux.repository(sr).stat(vdi).contentId();
    mux.activate("a", sr, vdi, "1");
    assertThat(mux.repository(sr).stat(vdi).contentId()).isNotEqualTo(before);
    assertInUse(() -> mux.copy(sr, vdi, new MemoryBackend("to", 8L * MIB), Progress.NONE));
    mux.deactivate("a", sr, vdi);
    mux.copy(sr, vdi, new MemoryBackend("to", 8L * MIB), Progress.NONE);
    assertThat(mux.datapaths(sr, vdi))
        .isEqualTo(Map.of("a", DatapathState.ATTACHED_RW, "b", DatapathState.ACTIVATED_RO));
    mux.destroyDatapath("a", false);
    mux.destroyDatapath("b", sr, vdi, false);
    assertThat(mux.datapaths(sr, vdi)).isEmpty();
  }

  @Test
  void deactivatingWaitsForCopies() throws Exception {
    SrDriverContract.fill(mux.repository(sr), vdi, 0, MIB);
    mux.attachVdi("dp", sr, vdi, "1", false);
    mux.activate("dp", sr, vdi, "1");
    CountDownLatch copying = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    Progress slow =
        new Progress() {
          @Override
          public void report(double fraction) {
            copying.countDown();
            try {
              goOn.await(20, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
              Thread.currentThread().interrupt();
            }
          }

          @Override
          public boolean isCancelled() {
            return false;
          }
        };
    MemoryBackend to = new MemoryBackend("to", 8L * MIB);
    CompletableFuture<Void> copy = async(() -> mux.copy(sr, vdi, to, slow));
    copying.await(20, TimeUnit.SECONDS);
    mux.attachVdi("dp2", sr, vdi, "2", false);
    CompletableFuture<Void> deactivate = async(() -> mux.deactivate("dp", sr, vdi));
    assertThat(mux.datapaths(sr, vdi)).containsEntry("dp", DatapathState.ACTIVATED_RO);
    assertThat(deactivate).isNotDone();
    goOn.countDown();
    copy.get(20, TimeUnit.SECONDS);
    deactivate.get(20, TimeUnit.SECONDS);
    assertThat(mux.datapaths(sr, vdi)).containsEntry("dp", DatapathState.ATTACHED_RO);
  }

  private interface Action {
    void run() throws Exception;
  }

  private static CompletableFuture<Void> async(Action action) {
    CompletableFuture<Void> future = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            action.run();
            future.complete(null);
          } catch (Exception e) {
            future.completeExceptionally(e);
          }
        });
    return future;
  }

  protected static Value.Struct args(Object... pairs) {
    Map<String, Value> m = new java.util.LinkedHashMap<>();
    m.put("dbg", Value.of("test"));
    for (int i = 0; i < pairs.length; i += 2) {
      Object v = pairs[i + 1];
      m.put((String) pairs[i], v instanceof Value value ? value : Value.of((String) v));
    }
    return Value.Struct.of(m);
  }

  private static Value member(Value struct, String name) {
    return ((Value.Struct) struct).members().get(name);
  }

  @Test
  void messagesSpeakSmapi() throws Exception {
    Value info =
        smapi.call(
            "VDI.create",
            args("sr", sr, "vdi_info", args("name_label", "x", "virtual_size", "1048576")));
    assertThat(member(info, "virtual_size")).isEqualTo(Value.of(MIB));
    assertThat(member(info, "snapshot_time")).isEqualTo(Value.of("19700101T00:00:00Z"));
    Value made = member(info, "vdi");

    Value backend =
        smapi.call(
            "VDI.attach3",
            args("dp", "d", "sr", sr, "vdi", made, "vm", "7", "read_write", Value.of(true)));
    assertThat(member(backend, "implementations")).isInstanceOf(Value.Array.class);
    smapi.call("VDI.activate3", args("dp", "d", "sr", sr, "vdi", made, "vm", "7"));
    assertThat(smapi.call("DP.stat_vdi", args("sr", sr, "vdi", made)).toString())
        .contains("Activated", "RW");
    smapi.call("DP.destroy", args("dp", "d", "allow_leak", Value.of(false)));
    Value old =
        smapi.call(
            "VDI.attach", args("dp", "e", "sr", sr, "vdi", made, "read_write", Value.of(false)));
    assertThat(member(old, "params")).isInstanceOf(Value.Text.class);
    assertThat(smapi.call("DP.diagnostics", args()).toString()).contains("e " + sr);
    smapi.call("DP.destroy", args("dp", "e", "allow_leak", Value.of(false)));

    assertThat(smapi.call("SR.scan", args("sr", sr)).toString()).contains("disk", "x");
    assertThat(smapi.call("SR.list", args())).isEqualTo(Value.ofTexts(List.of(sr)));
    assertThat(member(smapi.call("SR.stat", args("sr", sr)), "health"))
        .isEqualTo(Value.of("Healthy"));
    assertThat(smapi.call("VDI.get_by_name", args("sr", sr, "name", "x")))
        .isEqualTo(smapi.call("VDI.stat", args("sr", sr, "vdi", made)));
  }

  @Test
  void messagesWordTheirErrors() {
    assertThat(smapi.respond("VDI.stat", args("sr", sr, "vdi", "v")))
        .isEqualTo(
            Value.Struct.of(
                new java.util.TreeMap<>(
                    Map.of(
                        "Status",
                        Value.of("Failure"),
                        "Value",
                        new Value.Array(
                            List.of(
                                Value.of("Vdi_does_not_exist"),
                                Value.ofTexts(List.of(sr, "v"))))))));
    assertThat(smapi.respond("DATA.MIRROR.list", args()).toString())
        .contains("Unimplemented", "DATA.MIRROR.list");
    assertThat(smapi.respond("VDI.stat", args()).toString())
        .contains("Missing_configuration_parameter");
    assertThat(smapi.respond("VDI.stat", args("sr", Value.of(true))).toString())
        .contains("Internal_error");
    assertThat(smapi.respond("SR.scan", args("sr", "none")).toString()).contains("Sr_not_attached");
  }

  /** Whatever the destination held before: zeroes of the source are written too. */
  @Test
  void aCopyIsExactWhateverWasThereBefore() throws Exception {
    byte[] content = SrDriverContract.fill(mux.repository(sr), vdi, 2L * MIB, MIB);
    SrDriverContract.write(mux.repository(sr), vdi, 4L * MIB, new byte[MIB]);
    byte[] junk = new byte[8 * MIB];
    Arrays.fill(junk, (byte) 0x5A);
    remote.write(0, ByteBuffer.wrap(junk)).get(20, TimeUnit.SECONDS);

    smapi.call("VDI.copy", args("sr", sr, "vdi", vdi, "url", "u"));

    ByteBuffer there = ByteBuffer.allocate(8 * MIB);
    remote.read(0, there).get(20, TimeUnit.SECONDS);
    byte[] expected = new byte[8 * MIB];
    System.arraycopy(content, 0, expected, 2 * MIB, MIB);
    assertThat(there.array()).isEqualTo(expected);
  }

  /** What both have stays as it is in the destination, also where that has something else. */
  @Test
  void onlyWhatDiffersFromABaseIsCopied() throws Exception {
    StorageRepository volumes = mux.repository(sr);
    byte[] content = SrDriverContract.fill(volumes, vdi, 0, 4 * MIB);
    String base = volumes.create(VdiInfo.request("base", 6L * MIB)).vdi();
    SrDriverContract.write(volumes, base, 0, Arrays.copyOf(content, 2 * MIB));
    SrDriverContract.fill(volumes, base, 5L * MIB, MIB);
    byte[] junk = new byte[8 * MIB];
    Arrays.fill(junk, (byte) 0x5A);
    remote.write(0, ByteBuffer.wrap(junk)).get(20, TimeUnit.SECONDS);

    try (BlockBackend known = mux.openForCopy(sr, base)) {
      mux.copyChanges(sr, vdi, known, remote, Progress.NONE);
    }

    ByteBuffer there = ByteBuffer.allocate(8 * MIB);
    remote.read(0, there).get(20, TimeUnit.SECONDS);
    byte[] expected = junk.clone();
    System.arraycopy(content, 2 * MIB, expected, 2 * MIB, 2 * MIB);
    Arrays.fill(expected, 5 * MIB, 8 * MIB, (byte) 0); // only in the base; beyond its end
    assertThat(there.array()).isEqualTo(expected);
  }

  @Test
  void whatIsWrittenFromHereIsNobodyElses() throws Exception {
    mux.attachVdi("dp", sr, vdi, "1", false);
    assertInUse(() -> mux.openForFilling(sr, vdi));
    mux.destroyDatapath("dp", false);
    String before = mux.repository(sr).stat(vdi).contentId();
    VdiInfo wanted = VdiInfo.request("s", 8L * MIB).edit().vdi(vdi).done();
    try (BlockBackend filled = mux.openForFilling(sr, vdi)) {
      filled.write(0, ByteBuffer.wrap(new byte[MIB])).get(20, TimeUnit.SECONDS);
      assertInUse(() -> mux.openForFilling(sr, vdi));
      assertInUse(() -> mux.attachVdi("dp", sr, vdi, "1", false));
      assertInUse(() -> mux.openForCopy(sr, vdi));
      assertInUse(() -> mux.snapshot(sr, wanted, Progress.NONE));
      assertInUse(() -> mux.beginSnapshot(sr, wanted));
      assertInUse(() -> mux.getUrl(sr, vdi));
      assertInUse(() -> mux.resize(sr, vdi, 9L * MIB));
      assertInUse(() -> mux.destroyVdi(sr, vdi));
      assertThat(mux.isUsedBesides("1", sr, vdi)).isTrue();
      SrDriverContract.assertFails(() -> mux.detach(sr), SmError.SR_IN_USE);
      filled.close();
    }
    assertThat(mux.repository(sr).stat(vdi).contentId()).isNotEqualTo(before);
    mux.openForCopy(sr, vdi).close();
    mux.destroyVdi(sr, vdi);
    mux.detach(sr);
  }

  @Test
  void aCopyNeedsRoomAndAQuietSource() throws Exception {
    MemoryBackend small = new MemoryBackend("small", MIB);
    assertThatThrownBy(() -> mux.copy(sr, vdi, small, Progress.NONE))
        .isInstanceOfSatisfying(
            SmapiException.class, e -> assertThat(e.toXenApi().code()).isEqualTo("VDI_TOO_SMALL"));
    mux.attachVdi("dp", sr, vdi, "1", true);
    mux.activate("dp", sr, vdi, "1");
    Value.Struct info = args("vdi", vdi, "name_label", "s", "virtual_size", Value.of(8L * MIB));
    for (String call : List.of("VDI.snapshot", "VDI.clone")) {
      assertInUse(() -> smapi.call(call, args("sr", sr, "vdi_info", info)));
    }
    mux.destroyDatapath("dp", false);
    Value snapshot = smapi.call("VDI.snapshot", args("sr", sr, "vdi_info", info));
    Value clone = smapi.call("VDI.clone", args("sr", sr, "vdi_info", info));
    assertThat(member(snapshot, "is_a_snapshot")).isEqualTo(Value.of(true));
    assertThat(member(clone, "is_a_snapshot")).isEqualTo(Value.of(false));
    assertThat(mux.repository(sr).scan()).hasSize(3);
  }

  @Test
  void anSrIsMadeProbedDetachedAndDestroyedByItsMessages() throws Exception {
    String other = UUID.randomUUID().toString();
    Value config = Value.ofTexts(otherConfig());
    Value.Struct all =
        args(
            "sr",
            other,
            "name_label",
            "second",
            "name_description",
            "",
            "device_config",
            config,
            "physical_size",
            Value.of(0));
    smapi.learnType(other, driver().type());
    assertThat(smapi.call("SR.create", all)).isEqualTo(config);
    assertThat(
            smapi
                .call(
                    "SR.probe",
                    args(
                        "queue",
                        "org.xen.xapi.storage." + driver().type(),
                        "device_config",
                        config,
                        "sm_config",
                        args()))
                .toString())
        .contains("Probe");
    smapi.call("SR.attach", args("sr", other, "device_config", config));
    smapi.call("SR.set_name_label", args("sr", other, "new_name_label", "third"));
    Value info =
        smapi.call(
            "VDI.create",
            args("sr", other, "vdi_info", args("name_label", "x", "virtual_size", "1048576")));
    assertThat(((Value.Array) smapi.call("SR.scan2", args("sr", other))).items()).hasSize(2);
    assertThat(member(smapi.call("SR.stat", args("sr", other)), "name_label"))
        .isEqualTo(Value.of("third"));
    assertThat(
            smapi.call(
                "VDI.resize", args("sr", other, "vdi", member(info, "vdi"), "new_size", "2097152")))
        .isEqualTo(Value.of(2 * MIB));
    SrDriverContract.assertFails(
        () -> smapi.call("SR.destroy", args("sr", other)), SmError.SR_NOT_EMPTY);
    smapi.call("VDI.destroy", args("sr", other, "vdi", member(info, "vdi")));
    smapi.call("SR.detach", args("sr", other));
    smapi.call("SR.attach", args("sr", other, "device_config", config));
    smapi.call("SR.destroy", args("sr", other));
    assertError(() -> smapi.call("SR.stat", args("sr", other)), "Sr_not_attached");
  }

  /** For a second SR. */
  protected abstract Map<String, String> otherConfig();

  /** Plain volumes have no difference chains, no changed block tracking, no way back. */
  @Test
  void whatPlainVolumesCannotDoIsUnimplemented() {
    for (String call :
        List.of(
            "VDI.compose",
            "VDI.enable_cbt",
            "VDI.disable_cbt",
            "VDI.data_destroy",
            "VDI.list_changed_blocks")) {
      assertThatThrownBy(() ->
              smapi.call(
                  call,
                  args(
                      "sr",
                      sr,
                      "vdi",
                      vdi,
                      "vdi1",
                      vdi,
                      "vdi2",
                      vdi,
                      "vdi_from",
                      vdi,
                      "vdi_to",
                      vdi)))
          .isInstanceOfSatisfying(
              SmapiException.class,
              e -> {
                assertThat(e.error()).isEqualTo("Unimplemented");
                assertThat(e.args()).containsExactly(Value.of(call));
              });
    }
    assertError(
        () ->
            smapi.call(
                "VDI.set_persistent", args("sr", sr, "vdi", vdi, "persistent", Value.of(false))),
        "Unimplemented");
    assertThat(driver().query().features()).doesNotContain("VDI_COMPOSE");
  }

  @Test
  void askingForWhatDoesNotExistLeavesNothingBehind() throws Exception {
    for (int i = 0; i < 100; i++) {
      String nobody = "vdi" + i;
      assertThat(mux.datapaths(sr, nobody)).isEmpty();
      assertError(() -> mux.attachVdi("dp", sr, nobody, "1", true), "Vdi_does_not_exist");
      mux.destroyDatapath("dp", sr, nobody, true);
    }
    assertThat(mux.describeDatapaths()).isEmpty();
    mux.detach(sr);
  }

  @Test
  void aDriverDescribesItself() throws Exception {
    Value answer = smapi.call("Query.query", args("queue", "x.y." + driver().type()));
    assertThat(member(answer, "driver")).isEqualTo(Value.of(driver().type()));
    assertThat(member(answer, "features").toString()).contains("VDI_CREATE", "VDI_MIRROR_IN");
    assertThat(smapi.call("Query.diagnostics", args()).toString()).contains(sr);
  }

  @Test
  void recordsAreChangedByMessages() throws Exception {
    smapi.call("SR.set_name_description", args("sr", sr, "new_name_description", "d"));
    assertThat(member(smapi.call("SR.stat", args("sr", sr)), "name_description"))
        .isEqualTo(Value.of("d"));
    smapi.call("VDI.set_name_label", args("sr", sr, "vdi", vdi, "new_name_label", "new"));
    smapi.call(
        "VDI.set_name_description", args("sr", sr, "vdi", vdi, "new_name_description", "desc"));
    smapi.call("VDI.set_content_id", args("sr", sr, "vdi", vdi, "content_id", "c1"));
    smapi.call("VDI.add_to_sm_config", args("sr", sr, "vdi", vdi, "key", "k", "value", "v"));
    smapi.call("VDI.add_to_sm_config", args("sr", sr, "vdi", vdi, "key", "l", "value", "w"));
    smapi.call("VDI.remove_from_sm_config", args("sr", sr, "vdi", vdi, "key", "k"));
    Value info = smapi.call("VDI.stat", args("sr", sr, "vdi", vdi));
    assertThat(member(info, "name_label")).isEqualTo(Value.of("new"));
    assertThat(member(info, "name_description")).isEqualTo(Value.of("desc"));
    assertThat(member(info, "content_id")).isEqualTo(Value.of("c1"));
    assertThat(member(member(info, "sm_config"), "l")).isEqualTo(Value.of("w"));
    assertThat(((Value.Struct) member(info, "sm_config")).members()).doesNotContainKey("k");
    assertThat(smapi.call("get_by_name", args("name", "new")))
        .isEqualTo(new Value.Array(List.of(Value.of(sr), info)));
    Value clone = smapi.call("VDI.clone", args("sr", sr, "vdi_info", info));
    assertThat(smapi.call("VDI.similar_content", args("sr", sr, "vdi", vdi)))
        .isEqualTo(
            new Value.Array(
                List.of(smapi.call("VDI.stat", args("sr", sr, "vdi", member(clone, "vdi"))))));
    Value introduced =
        smapi.call(
            "VDI.introduce",
            args(
                "sr",
                sr,
                "uuid",
                UUID.randomUUID().toString(),
                "sm_config",
                text("m", "n"),
                "location",
                vdi));
    assertThat(member(introduced, "vdi")).isEqualTo(Value.of(vdi));
    assertThat(member(member(introduced, "sm_config"), "m")).isEqualTo(Value.of("n"));
  }

  private static Value.Struct text(String key, String value) {
    return Value.Struct.of(Map.of(key, Value.of(value)));
  }

  @Test
  void aDatapathGoesStepByStepByMessages() throws Exception {
    assertThat(smapi.call("DP.create", args("id", "d"))).isEqualTo(Value.of("d"));
    Value.Struct d = args("dp", "d", "sr", sr, "vdi", vdi, "vm", "1");
    smapi.call("VDI.epoch_begin", args("sr", sr, "vdi", vdi, "vm", "1"));
    Value backend =
        smapi.call(
            "VDI.attach2", args("dp", "d", "sr", sr, "vdi", vdi, "read_write", Value.of(true)));
    assertThat(smapi.call("DP.attach_info", d)).isEqualTo(backend);
    smapi.call("VDI.activate_readonly", d);
    assertThat(mux.datapaths(sr, vdi)).containsEntry("d", DatapathState.ACTIVATED_RO);
    smapi.call("VDI.deactivate", d);
    smapi.call("VDI.detach", d);
    assertThat(mux.datapaths(sr, vdi)).isEmpty();
    assertError(() -> smapi.call("DP.attach_info", d), "Does_not_exist");

    smapi.call(
        "VDI.attach3",
        args("dp", "d", "sr", sr, "vdi", vdi, "vm", "1", "read_write", Value.of(true)));
    smapi.call("VDI.activate", d);
    assertThat(mux.datapaths(sr, vdi)).containsEntry("d", DatapathState.ACTIVATED_RW);
    smapi.call(
        "DP.destroy2",
        args("dp", "d", "sr", sr, "vdi", vdi, "vm", "1", "allow_leak", Value.of(false)));
    assertThat(mux.datapaths(sr, vdi)).isEmpty();
    smapi.call("VDI.epoch_end", args("sr", sr, "vdi", vdi, "vm", "1"));
  }
}
