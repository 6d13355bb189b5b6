package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.MemoryBackend;
import io.xenferry.model.Value;
import io.xenferry.sr.file.FileSrDriver;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The same on files, which can be exported too. */
class FileStorageMuxTest extends StorageMuxContract {
  private static final int MIB = 1 << 20;
  private final FileSrDriver driver = new FileSrDriver();

  @Override
  protected SrDriver driver() {
    return driver;
  }

  @Override
  protected Map<String, String> deviceConfig() {
    return Map.of("location", dir.resolve("sr").toString());
  }

  @Override
  protected Map<String, String> otherConfig() {
    return Map.of("location", dir.resolve("sr2").toString());
  }

  @Test
  void aDomainIsToldOfTheFile() throws Exception {
    assertThat(mux.attachVdi("dp", sr, vdi, "1", false))
        .contains(new Implementation.File(dir.resolve("sr").resolve(vdi + ".raw").toString()));
  }

  @Test
  void urlsAreGivenByMessages() throws Exception {
    assertThat(smapi.call("VDI.get_url", args("sr", sr, "vdi", vdi)))
        .isEqualTo(Value.of(FakeExporter.URL));
    smapi.call("VDI.close_url", args("sr", sr, "vdi", vdi));
    assertThat(mux.isExported(sr, vdi)).isFalse();
  }

  @Test
  void whatAnotherHostWritesIsNotCopiedNorExportedWhileItIs() throws Exception {
    mux.getUrl(sr, vdi);
    VdiInfo info = mux.repository(sr).stat(vdi);
    assertInUse(() -> mux.copy(sr, vdi, new MemoryBackend("to", 8L * MIB), Progress.NONE));
    assertInUse(() -> mux.snapshot(sr, info, Progress.NONE));
    assertInUse(() -> mux.copyOf(sr, info, Progress.NONE));
    assertInUse(() -> mux.resize(sr, vdi, 16L * MIB));
    SrDriverContract.assertFails(() -> mux.detach(sr), SmError.SR_IN_USE);
    mux.closeUrl(sr, vdi);

    Progress meanwhile =
        new Progress() {
          @Override
          public void report(double fraction) {
            assertInUse(() -> mux.getUrl(sr, vdi));
          }

          @Override
          public boolean isCancelled() {
            return false;
          }
        };
    mux.copy(sr, vdi, new MemoryBackend("to", 8L * MIB), meanwhile);
    mux.getUrl(sr, vdi);
  }

  /** The fence is not certain: until it is, no domain may have the disk. */
  @Test
  void anExportThatCannotBeClosedCountsAsOpen() throws Exception {
    mux.getUrl(sr, vdi);
    exporter.closingFails = true;
    SrDriverContract.assertFails(() -> mux.closeUrl(sr, vdi), SmError.VDI_UNAVAILABLE);
    mux.attachVdi("dp", sr, vdi, "1", true);
    assertInUse(() -> mux.activate("dp", sr, vdi, "1"));
    mux.repository(sr).detach();

    restart();

    assertInUse(() -> mux.activate("dp", sr, vdi, "1"));
    exporter.closingFails = false;
    mux.closeUrl(sr, vdi);
    mux.activate("dp", sr, vdi, "1");
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
    assertThat(exporter.calls)
        .containsExactly("open " + sr + "/" + vdi + " " + 8 * MIB, "close " + sr + "/" + vdi);
  }

  @Test
  void aFailedExportIsNotOpen() throws Exception {
    exporter.fails = true;
    SrDriverContract.assertFails(() -> mux.getUrl(sr, vdi), SmError.VDI_UNAVAILABLE);
    assertThat(mux.isExported(sr, vdi)).isFalse();
    exporter.fails = false;
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
}
