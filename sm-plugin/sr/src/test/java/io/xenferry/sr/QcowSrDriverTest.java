package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.ExternalTools;
import io.xenferry.sr.file.FileSrDriver;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The SR type file with qcow2 images: what every driver does, and chains. */
class QcowSrDriverTest extends SrDriverContract {
  private static final int CLUSTER = 64 << 10;

  @TempDir Path dir;
  private final SrDriver driver = new FileSrDriver();

  @BeforeAll
  static void tools() {
    ExternalTools.require("qemu-img");
    ExternalTools.require("qemu-nbd");
  }

  @Override
  protected SrDriver driver() {
    return driver;
  }

  @Override
  protected Map<String, String> deviceConfig() {
    return Map.of("location", dir.resolve("sr").toString(), "image-format", "qcow2");
  }

  private String disk(long size) throws Exception {
    return sr.create(VdiInfo.request("disk", size)).vdi();
  }

  private String snapshot(String vdi) throws Exception {
    return sr.snapshot(sr.stat(vdi), Progress.NONE).vdi();
  }

  private String cloneOf(String vdi) throws Exception {
    return sr.copyOf(sr.stat(vdi), Progress.NONE).vdi();
  }

  private void put(String vdi, long at, int value) throws Exception {
    byte[] content = new byte[CLUSTER];
    java.util.Arrays.fill(content, (byte) value);
    write(sr, vdi, at, content);
  }

  private int at(String vdi, long offset) throws Exception {
    return read(sr, vdi, offset, 1)[0];
  }

  @Test
  void guestsDisksAreTheirOwnersAlone() throws Exception {
    String disk = disk(MIB);
    put(disk, 0, 1);
    snapshot(disk);
    put(disk, 0, 2);
    cloneOf(disk);
    assertOwnersAlone(dir.resolve("sr"));
  }

  private List<String> images() throws IOException {
    try (Stream<Path> files = Files.list(dir.resolve("sr"))) {
      return files
          .map(f -> f.getFileName().toString())
          .filter(f -> f.endsWith(".qcow2") || f.endsWith(".raw"))
          .sorted()
          .toList();
    }
  }

  private void awaitImages(int count) {
    await().atMost(Duration.ofSeconds(30)).until(() -> images().size() == count);
  }

  /** Copies share instead of being made: there is nothing to cancel. */
  @Override
  @Test
  void aCancelledCopyLeavesNothing() throws Exception {
    String vdi = disk(64L * MIB);
    fill(sr, vdi, 0, 8 * MIB);
    assertThat(sr.stat(cloneOf(vdi)).physicalUtilisation()).isLessThan(MIB);
  }

  @Test
  void aFormatMayBeAskedForByDisk() throws Exception {
    VdiInfo raw =
        sr.create(VdiInfo.request("r", MIB).withSmConfig(VdiInfo.SM_CONFIG_FORMAT, "raw"));
    VdiInfo qcow = sr.create(VdiInfo.request("q", MIB));
    assertThat(images()).containsExactlyInAnyOrder(raw.vdi() + ".raw", qcow.vdi() + ".qcow2");
    assertThat(qcow.smConfig()).containsEntry("image-format", "qcow2");
    assertThat(sr.path(qcow.vdi())).contains(dir.resolve("sr").resolve(qcow.vdi() + ".qcow2"));
    assertFails(
        () -> sr.create(VdiInfo.request("x", MIB).withSmConfig("image-format", "vhd")),
        SmError.VDI_CREATE);
    Map<String, String> bad =
        Map.of("location", dir.resolve("b").toString(), "image-format", "vmdk");
    assertFails(() -> driver.create(uuid, "", "", bad, 0), SmError.SR_UNAVAILABLE);
  }

  @Test
  void aSnapshotKeepsWhatTheDiskWas() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    String first = snapshot(vdi);
    put(vdi, 0, 2);
    put(vdi, MIB, 2);
    String second = snapshot(vdi);
    put(vdi, 2L * MIB, 3);

    reattach();

