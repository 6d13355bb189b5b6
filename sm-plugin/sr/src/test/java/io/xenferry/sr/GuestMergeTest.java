package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import io.xenferry.sr.StorageRepository.GuestMerge;
import io.xenferry.sr.file.FileSrDriver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Merges of images that a guest has, as the SR sees them; what the guest's hypervisor does is done
 * here by qemu-img.
 */
class GuestMergeTest {
  private static final long SIZE = 8 << 20;

  @TempDir Path dir;
  private final SrDriver driver = new FileSrDriver();
  private final String uuid = UUID.randomUUID().toString();
  private StorageRepository sr;
  private Map<String, String> config;

  @BeforeEach
  void attach() throws Exception {
    ExternalTools.require("qemu-img", "qemu-io");
    config =
        driver.create(
            uuid,
            "",
            "",
            Map.of("location", dir.resolve("sr").toString(), "image-format", "qcow2"),
            0);
    sr = driver.attach(uuid, config);
  }

  @AfterEach
  void release() {
    sr.release();
  }

  private void nextServer() throws Exception {
    sr.release();
    sr = driver.attach(uuid, config);
  }

  private List<String> images() throws IOException {
    try (Stream<Path> files = Files.list(dir.resolve("sr"))) {
      return files.map(f -> f.getFileName().toString()).filter(f -> f.endsWith(".qcow2")).toList();
    }
  }

  private void put(String vdi, long at, int value) throws Exception {
    ExternalTools.run(
        "qemu-io",
        "-f",
        "qcow2",
        "-c",
        "write -P " + value + " " + at + " 64k",
        sr.path(vdi).orElseThrow().toString());
  }

  private void assertHas(String vdi, Integer... values) throws Exception {
    List<String> command = new ArrayList<>(List.of("qemu-io", "-r", "-f", "qcow2"));
    for (int i = 0; i < values.length; i++) {
      command.addAll(List.of("-c", "read -P " + values[i] + " " + (i << 20) + " 64k"));
    }
    command.add(sr.path(vdi).orElseThrow().toString());
    assertThat(ExternalTools.run(command.toArray(String[]::new)))
        .doesNotContain("verification failed");
    ExternalTools.run("qemu-img", "check", "-q", sr.path(vdi).orElseThrow().toString());
  }

  private String snapshot(String vdi) throws Exception {
    return sr.snapshot(sr.stat(vdi), Progress.NONE).vdi();
  }

  /** A disk on three images, the lowest of which is nobody's, and a guest has it. */
  private String[] guest() throws Exception {
    String vdi = sr.create(VdiInfo.request("disk", SIZE)).vdi();
    put(vdi, 0, 1);
    put(vdi, 1 << 20, 1);
    put(vdi, 2 << 20, 1);
    String first = snapshot(vdi);
    put(vdi, 1 << 20, 2);
    put(vdi, 2 << 20, 2);
    String second = snapshot(vdi);
    put(vdi, 2 << 20, 3);
    runs(vdi);
    sr.destroyVdi(first);
    return new String[] {vdi, second};
  }

  private void runs(String vdi) throws Exception {
    sr.attachVdi(vdi, true);
    sr.activate(vdi, true);
  }

  private void ends(String vdi) throws Exception {
    sr.deactivate(vdi);
    sr.detachVdi(vdi);
  }

  private static void write(GuestMerge merge) throws Exception {
    ExternalTools.run("qemu-img", "commit", "-q", "-d", "-f", "qcow2", merge.upper().toString());
  }

  /** What QEMU says in the header of the image above when it lets go. */
  private static void letGo(GuestMerge merge, Path above) throws Exception {
    ExternalTools.run(
        "qemu-img",
        "rebase",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        merge.lower().getFileName().toString(),
        "-F",
        "qcow2",
        above.toString());
  }

  @Test
  void aSnapshotsImageBecomesOneWithTheOneBelow() throws Exception {
    AtomicInteger told = new AtomicInteger();
    sr.onMergeable(told::incrementAndGet);
    String[] disk = guest();
    assertThat(told).hasPositiveValue();
    Path top = sr.path(disk[0]).orElseThrow();
    GuestMerge merge = sr.beginGuestMerge(disk[0]).orElseThrow();
    assertThat(merge.isOwn()).isFalse();
    assertThat(merge.upper()).isEqualTo(sr.path(disk[1]).orElseThrow());
    assertThat(sr.beginGuestMerge(disk[0])).as("one at a time").isEmpty();
    write(merge);
    merge.decide();
    letGo(merge, top);
    merge.finish();

    assertThat(images()).hasSize(2);
    assertThat(sr.path(disk[1])).contains(merge.lower());
    assertThat(sr.stat(disk[1]).smConfig()).doesNotContainKey(VdiInfo.SM_CONFIG_PARENT);
    assertThat(sr.guestMerges()).isEmpty();
    assertThat(sr.beginGuestMerge(disk[0])).as("the snapshot is somebody's").isEmpty();
    ends(disk[0]);
    assertHas(disk[0], 1, 2, 3);
    assertHas(disk[1], 1, 2, 2);
  }

