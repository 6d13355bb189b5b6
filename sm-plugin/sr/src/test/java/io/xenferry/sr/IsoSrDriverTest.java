package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockBackend;
import io.xenferry.sr.iso.IsoSrDriver;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A directory of CD images: what is one, and that nothing of it is changed. */
class IsoSrDriverTest {
  private static final String SR = "b2f1b5b2-7a57-4d8a-9a80-6e1c0d6ed8a1";

  @TempDir Path dir;
  private final SrDriver driver = new IsoSrDriver();
  private StorageRepository sr;

  private static void assertFails(ThrowingCallable call, String what) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            SmapiException.class, e -> assertThat(e).hasMessageContaining(what));
  }

  private Map<String, String> config() {
    return Map.of("location", dir.toString(), "legacy_mode", "true");
  }

  @BeforeEach
  void attach() throws Exception {
    Files.writeString(dir.resolve("tools.iso"), "t".repeat(2048));
    Files.writeString(dir.resolve("Räder und 2.ISO"), "r".repeat(4096));
    Files.writeString(dir.resolve("notes.txt"), "none");
    Files.createFile(dir.resolve("empty.iso"));
    Files.writeString(dir.resolve("two\nlines.iso"), "none");
    Files.createDirectory(dir.resolve("directory.iso"));
    driver.create(SR, "isos", "", config(), 0);
    sr = driver.attach(SR, config());
  }

  private VdiInfo tools() throws Exception {
    return sr.stat("tools.iso");
  }

  @Test
  void filesOfThatNameAreCds() throws Exception {
    assertThat(sr.scan())
        .extracting(VdiInfo::vdi)
        .containsExactlyInAnyOrder("tools.iso", "Räder und 2.ISO");
    assertThat(tools().nameLabel()).isEqualTo("tools.iso");
    assertThat(tools().virtualSize()).isEqualTo(2048);
    assertThat(tools().readOnly()).isTrue();
    assertThat(driver.contentType()).contains("iso");
    try (var files = Files.list(dir)) {
      assertThat(files).as("nothing is added").hasSize(6);
    }
  }

  @Test
  void aCdIsTheSameOneEverAfter() throws Exception {
    String uuid = tools().uuid().orElseThrow();
    sr.detach();
    sr = driver.attach(SR, config());
    assertThat(tools().uuid()).contains(uuid);
    assertThat(driver.attach("another", config()).stat("tools.iso").uuid().orElseThrow())
        .isNotEqualTo(uuid);
  }

  @Test
  void whatAGuestHasStaysAndKeepsTheSr() throws Exception {
    assertThat(sr.attachVdi("tools.iso", false))
        .contains(new Implementation.File(dir.resolve("tools.iso").toString()));
    sr.activate("tools.iso", false);
    assertFails(sr::detach, "in drives");
    Files.delete(dir.resolve("tools.iso"));
    assertThat(sr.scan()).extracting(VdiInfo::vdi).contains("tools.iso");
    sr.deactivate("tools.iso");
    sr.detachVdi("tools.iso");
    assertThat(sr.scan()).extracting(VdiInfo::vdi).doesNotContain("tools.iso");
    sr.detach();
  }

  @Test
  void aCdIsOnlyRead() throws Exception {
    assertFails(() -> sr.attachVdi("tools.iso", true), "read-only");
    assertFails(() -> sr.open("tools.iso", true), "read-only");
    assertFails(() -> sr.create(VdiInfo.request("new", 1 << 20)), "VDI.create");
    assertFails(() -> sr.destroyVdi("tools.iso"), "VDI.destroy");
    assertFails(() -> sr.resize("tools.iso", 1 << 20), "VDI.resize");
    assertFails(sr::destroy, "SR.destroy");
    try (BlockBackend cd = sr.open("tools.iso", false)) {
      ByteBuffer bytes = ByteBuffer.allocate(512);
      cd.read(0, bytes).get(10, TimeUnit.SECONDS);
      assertThat(new String(bytes.array(), java.nio.charset.StandardCharsets.US_ASCII))
          .isEqualTo("t".repeat(512));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../secret.iso",
        "/etc/passwd",
        "notes.txt",
        "none.iso",
        "directory.iso",
        "",
        ".",
        "a/b.iso"
      })
  void whatIsNoCdOfTheDirectoryIsNotThere(String location) throws Exception {
    Files.writeString(dir.resolveSibling("secret.iso"), "secret");
    assertFails(() -> sr.stat(location), "Vdi_does_not_exist");
    assertFails(() -> sr.attachVdi(location, false), "Vdi_does_not_exist");
    assertFails(() -> sr.path(location), "Vdi_does_not_exist");
  }

  @Test
  void aPlaceThatIsNoneIsRefused() {
    for (String place : List.of("relative", "nfs.example:/isos", dir.resolve("none").toString())) {
      assertFails(
          () -> driver.create(SR, "", "", Map.of("location", place), 0), "SR_BACKEND_FAILURE_226");
    }
    assertFails(() -> driver.create(SR, "", "", Map.of(), 0), "SR_BACKEND_FAILURE_220");
  }
}