    assertThat(List.of(at(first, 0), at(first, MIB))).containsExactly(1, 0);
    assertThat(List.of(at(second, 0), at(second, MIB), at(second, 2L * MIB)))
        .containsExactly(2, 2, 0);
    assertThat(List.of(at(vdi, 0), at(vdi, MIB), at(vdi, 2L * MIB))).containsExactly(2, 2, 3);
    assertThat(sr.stat(first).snapshotOf()).isEqualTo(vdi);
    assertThat(sr.stat(first).isASnapshot()).isTrue();
    assertThat(images()).hasSize(3);
    // Others rest on a snapshot: it never changes.
    assertFails(() -> put(first, 0, 9), SmError.VDI_UNAVAILABLE);
    assertFails(() -> sr.attachVdi(first, true), SmError.VDI_UNAVAILABLE);
    assertFails(() -> sr.resize(first, 16L * MIB), SmError.VDI_SIZE);
    assertThat(sr.resize(vdi, 16L * MIB)).isEqualTo(16L * MIB);
    assertThat(sr.stat(first).virtualSize()).isEqualTo(8L * MIB);
    assertThat(at(vdi, 9L * MIB)).isZero();
  }

  @Test
  void aCloneOfASnapshotAndOfADiskAreDisksOfTheirOwn() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    String snapshot = snapshot(vdi);
    put(vdi, 0, 2);
    String ofSnapshot = cloneOf(snapshot);
    String ofDisk = cloneOf(vdi);
    put(ofSnapshot, MIB, 5);
    put(ofDisk, MIB, 6);
    put(vdi, MIB, 7);
    assertThat(List.of(at(ofSnapshot, 0), at(ofSnapshot, MIB))).containsExactly(1, 5);
    assertThat(List.of(at(ofDisk, 0), at(ofDisk, MIB))).containsExactly(2, 6);
    assertThat(List.of(at(vdi, 0), at(vdi, MIB))).containsExactly(2, 7);
    assertThat(at(snapshot, MIB)).isZero();
    assertThat(sr.stat(ofSnapshot).isASnapshot()).isFalse();
    sr.destroyVdi(snapshot);
    sr.destroyVdi(vdi);
    assertThat(List.of(at(ofSnapshot, 0), at(ofSnapshot, MIB))).containsExactly(1, 5);
    assertThat(List.of(at(ofDisk, 0), at(ofDisk, MIB))).containsExactly(2, 6);
    sr.destroyVdi(ofSnapshot);
    sr.destroyVdi(ofDisk);
    assertThat(images()).isEmpty();
  }

  @Test
  void aDiskGoesBackToItsSnapshot() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    String snapshot = snapshot(vdi);
    String content = sr.stat(snapshot).contentId();
    put(vdi, 0, 2);
    sr.resize(vdi, 16L * MIB);
    sr.attachVdi(vdi, true);
    assertFails(() -> sr.revert(vdi, snapshot), SmError.VDI_IN_USE);
    sr.detachVdi(vdi);

    sr.revert(vdi, snapshot);

    assertThat(at(vdi, 0)).isEqualTo(1);
    assertThat(sr.stat(vdi).virtualSize()).isEqualTo(8L * MIB);
    assertThat(sr.stat(vdi).contentId()).isEqualTo(content);
    put(vdi, 0, 3);
    assertThat(at(snapshot, 0)).isEqualTo(1);
    assertThat(images()).hasSize(2);
  }

  @Test
  void whatIsNobodysIsMergedAway() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    put(vdi, MIB, 1);
    String first = snapshot(vdi);
    put(vdi, 0, 2);
    sr.resize(vdi, 16L * MIB);
    String second = snapshot(vdi);
    put(vdi, 9L * MIB, 3);
    assertThat(images()).hasSize(3);

    sr.destroyVdi(first);
    awaitImages(2);
    assertThat(List.of(at(second, 0), at(second, MIB), at(second, 9L * MIB)))
        .containsExactly(2, 1, 0);
    sr.destroyVdi(second);
    awaitImages(1);

    assertThat(List.of(at(vdi, 0), at(vdi, MIB), at(vdi, 9L * MIB))).containsExactly(2, 1, 3);
    assertThat(sr.stat(vdi).virtualSize()).isEqualTo(16L * MIB);
    reattach();
    assertThat(at(vdi, 9L * MIB)).isEqualTo(3);
    sr.destroyVdi(vdi);
    assertThat(images()).isEmpty();
  }

  @Test
  void whatIsInUseIsNotMergedUntilItIsGivenBack() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    String snapshot = snapshot(vdi);
    sr.attachVdi(vdi, true);
    sr.activate(vdi, true);
    sr.destroyVdi(snapshot);
    try (BlockBackend disk = sr.open(sr.create(VdiInfo.request("o", MIB)).vdi(), false)) {
      assertThat(disk.size()).isEqualTo(MIB);
    }
    assertThat(images()).hasSize(3);
    sr.deactivate(vdi);
    sr.detachVdi(vdi);
    awaitImages(2);
    assertThat(at(vdi, 0)).isEqualTo(1);
  }

  @Test
  void aGuestsDiskIsSnapshotWhileItWrites() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    sr.attachVdi(vdi, true);
    sr.activate(vdi, true);
    assertFails(() -> snapshot(vdi), SmError.VDI_IN_USE);

    StorageRepository.LiveSnapshot refused = sr.beginSnapshot(sr.stat(vdi));
    assertFails(() -> sr.beginSnapshot(sr.stat(vdi)), SmError.VDI_IN_USE);
    refused.abandon();
    assertThat(images()).hasSize(1);
    StorageRepository.LiveSnapshot begun = sr.beginSnapshot(sr.stat(vdi));
    assertThat(begun.file()).exists();
    VdiInfo snapshot = begun.commit();

    assertThat(sr.path(vdi)).contains(begun.file());
    assertThat(snapshot.snapshotOf()).isEqualTo(vdi);
    assertThat(snapshot.contentId()).isNotEqualTo(sr.stat(vdi).contentId());
    sr.deactivate(vdi);
    sr.detachVdi(vdi);
    put(vdi, 0, 2);
    assertThat(at(snapshot.vdi(), 0)).isEqualTo(1);
  }

  /** The guest may have gone on with the new image, and nobody is left to tell. */
  @Test
  void aServerThatDiedBetweenTheStepsOfASnapshotLosesNoWrite() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    StorageRepository.LiveSnapshot begun = sr.beginSnapshot(sr.stat(vdi));
    sr.release();
    new ProcessBuilder("qemu-io", "-f", "qcow2", "-c", "write -P 2 0 64k", begun.file().toString())
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .start()
        .waitFor();

    sr = driver.attach(uuid, deviceConfig());

    assertThat(sr.scan()).hasSize(1);
    assertThat(at(vdi, 0)).isEqualTo(2);
    awaitImages(1);
    assertThat(at(vdi, 0)).isEqualTo(2);
  }

  /** The guest is still on the old image: what was made for it goes. */
  @Test
  void aGuestThatStayedOnItsImageKeepsIt() throws Exception {
    String vdi = disk(8L * MIB);
    put(vdi, 0, 1);
    Path image = sr.path(vdi).orElseThrow();
    StorageRepository.LiveSnapshot begun = sr.beginSnapshot(sr.stat(vdi));
    sr.release();
    Path socket = Files.createTempDirectory("xf").resolve("s");
    Process guest =
        new ProcessBuilder(
                "qemu-nbd", "-t", "-f", "qcow2", "-k", socket.toString(), image.toString())
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      await().atMost(Duration.ofSeconds(20)).until(() -> Files.exists(socket));
      sr = driver.attach(uuid, deviceConfig());
      assertThat(sr.path(vdi)).contains(image);
      assertThat(begun.file()).doesNotExist();
    } finally {
      guest.destroy();
      guest.waitFor(20, TimeUnit.SECONDS);
      Files.deleteIfExists(socket);
      Files.delete(socket.getParent());
    }
    assertThat(at(vdi, 0)).isEqualTo(1);
  }

  /** An image that claims to rest on a file of somebody else must not lead there. */
  @Test
  void anImageThatLeadsElsewhereIsNotTaken() throws Exception {
    Path secret = Files.writeString(dir.resolve("secret"), "x".repeat(4096));
    String foreign = UUID.randomUUID().toString();
    Path image = dir.resolve("sr").resolve(foreign + ".qcow2");
    new ProcessBuilder(
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            secret.toString(),
            "-F",
            "raw",
            image.toString())
        .start()
        .waitFor();
    assertThat(image).exists();
    assertThatThrownBy(() -> sr.introduce(foreign, Map.of(), foreign))
        .isInstanceOf(SmapiException.class);
    assertThat(sr.scan()).isEmpty();
    Files.delete(image);
  }

  @Test
  void contentsGoThroughTheSameBackendAsRawOnes() throws Exception {
    String vdi = disk(4L * MIB);
    try (BlockBackend disk = sr.open(vdi, true)) {
      disk.write(0, ByteBuffer.wrap(new byte[] {1, 2, 3})).get(20, TimeUnit.SECONDS);
      disk.zero(MIB, MIB).get(20, TimeUnit.SECONDS);
      disk.flush().get(20, TimeUnit.SECONDS);
      assertThat(disk.size()).isEqualTo(4L * MIB);
      assertFails(() -> sr.destroyVdi(vdi), SmError.VDI_IN_USE);
    }
    assertThat(read(sr, vdi, 0, 3)).containsExactly(1, 2, 3);
  }
}
