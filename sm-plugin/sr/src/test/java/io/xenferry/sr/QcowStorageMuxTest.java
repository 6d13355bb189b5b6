package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.ExternalTools;
import io.xenferry.block.FileBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.model.Value;
import io.xenferry.sr.file.FileSrDriver;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The same on qcow2 images, which targets are shown as raw files. */
class QcowStorageMuxTest extends StorageMuxContract {
  private final FileSrDriver driver = new FileSrDriver();

  @BeforeAll
  static void tools() {
    ExternalTools.require("qemu-img", "qemu-nbd", "qemu-storage-daemon");
  }

  @AfterEach
  void endViews() throws Exception {
    mux.closeUrl(sr, vdi);
    mux.close();
  }

  @Override
  protected SrDriver driver() {
    return driver;
  }

  @Override
  protected Map<String, String> deviceConfig() {
    return Map.of("location", dir.resolve("sr").toString(), "image-format", "qcow2");
  }

  @Override
  protected Map<String, String> otherConfig() {
    return Map.of("location", dir.resolve("sr2").toString(), "image-format", "qcow2");
  }

  /** Of what plain volumes cannot do these can do most. */
  @Override
  @Test
  void whatPlainVolumesCannotDoIsUnimplemented() {
    assertError(() -> smapi.call("VDI.compose", args("sr", sr, "vdi1", vdi)), "Unimplemented");
    assertThat(driver.query().features()).contains("VDI_CONFIG_CBT", "VDI_REVERT");
  }

  @Test
  void changedBlocksAreListedByMessages() throws Exception {
    smapi.call("VDI.enable_cbt", args("sr", sr, "vdi", vdi));
    assertThat(mux.repository(sr).stat(vdi).cbtEnabled()).isTrue();
    String first = mux.snapshot(sr, mux.repository(sr).stat(vdi), Progress.NONE).vdi();
    SrDriverContract.write(mux.repository(sr), vdi, 65536, new byte[65536]);
    SrDriverContract.write(mux.repository(sr), vdi, 9 * 65536, new byte[] {1});
    String second = mux.snapshot(sr, mux.repository(sr).stat(vdi), Progress.NONE).vdi();
    SrDriverContract.write(mux.repository(sr), vdi, 2 * 65536, new byte[] {1});
    assertThat(smapi.call("VDI.list_changed_blocks", changes(first, second)))
        .isEqualTo(bits(0x40, 0x40));
    assertThat(smapi.call("VDI.list_changed_blocks", changes(second, vdi)))
        .isEqualTo(bits(0x20, 0));
    smapi.call("VDI.data_destroy", args("sr", sr, "vdi", first));
    assertThat(mux.repository(sr).stat(first).type()).isEqualTo("cbt_metadata");
    assertError(() -> mux.attachVdi("dp", sr, first, "1", false), "Backend_error");
    assertThat(smapi.call("VDI.list_changed_blocks", changes(first, vdi)))
        .isEqualTo(bits(0x60, 0x40));
    mux.destroyVdi(sr, second);
    restart2();
    assertThat(smapi.call("VDI.list_changed_blocks", changes(first, vdi)))
        .isEqualTo(bits(0x60, 0x40));
    mux.repository(sr).resize(vdi, 9L << 20);
    assertThat(smapi.call("VDI.list_changed_blocks", changes(first, vdi)).toString())
        .isNotEqualTo(bits(0x60, 0x40).toString());
    smapi.call("VDI.disable_cbt", args("sr", sr, "vdi", vdi));
    SrDriverContract.assertFails(
        () -> smapi.call("VDI.list_changed_blocks", changes(first, vdi)),
        SmError.CBT_CHANGED_BLOCKS);
    assertError(() -> smapi.call("VDI.data_destroy", args("sr", sr, "vdi", vdi)), "Backend_error");
  }