  @Test
  void theImageThatIsWrittenComesLast() throws Exception {
    String[] disk = guest();
    sr.destroyVdi(disk[1]);
    Path top = sr.path(disk[0]).orElseThrow();
    GuestMerge lower = sr.beginGuestMerge(disk[0]).orElseThrow();
    assertThat(lower.isOwn()).isFalse();
    write(lower);
    lower.decide();
    letGo(lower, top);
    lower.finish();
    GuestMerge own = sr.beginGuestMerge(disk[0]).orElseThrow();
    assertThat(own.isOwn()).isTrue();
    assertThat(own.upper()).isEqualTo(top);
    write(own);
    own.decide();
    own.finish();

    assertThat(images()).hasSize(1);
    assertThat(sr.path(disk[0])).contains(own.lower());
    assertThat(sr.beginGuestMerge(disk[0])).isEmpty();
    ends(disk[0]);
    assertHas(disk[0], 1, 2, 3);
  }

  @Test
  void whatOthersShowOrTheNextSnapshotNeedsIsLeftAlone() throws Exception {
    String[] disk = guest();
    String other = sr.copyOf(sr.stat(disk[1]), Progress.NONE).vdi();
    runs(other);
    assertThat(sr.beginGuestMerge(disk[0])).as("another guest has it").isEmpty();
    ends(other);
    GuestMerge merge = sr.beginGuestMerge(disk[0]).orElseThrow();
    merge.abandon();
    sr.destroyVdi(other);
    sr.enableCbt(disk[0]);
    sr.destroyVdi(disk[1]);
    GuestMerge lower = sr.beginGuestMerge(disk[0]).orElseThrow();
    Path top = sr.path(disk[0]).orElseThrow();
    write(lower);
    lower.decide();
    letGo(lower, top);
    lower.finish();
    assertThat(sr.beginGuestMerge(disk[0])).as("what has changed since is in it").isEmpty();
    ends(disk[0]);
    assertHas(disk[0], 1, 2, 3);
  }

  @Test
  void whoeverWantsOneOfTheDisksWaitsForItsEnd() throws Exception {
    String[] disk = guest();
    GuestMerge merge = sr.beginGuestMerge(disk[0]).orElseThrow();
    assertThat(merge.isCancelled()).isFalse();
    CompletableFuture<VdiInfo> snapshot =
        CompletableFuture.supplyAsync(() -> {
          try {
            return sr.beginSnapshot(sr.stat(disk[0])).commit();
          } catch (SmapiException e) {
            throw new IllegalStateException(e);
          }
        });
    await().atMost(Duration.ofSeconds(20)).until(merge::isCancelled);
    assertThat(snapshot).isNotDone();
    merge.abandon();
    assertThat(snapshot.get().snapshotOf()).isEqualTo(disk[0]);
    assertThat(sr.beginGuestMerge(disk[0])).isPresent();
  }

  @Test
  void aServerThatDiesBeforeItIsDecidedHasChangedNothing() throws Exception {
    String[] disk = guest();
    sr.destroyVdi(disk[1]);
    GuestMerge merge = sr.beginGuestMerge(disk[0]).orElseThrow();
    write(merge);
    nextServer();
    assertThat(sr.guestMerges()).as("no guest is left to be asked").isEmpty();
    await().atMost(Duration.ofSeconds(30)).until(() -> images().size() == 1);
    assertHas(disk[0], 1, 2, 3);
  }

  @Test
  void aGuestThatOutlivesAServerKeepsItsDisk() throws Exception {
    String[] disk = guest();
    Path top = sr.path(disk[0]).orElseThrow();
    Process guest = new ProcessBuilder("qemu-io", "-f", "qcow2", top.toString()).start();
    try {
      assertThat(guest.getInputStream().read()).as("it asks what to do").isPositive();
      Path upper = sr.beginGuestMerge(disk[0]).orElseThrow().upper();
      nextServer();
      sr.resumeVdi(disk[0], true);
      sr.activate(disk[0], true);
      GuestMerge left = sr.guestMerges().getFirst();
      assertThat(left.upper()).isEqualTo(upper);
      assertThat(left.isCancelled()).isFalse();
      left.abandon();
      assertThat(sr.beginGuestMerge(disk[0])).isPresent();
    } finally {
      guest.getOutputStream().close();
      guest.waitFor();
    }
  }

  /** The guest may have let go or not, and may be gone. */
  @Test
  void aServerThatDiesOnceItIsDecidedKeepsTheLowerImage() throws Exception {
    for (boolean letGo : new boolean[] {false, true}) {
      String[] disk = guest();
      Path top = sr.path(disk[0]).orElseThrow();
      GuestMerge merge = sr.beginGuestMerge(disk[0]).orElseThrow();
      write(merge);
      merge.decide();
      if (letGo) {
        letGo(merge, top);
      }
      nextServer();
      assertThat(merge.upper()).doesNotExist();
      assertThat(sr.path(disk[1])).contains(merge.lower());
      assertHas(disk[0], 1, 2, 3);
      assertHas(disk[1], 1, 2, 2);
      sr.destroyVdi(disk[0]);
      sr.destroyVdi(disk[1]);
    }
    assertThat(images()).isEmpty();
  }
}
