package io.xenferry.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.FileBackend.Mode;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileBackendTest extends BlockBackendContract {
  @TempDir Path dir;
  private int count;

  @Override
  protected BlockBackend open(long size) throws Exception {
    return FileBackend.create(dir.resolve("disk" + count++), size);
  }

  @Override
  protected BlockBackend openReadOnly(long size) throws Exception {
    Path path = dir.resolve("disk" + count++);
    FileBackend.create(path, size).close();
    return FileBackend.open(path, Mode.READ_ONLY);
  }

  private static long allocated(Path path) throws Exception {
    return Long.parseLong(ExternalTools.run("stat", "-c", "%b", path.toString()).strip()) * 512;
  }

  @Test
  void newImagesAndZeroedRangesTakeNoSpace() throws Exception {
    Path path = dir.resolve("image");
    try (FileBackend device = FileBackend.create(path, 64L * MIB)) {
      assertThat(allocated(path)).isZero();
      byte[] ones = new byte[8 * MIB];
      java.util.Arrays.fill(ones, (byte) 1);
      await(device.write(0, ByteBuffer.wrap(ones)));
      assertThat(allocated(path)).isGreaterThanOrEqualTo(8 * MIB);
      await(device.zero(0, 4 * MIB));
      await(device.trim(4 * MIB, 2 * MIB));
      assertThat(allocated(path)).isLessThan(3 * MIB);
      assertThat(Files.size(path)).isEqualTo(64L * MIB);
    }
  }

  @Test
  void whatIsPreallocatedIsTakenUp() throws Exception {
    Path path = dir.resolve("image");
    FileBackend.create(path, 8L * MIB).close();
    assertThat(FileBackend.allocated(path)).isEqualTo(allocated(path)).isZero();
    ExternalTools.run("fallocate", "-l", "2M", path.toString());
    assertThat(FileBackend.allocated(path))
        .isEqualTo(allocated(path))
        .isGreaterThanOrEqualTo(2 * MIB);
  }

  @Test
  void twoWritersCannotOpenOneImage() throws Exception {
    Path path = dir.resolve("image");
    try (FileBackend first = FileBackend.create(path, MIB)) {
      assertThat(first.size()).isEqualTo(MIB);
      assertThatThrownBy(() -> FileBackend.open(path, Mode.READ_WRITE))
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.ACCESS));
      FileBackend.open(path, Mode.READ_ONLY).close();
      FileBackend.open(path, Mode.READ_WRITE_SHARED).close();
      // Closing the others must not have dropped the lock.
      assertThatThrownBy(() -> FileBackend.open(path, Mode.READ_WRITE))
          .isInstanceOf(BlockException.class);
    }
    FileBackend.open(path, Mode.READ_WRITE).close();
  }

  @Test
  void qemuAndWeKeepEachOtherOff() throws Exception {
    ExternalTools.require("qemu-io");
    Path path = dir.resolve("image");
    try (FileBackend ours = FileBackend.create(path, MIB)) {
      assertThat(ours.readOnly()).isFalse();
      assertThat(
              ExternalTools.attempt("qemu-io", "-f", "raw", "-c", "write 0 512", path.toString())
                  .output())
          .contains("lock");
    }
    Process qemu = new ProcessBuilder("qemu-io", "-f", "raw", path.toString()).start();
    try {
      qemu.getOutputStream().write("write 0 512\n".getBytes());
      qemu.getOutputStream().flush();
      while (true) {
        String line = qemu.inputReader().readLine();
        assertThat(line).isNotNull();
        if (line.contains("wrote")) {
          break;
        }
      }
      assertThatThrownBy(() -> FileBackend.open(path, Mode.READ_WRITE))
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.ACCESS));
    } finally {
      qemu.destroyForcibly();
      qemu.waitFor(10, TimeUnit.SECONDS);
    }
  }

  @Test
  void tellsWhyItCannotOpen() {
    assertThatThrownBy(() -> FileBackend.open(dir.resolve("none"), Mode.READ_WRITE))
        .isInstanceOf(BlockException.class)
        .hasMessageContaining("none");
    assertThatThrownBy(() -> FileBackend.open(dir, Mode.READ_WRITE))
        .isInstanceOf(BlockException.class)
        .hasMessageContaining("directory");
    assertThatThrownBy(
            () -> {
              FileBackend.create(dir.resolve("twice"), 1).close();
              FileBackend.create(dir.resolve("twice"), 1);
            })
        .isInstanceOf(BlockException.class);
  }

  @Test
  void aFileThatShrankFailsInsteadOfReadingZeroes() throws Exception {
    Path path = dir.resolve("image");
    try (FileBackend device = FileBackend.create(path, MIB)) {
      try (FileChannel other = FileChannel.open(path, StandardOpenOption.WRITE)) {
        other.truncate(4096);
      }
      assertFails(device.read(0, ByteBuffer.allocate(8192)), Kind.IO);
      await(device.read(0, ByteBuffer.allocate(4096)));
    }
  }

  @Test
  void aCallbackMayClose() throws Exception {
    FileBackend device = FileBackend.create(dir.resolve("image"), MIB);
    CompletableFuture<Void> closed =
        device.read(0, ByteBuffer.allocate(MIB)).thenRun(device::close);
    await(closed);
    assertFails(device.flush(), Kind.CLOSED);
  }
}
