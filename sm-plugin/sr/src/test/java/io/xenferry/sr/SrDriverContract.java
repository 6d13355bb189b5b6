package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockBackend;
import io.xenferry.model.Value;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What every SR driver must do. */
public abstract class SrDriverContract {
  protected static final int MIB = 1 << 20;
  protected final String uuid = UUID.randomUUID().toString();
  protected StorageRepository sr;

  protected abstract SrDriver driver();

  protected abstract Map<String, String> deviceConfig();

  @BeforeEach
  void attach() throws Exception {
    driver().create(uuid, "an SR", "of a test", deviceConfig(), 0);
    sr = driver().attach(uuid, deviceConfig());
  }

  @AfterEach
  void detach() throws Exception {
    sr.detach();
  }

  protected void reattach() throws Exception {
    sr.detach();
    sr = driver().attach(uuid, deviceConfig());
  }

  protected static void assertFails(ThrowingCallable call, SmError error) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            SmapiException.class,
            e ->
                assertThat(e.args())
                    .as(e.toString())
                    .startsWith(Value.of("SR_BACKEND_FAILURE_" + error.number())));
  }

  protected static void assertMissing(ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            SmapiException.class, e -> assertThat(e.error()).isEqualTo("Vdi_does_not_exist"));
  }

  protected static byte[] fill(StorageRepository sr, String vdi, long at, int length)
      throws Exception {
    byte[] content = new byte[length];
    new Random(length).nextBytes(content);
    write(sr, vdi, at, content);
    return content;
  }

  protected static void write(StorageRepository sr, String vdi, long at, byte[] content)
      throws Exception {
    try (BlockBackend disk = sr.open(vdi, true)) {
      disk.write(at, ByteBuffer.wrap(content)).get(20, TimeUnit.SECONDS);
      disk.flush().get(20, TimeUnit.SECONDS);
    }
  }

  protected static byte[] read(StorageRepository sr, String vdi, long at, int length)
      throws Exception {
    try (BlockBackend disk = sr.open(vdi, false)) {
      ByteBuffer buffer = ByteBuffer.allocate(length);
      disk.read(at, buffer).get(20, TimeUnit.SECONDS);
      return buffer.array();
    }
  }

  @Test
  void describesItself() throws Exception {
    assertThat(driver().query().driver()).isEqualTo(driver().type());
    assertThat(driver().query().features())
        .contains("VDI_CREATE", "VDI_DELETE", "VDI_RESIZE", "VDI_MIRROR", "VDI_MIRROR_IN");
    SrInfo info = sr.stat();
    assertThat(info.nameLabel()).isEqualTo("an SR");
    assertThat(info.freeSpace()).isPositive().isLessThanOrEqualTo(info.totalSpace());
    assertThat(info.health()).isEqualTo(SrInfo.Health.HEALTHY);
  }

  /** Whatever is made for the SR in the file system, by this process or another. */
  protected static void assertOwnersAlone(Path directory) throws Exception {
    try (Stream<Path> files = Files.walk(directory)) {
      assertThat(files)
          .hasSizeGreaterThan(1)
          .allSatisfy(f ->
              assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(f)))
                  .endsWith("------"));
    }
  }

  @Test
  void aNewDiskIsThinZeroAndRemembered() throws Exception {
    VdiInfo wanted =
        VdiInfo.request("disk = 0 #ü\n", 10L * MIB + 1)
            .withSmConfig(VdiInfo.SM_CONFIG_MIGRATION, "m1");
    VdiInfo made = sr.create(wanted);

    assertThat(made.virtualSize()).isEqualTo(10L * MIB + 512);
    assertThat(made.physicalUtilisation()).isLessThan(MIB);
    assertThat(made.uuid()).contains(made.vdi());
    assertThat(made.migration()).contains("m1");
    assertThat(read(sr, made.vdi(), 0, MIB)).containsOnly(0);
    byte[] content = fill(sr, made.vdi(), 5L * MIB, 4096);

    reattach();

    assertThat(sr.scan()).hasSize(1);
    VdiInfo found = sr.stat(made.vdi());
    assertThat(found.nameLabel()).isEqualTo("disk = 0 #ü\n");
    assertThat(found.smConfig()).isEqualTo(made.smConfig());
    assertThat(found.physicalUtilisation()).isBetween(4096L, (long) MIB);
    assertThat(read(sr, made.vdi(), 5L * MIB, 4096)).isEqualTo(content);
  }

  @Test
  void keepsUuidsAndRefusesBadOnes() throws Exception {
    String chosen = UUID.randomUUID().toString();
    assertThat(sr.create(VdiInfo.request("a", MIB).withUuid(chosen)).vdi()).isEqualTo(chosen);
    assertFails(() -> sr.create(VdiInfo.request("b", MIB).withUuid(chosen)), SmError.VDI_EXISTS);
    for (String bad : List.of("../../etc/passwd", "", "x", chosen.toUpperCase() + "/")) {
      assertFails(() -> sr.create(VdiInfo.request("c", MIB).withUuid(bad)), SmError.VDI_CREATE);
      assertMissing(() -> sr.stat(bad));
      assertMissing(() -> sr.destroyVdi(bad));
    }
    assertFails(() -> sr.create(VdiInfo.request("d", 0)), SmError.VDI_SIZE);
    assertFails(() -> sr.create(VdiInfo.request("d", Long.MAX_VALUE)), SmError.VDI_SIZE);
    assertThat(sr.scan()).hasSize(1);
  }

  @Test
  void destroyedDisksAreGone() throws Exception {
    String vdi = sr.create(VdiInfo.request("a", MIB)).vdi();
    assertFails(() -> sr.destroy(), SmError.SR_NOT_EMPTY);
    sr.activate(vdi, true);
    assertFails(() -> sr.destroyVdi(vdi), SmError.VDI_IN_USE);
    sr.deactivate(vdi);
    sr.destroyVdi(vdi);
    assertMissing(() -> sr.stat(vdi));
    assertMissing(() -> sr.open(vdi, false));
    reattach();
    assertThat(sr.scan()).isEmpty();
  }

  @Test
  void growsDisksAndNeverShrinksThem() throws Exception {
    String vdi = sr.create(VdiInfo.request("a", MIB)).vdi();
    byte[] content = fill(sr, vdi, 0, 4096);
    assertThat(sr.resize(vdi, 3L * MIB)).isEqualTo(3L * MIB);
    assertThat(read(sr, vdi, 0, 4096)).isEqualTo(content);
    assertThat(read(sr, vdi, 2L * MIB, MIB)).containsOnly(0);
    assertFails(() -> sr.resize(vdi, MIB), SmError.VDI_SIZE);
    sr.activate(vdi, false);
    assertFails(() -> sr.resize(vdi, 4L * MIB), SmError.VDI_IN_USE);
    sr.deactivate(vdi);
  }

  @Test
  void snapshotsAndClonesAreCopiesOfQuietDisks() throws Exception {
    VdiInfo disk = sr.create(VdiInfo.request("a", 64L * MIB));
    byte[] content = fill(sr, disk.vdi(), 33L * MIB, 3 * MIB);
    VdiInfo wanted = disk.edit().nameLabel("copy").done();

    VdiInfo snapshot = sr.snapshot(wanted, Progress.NONE);
    VdiInfo clone = sr.copyOf(wanted, Progress.NONE);

    assertThat(snapshot.isASnapshot()).isTrue();
    assertThat(snapshot.snapshotOf()).isEqualTo(disk.vdi());
    assertThat(clone.isASnapshot()).isFalse();
    for (VdiInfo copy : List.of(snapshot, clone)) {
      assertThat(copy.nameLabel()).isEqualTo("copy");
      assertThat(copy.virtualSize()).isEqualTo(disk.virtualSize());
      assertThat(copy.physicalUtilisation()).isLessThan(8L * MIB);
      assertThat(copy.contentId()).isEqualTo(disk.contentId());
      assertThat(read(sr, copy.vdi(), 33L * MIB, 3 * MIB)).isEqualTo(content);
    }
    assertThat(sr.similarContent(disk.vdi()))
        .extracting(VdiInfo::vdi)
        .containsExactlyInAnyOrder(snapshot.vdi(), clone.vdi());
    sr.activate(disk.vdi(), true);
    assertFails(() -> sr.snapshot(wanted, Progress.NONE), SmError.VDI_IN_USE);
    sr.deactivate(disk.vdi());
    assertThat(sr.stat(disk.vdi()).contentId()).isNotEqualTo(clone.contentId());
    assertThat(sr.similarContent(disk.vdi())).isEmpty();
  }

  @Test
  void aCancelledCopyLeavesNothing() throws Exception {
    VdiInfo disk = sr.create(VdiInfo.request("a", 64L * MIB));
    fill(sr, disk.vdi(), 0, 8 * MIB);
    Progress soonUnwanted =
        new Progress() {
          private int reports;

          @Override
          public void report(double fraction) {
            reports++;
          }

          @Override
          public boolean isCancelled() {
            return reports > 2;
          }
        };
    assertThatThrownBy(() -> sr.copyOf(disk, soonUnwanted))
        .isInstanceOfSatisfying(
            SmapiException.class, e -> assertThat(e.error()).isEqualTo("Cancelled"));
    assertThat(sr.scan()).hasSize(1);
    sr.destroyVdi(disk.vdi());
  }

  @Test
  void recordsAreChangedDurably() throws Exception {
    String vdi = sr.create(VdiInfo.request("a", MIB)).vdi();
    sr.update(vdi, v -> v.edit().nameLabel("b").nameDescription("c").contentId("d").done());
    sr.update(vdi, v -> v.withSmConfig("k", "v").withSmConfig("l", ""));
    sr.update(vdi, v -> v.withoutSmConfig("k"));
    sr.setNameLabel("other");
    reattach();
    VdiInfo info = sr.stat(vdi);
    assertThat(info.nameLabel()).isEqualTo("b");
    assertThat(info.nameDescription()).isEqualTo("c");
    assertThat(info.contentId()).isEqualTo("d");
    assertThat(info.smConfig()).containsEntry("l", "").doesNotContainKey("k");
    assertThat(sr.stat().nameLabel()).isEqualTo("other");
    assertThat(sr.stat().nameDescription()).isEqualTo("of a test");
  }

  @Test
  void isAttachedByOneOnly() {
    assertFails(() -> driver().attach(uuid, deviceConfig()), SmError.SR_IN_USE);
    assertFails(() -> driver().create(uuid, "", "", deviceConfig(), 0), SmError.SR_EXISTS);
    String other = UUID.randomUUID().toString();
    assertFails(() -> driver().attach(other, deviceConfig()), SmError.SR_UNAVAILABLE);
  }
}
