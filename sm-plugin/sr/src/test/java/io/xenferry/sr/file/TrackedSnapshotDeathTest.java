package io.xenferry.sr.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.ExternalTools;
import io.xenferry.sr.Progress;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.StorageRepository;
import io.xenferry.sr.VdiInfo;
import io.xenferry.sr.VolumeRepository;
import io.xenferry.sr.VolumeStore;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A tracked disk forgets none of its changed blocks when a server dies, or cannot write, in the
 * middle of a snapshot that is taken while a guest writes; qemu-io is the guest.
 */
class TrackedSnapshotDeathTest {
  private static final int BLOCK = 64 << 10;
  private static final Set<String> WRITES =
      Set.of("putRecord", "putChanges", "deleteChanges", "deleteRecord");

  @TempDir Path dir;
  private final List<StorageRepository> attached = new ArrayList<>();
  private Path files;
  private StorageRepository sr;
  private Step beforeWrite = () -> {};

  /** The disk, and the snapshot since which its changes are known. */
  private String vdi;

  private String zero;

  private interface Step {
    void run() throws IOException;
  }

  /** Of four blocks the guest has written one since a snapshot that is gone, and one more. */
  @BeforeEach
  void prepare() throws Exception {
    ExternalTools.require("qemu-img", "qemu-io");
    files = Files.createDirectory(dir.resolve("sr"));
    sr = VolumeRepository.open("sr", watched(FileVolumes.open(files, ImageFormat.QCOW2)));
    attached.add(sr);
    vdi = sr.create(VdiInfo.request("disk", 8 << 20).withSmConfig("image-format", "qcow2")).vdi();
    sr.enableCbt(vdi);
    zero = sr.snapshot(sr.stat(vdi), Progress.NONE).vdi();
    put(path(), 0);
    String first = sr.snapshot(sr.stat(vdi), Progress.NONE).vdi();
    sr.attachVdi(vdi, true);
    sr.activate(vdi, true);
    sr.destroyVdi(first);
    put(path(), 1);
  }

  @AfterEach
  void release() {
    attached.forEach(StorageRepository::release);
  }

  private VolumeStore watched(Optional<FileVolumes> store) {
    FileVolumes real = store.orElseThrow();
    return (VolumeStore)
        Proxy.newProxyInstance(
            getClass().getClassLoader(),
            new Class<?>[] {VolumeStore.class},
            (proxy, method, arguments) -> {
              if (WRITES.contains(method.getName())) {
                beforeWrite.run();
              }
              try {
                return method.invoke(real, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  private Path path() throws SmapiException {
    return sr.path(vdi).orElseThrow();
  }

  private static void put(Path image, int block) throws Exception {
    String write = "write -P 7 " + block * BLOCK + " 64k";
    ExternalTools.run("qemu-io", "-f", "qcow2", "-c", write, image.toString());
  }

  /** The guest writes to the old image until it has the new one. */
  private StorageRepository.LiveSnapshot begin() throws Exception {
    StorageRepository.LiveSnapshot begun = sr.beginSnapshot(sr.stat(vdi));
    put(begun.below(), 2);
    put(begun.file(), 3);
    return begun;
  }

  private void keepAs(Path copy) throws IOException {
    Files.createDirectory(copy);
    try (Stream<Path> all = Files.list(files)) {
      for (Path file : all.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
  }

  private BitSet changed(StorageRepository where, String from, String to) throws SmapiException {
    byte[] bits = Base64.getDecoder().decode(where.listChangedBlocks(from, to));
    BitSet changed = new BitSet();
    for (int i = 0; i < bits.length * 8; i++) {
      changed.set(i, (bits[i / 8] & (0x80 >> (i % 8))) != 0);
    }
    return changed;
  }

  private void assertKnown(StorageRepository where, String how) throws SmapiException {
    assertThat(changed(where, zero, vdi).stream()).as(how).containsExactly(0, 1, 2, 3);
    for (VdiInfo each : where.scan()) {
      if (!each.vdi().equals(vdi) && !each.vdi().equals(zero)) {
        assertThat(changed(where, zero, each.vdi()).stream()).as(how).containsExactly(0, 1, 2);
        assertThat(changed(where, each.vdi(), vdi).stream()).as(how).containsExactly(3);
      }
    }
  }

  @Test
  void whatAnyDeathLeavesIsKnownToTheNextServer() throws Exception {
    List<Path> deaths = new ArrayList<>();
    beforeWrite =
        () -> {
          Path copy = dir.resolve("at" + deaths.size());
          keepAs(copy);
          deaths.add(copy);
        };
    StorageRepository.LiveSnapshot begun = begin();
    beforeWrite.run();
    begun.commit();
    beforeWrite.run();
    beforeWrite = () -> {};
    sr.deactivate(vdi);
    assertKnown(sr, "nobody died");
    assertThat(deaths).hasSizeGreaterThan(5);
    int snapshots = 0;
    for (Path death : deaths.subList(1, deaths.size())) {
      String how = death.getFileName().toString();
      StorageRepository next =
          VolumeRepository.open("sr", FileVolumes.open(death, ImageFormat.QCOW2).orElseThrow());
      attached.add(next);
      assertKnown(next, how);
      snapshots += next.scan().size() - 2;
      try (Stream<Path> left = Files.list(death)) {
        assertThat(left.filter(f -> f.toString().endsWith(".cbt")))
            .as("notes after " + how)
            .hasSameSizeAs(next.scan());
      }
    }
    assertThat(snapshots).as("servers that found the snapshot").isBetween(1, deaths.size() - 2);
  }

  @Test
  void whatCannotBeWrittenIsKnownAllTheSame() throws Exception {
    StorageRepository.LiveSnapshot begun = begin();
    int[] left = {3};
    beforeWrite =
        () -> {
          if (left[0]-- > 0) {
            throw new IOException("no space left");
          }
        };
    assertThatThrownBy(begun::commit).isInstanceOf(SmapiException.class);
    sr.deactivate(vdi);
    assertKnown(sr, "nothing could be written");
    beforeWrite = () -> {};
    assertKnown(sr, "the disk is full no longer");
  }
}