  /** What lies between two that go elsewhere is counted to the later one. */
  @Test
  void notesAreTakenElsewhere() throws Exception {
    StorageRepository from = mux.repository(sr);
    assertThat(from.notedChanges(vdi, Set.of())).isEmpty();
    from.enableCbt(vdi);
    String first = mux.snapshot(sr, from.stat(vdi), Progress.NONE).vdi();
    SrDriverContract.write(from, vdi, 0, new byte[] {1});
    String second = mux.snapshot(sr, from.stat(vdi), Progress.NONE).vdi();
    SrDriverContract.write(from, vdi, 3 * 65536, new byte[] {1});
    String third = mux.snapshot(sr, from.stat(vdi), Progress.NONE).vdi();

    ChangedBlocks noted = from.notedChanges(third, Set.of(first, vdi)).orElseThrow();
    assertThat(noted.parent()).isEqualTo(first);
    assertThat(noted.blocks().stream()).containsExactly(0, 3);
    assertThat(from.notedChanges(vdi, Set.of(second)).orElseThrow().blocks().stream())
        .containsExactly(3);
    assertThat(from.notedChanges(vdi, Set.of())).contains(ChangedBlocks.none(""));
    from.disableCbt(second);
    assertThat(from.notedChanges(third, Set.of(first)))
        .as("nobody knows what the second had written")
        .contains(ChangedBlocks.none(""));

    String early = from.create(VdiInfo.request("early", 8 << 20)).vdi();
    String late = from.create(VdiInfo.request("late", 8 << 20)).vdi();
    from.layer(late, early);
    assertThat(from.takeUpChanges(early, ChangedBlocks.none(""))).isTrue();
    assertThat(from.takeUpChanges(late, noted.since(early))).isTrue();
    assertThat(from.stat(late).cbtEnabled()).isTrue();
    SrDriverContract.write(from, late, 9 * 65536, new byte[] {1});
    assertThat(smapi.call("VDI.list_changed_blocks", changes(early, late)))
        .isEqualTo(bits(0x90, 0x40));
    String raw =
        from.create(VdiInfo.request("raw", 8 << 20).withSmConfig("image-format", "raw")).vdi();
    assertThat(from.takeUpChanges(raw, noted)).isFalse();
    assertThat(from.stat(raw).cbtEnabled()).isFalse();
  }

  private void restart2() throws Exception {
    mux.close();
    restart();
  }

  private Value.Struct changes(String from, String to) {
    return args("sr", sr, "vdi_from", from, "vdi_tp", to);
  }

  /** For 8 MiB: 128 blocks. */
  private static Value bits(int first, int second) {
    byte[] bits = new byte[16];
    bits[0] = (byte) first;
    bits[1] = (byte) second;
    return Value.of(java.util.Base64.getEncoder().encodeToString(bits));
  }

  static void requireFuse() {
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(Files.exists(Path.of("/dev/fuse")), "no /dev/fuse");
    }
  }

  @Test
  void aTargetIsShownARawFile() throws Exception {
    requireFuse();
    mux.getUrl(sr, vdi);
    Path view = dir.resolve("sr").resolve(vdi + ".view");
    assertThat(Files.size(view)).isEqualTo(8L << 20);
    try (FileBackend disk = FileBackend.open(view, FileBackend.Mode.READ_WRITE)) {
      disk.write(65536, ByteBuffer.wrap(new byte[] {1, 2, 3})).get(20, TimeUnit.SECONDS);
      disk.zero(1 << 20, 1 << 20).get(20, TimeUnit.SECONDS);
      disk.flush().get(20, TimeUnit.SECONDS);
    }
    assertThat(mux.repository(sr).stat(vdi).physicalUtilisation()).isLessThan(1 << 20);
    assertInUse(() -> mux.resize(sr, vdi, 16L << 20));

    mux.close();
    restart();

    assertThat(Files.size(view)).isEqualTo(8L << 20);
    assertInUse(() -> mux.copy(sr, vdi, new MemoryBackend("to", 8L << 20), Progress.NONE));
    mux.closeUrl(sr, vdi);
    assertThat(view).doesNotExist();
    assertThat(SrDriverContract.read(mux.repository(sr), vdi, 65536, 3)).containsExactly(1, 2, 3);
  }

  /** Killed, it leaves a mount without anybody behind. */
  @Test
  void aViewWhoseDaemonDiedIsCleanedUp() throws Exception {
    requireFuse();
    mux.getUrl(sr, vdi);
    Path pid = dir.resolve("sr").resolve(vdi + ".view.pid");
    ProcessHandle daemon =
        ProcessHandle.of(Long.parseLong(Files.readString(pid).strip())).orElseThrow();
    daemon.destroyForcibly();
    daemon.onExit().get(20, TimeUnit.SECONDS);
    mux.closeUrl(sr, vdi);
    assertThat(dir.resolve("sr").resolve(vdi + ".view")).doesNotExist();
    mux.destroyVdi(sr, vdi);
    vdi = mux.repository(sr).create(VdiInfo.request("disk", 1 << 20)).vdi();
  }

  @Test
  void aDomainIsToldOfTheImage() throws Exception {
    assertThat(mux.attachVdi("dp", sr, vdi, "1", false))
        .contains(new Implementation.File(dir.resolve("sr").resolve(vdi + ".qcow2").toString()));
    assertThat(smapi.call("VDI.stat", args("sr", sr, "vdi", vdi)).toString()).contains("qcow2");
    assertThat(driver.query().configuration()).containsKey("image-format");
  }
}
