package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.sr.file.FileSrDriver;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileSrDriverTest extends SrDriverContract {
  @TempDir Path dir;
  private final SrDriver driver = new FileSrDriver();

  @Override
  protected SrDriver driver() {
    return driver;
  }

  @Override
  protected Map<String, String> deviceConfig() {
    return Map.of("location", dir.resolve("sr").toString());
  }

  private Path file(String name) {
    return dir.resolve("sr").resolve(name);
  }

  @Test
  void whatACrashLeftHalfMadeIsRemoved() throws Exception {
    String kept = sr.create(VdiInfo.request("kept", MIB)).vdi();
    String creating = sr.create(VdiInfo.request("creating", MIB)).vdi();
    String destroying = sr.create(VdiInfo.request("destroying", MIB)).vdi();
    String onlyRecord = UUID.randomUUID().toString();
    sr.detach();
    AtomicFile.write(file(creating + ".vdi"), Map.of("state", "creating"));
    AtomicFile.write(file(destroying + ".vdi"), Map.of("state", "destroying"));
    Files.delete(file(destroying + ".raw"));
    AtomicFile.write(file(onlyRecord + ".vdi"), Map.of("state", "creating"));
    Files.writeString(file("torn.vdi.new"), "uui");

    sr = driver.attach(uuid, deviceConfig());

    assertThat(sr.scan()).extracting(VdiInfo::vdi).containsExactly(kept);
    try (var files = Files.list(dir.resolve("sr"))) {
      assertThat(files.map(f -> f.getFileName().toString()))
          .containsExactlyInAnyOrder(kept + ".raw", kept + ".vdi", "sr.meta", ".lock");
    }
  }

  @Test
  void guestsDisksAreTheirOwnersAlone() throws Exception {
    VdiInfo disk = sr.create(VdiInfo.request("disk", MIB));
    sr.snapshot(disk, Progress.NONE);
    assertOwnersAlone(dir.resolve("sr"));
  }

  @Test
  void filesOfOthersAreLeftAloneAndMayBeIntroduced() throws Exception {
    String foreign = UUID.randomUUID().toString();
    Files.write(file(foreign + ".raw"), new byte[MIB]);
    assertThat(sr.scan()).isEmpty();
    assertMissing(() -> sr.stat(foreign));

    VdiInfo introduced = sr.introduce(foreign, Map.of("a", "b"), foreign);

    assertThat(introduced.virtualSize()).isEqualTo(MIB);
    assertThat(sr.scan()).containsExactly(introduced);
  }

  @Test
  void refusesPlacesThatAreNone() {
    assertFails(() -> driver.attach(uuid, Map.of()), SmError.CONFIG_LOCATION_MISSING);
    assertFails(() -> driver.attach(uuid, Map.of("location", "rel")), SmError.SR_UNAVAILABLE);
    assertFails(
        () -> driver.attach(uuid, Map.of("location", "/proc/none")), SmError.SR_UNAVAILABLE);
    assertFails(
        () -> driver.create(uuid, "", "", Map.of("location", "/proc/none"), 0),
        SmError.FILE_SR_CREATE);
  }

  @Test
  void aMistypedPlaceIsRefusedAndNothingIsMade() throws Exception {
    Path parent = dir.resolve("mnt");
    assertFails(
        () -> driver.create(uuid, "", "", Map.of("location", parent + "/missing/sr"), 0),
        SmError.FILE_SR_CREATE);
    assertThat(parent).doesNotExist();
    Path file = Files.writeString(dir.resolve("file"), "precious");
    assertFails(
        () -> driver.create(uuid, "", "", Map.of("location", file.toString()), 0),
        SmError.FILE_SR_CREATE);
    assertThat(file).hasContent("precious");
    assertFails(
        () -> driver.create(uuid, "", "", Map.of("location", file + "/sr"), 0),
        SmError.FILE_SR_CREATE);
    Path link = Files.createSymbolicLink(dir.resolve("link"), dir.resolve("nowhere"));
    assertFails(
        () -> driver.create(uuid, "", "", Map.of("location", link.toString()), 0),
        SmError.FILE_SR_CREATE);
    assertThat(dir.resolve("nowhere")).doesNotExist();
    Path home = Files.createDirectory(dir.resolve("home"));
    Files.writeString(home.resolve("letter"), "dear");
    assertFails(
        () -> driver.create(uuid, "", "", Map.of("location", home.toString()), 0),
        SmError.SR_EXISTS);
    assertThat(home).isDirectoryContaining(f -> f.endsWith("letter"));
    assertThat(Files.list(home).count()).isEqualTo(1);
    assertFails(() -> driver.create(uuid, "", "", deviceConfig(), 0), SmError.SR_EXISTS);
  }

  @Test
  void anEmptyDirectoryWillDo() throws Exception {
    Path mounted = Files.createDirectory(dir.resolve("mounted"));
    Files.createDirectory(mounted.resolve("lost+found"));
    Map<String, String> config = Map.of("location", mounted.toString());
    String other = UUID.randomUUID().toString();
    driver.create(other, "", "", config, 0);
    driver.attach(other, config).detach();
  }

  @Test
  void probeTellsWhatIsThere() throws Exception {
    assertThat(driver.probe(deviceConfig(), Map.of()).getFirst().sr().orElseThrow().uuid())
        .isEqualTo(uuid);
    assertThat(
            driver
                .probe(Map.of("location", dir.resolve("empty").toString()), Map.of())
                .getFirst()
                .sr())
        .isEmpty();
  }
}
