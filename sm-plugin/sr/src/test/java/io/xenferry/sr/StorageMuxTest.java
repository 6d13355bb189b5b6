package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.MemoryBackend;
import io.xenferry.model.Value;
import io.xenferry.sr.file.FileSrDriver;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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

class StorageMuxTest {
  private static final int MIB = 1 << 20;

  @TempDir Path dir;
  private final String sr = UUID.randomUUID().toString();
  private final List<String> exporterCalls = new ArrayList<>();
  private boolean exporterFails;
  private StorageMux mux;
  private SmapiV2 smapi;
  private String vdi;

  private final VdiExporter exporter =
      new VdiExporter() {
        @Override
        public String open(Path image, long size, String tag) throws IOException {
          exporterCalls.add("open " + tag + " " + size);
          if (exporterFails) {
            throw new IOException("no target");
          }
          return "iscsi://user%pass@127.0.0.1/iqn/1";
        }

        @Override
        public void close(String tag) {
          exporterCalls.add("close " + tag);
        }
      };

  @BeforeEach
  void start() throws Exception {
    Map<String, String> config = Map.of("location", dir.resolve("sr").toString());
    new FileSrDriver().create(sr, "sr", "", config, 0);
    restart();
    vdi = mux.repository(sr).create(VdiInfo.request("disk", 8L * MIB)).vdi();
  }

  private void restart() throws Exception {
    mux =
        new StorageMux(SrDrivers.installed(), exporter, Optional.of(dir.resolve("storage.state")));
    mux.attach(sr, "File", Map.of("location", dir.resolve("sr").toString()));
    smapi = new SmapiV2(mux, url -> new MemoryBackend(url, 8L * MIB));
  }

  private static void assertError(ThrowingCallable call, String error) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            SmapiException.class, e -> assertThat(e.error()).as(e.toString()).isEqualTo(error));
  }

  private static void assertInUse(ThrowingCallable call) {
    SrDriverContract.assertFails(call, SmError.VDI_IN_USE);
  }

  @Test
  void aDatapathGoesStepByStep() throws Exception {
    assertError(() -> mux.activate("dp", sr, vdi, "1"), "Illegal_transition");
    assertThat(mux.attachVdi("dp", sr, vdi, "1", false))
        .contains(new Implementation.File(dir.resolve("sr").resolve(vdi + ".raw").toString()));
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
  void anExportAndADomainExcludeEachOther() throws Exception {
    assertThat(mux.getUrl(sr, vdi)).startsWith("iscsi://");
    mux.attachVdi("dp", sr, vdi, "1", true);
    assertInUse(() -> mux.activate("dp", sr, vdi, "1"));
    assertInUse(() -> mux.destroyVdi(sr, vdi));
    mux.closeUrl(sr, vdi);
    mux.activate("dp", sr, vdi, "1");
    assertInUse(() -> mux.getUrl(sr, vdi));
    mux.closeUrl(sr, vdi);
    assertThat(exporterCalls)
        .containsExactly("open " + sr + "/" + vdi + " " + 8 * MIB, "close " + sr + "/" + vdi);
  }

  @Test
  void aFailedExportIsNotOpen() throws Exception {
    exporterFails = true;
    SrDriverContract.assertFails(() -> mux.getUrl(sr, vdi), SmError.VDI_UNAVAILABLE);
    assertThat(mux.isExported(sr, vdi)).isFalse();
    mux.attachVdi("dp", sr, vdi, "1", true);
    mux.activate("dp", sr, vdi, "1");
  }

  @Test
  void aRestartRemembersWhatIsInUse() throws Exception {
    String other = mux.repository(sr).create(VdiInfo.request("other", MIB)).vdi();
    mux.attachVdi("vbd/1/xvda", sr, vdi, "1", true);
    mux.activate("vbd/1/xvda", sr, vdi, "1");
    mux.getUrl(sr, other);
    mux.repository(sr).deactivate(vdi);
    mux.repository(sr).detach();

    restart();

    assertThat(mux.datapaths(sr, vdi)).isEqualTo(Map.of("vbd/1/xvda", DatapathState.ACTIVATED_RW));
    assertInUse(() -> mux.getUrl(sr, vdi));
    assertInUse(() -> mux.repository(sr).snapshot(mux.repository(sr).stat(vdi), Progress.NONE));
    assertThat(mux.isExported(sr, other)).isTrue();
    mux.closeUrl(sr, other);
    mux.destroyDatapath("vbd/1/xvda", false);
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

  private static Value.Struct args(Object... pairs) {
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
    assertThat(((Value.Array) member(backend, "implementations")).items())
        .anySatisfy(i -> assertThat(i.toString()).contains("File"));
    smapi.call("VDI.activate3", args("dp", "d", "sr", sr, "vdi", made, "vm", "7"));
    assertThat(smapi.call("DP.stat_vdi", args("sr", sr, "vdi", made)).toString())
        .contains("Activated", "RW");
    smapi.call("DP.destroy", args("dp", "d", "allow_leak", Value.of(false)));
    assertThat(smapi.call("VDI.get_url", args("sr", sr, "vdi", made)))
        .isInstanceOf(Value.Text.class);
    smapi.call("VDI.close_url", args("sr", sr, "vdi", made));
    smapi.call("VDI.copy", args("sr", sr, "vdi", made, "url", "u"));

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
}
