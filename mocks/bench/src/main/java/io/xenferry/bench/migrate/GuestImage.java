package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Random;

/**
 * The guest that everybody moves: kernel, first file system, and what is on its disk beforehand.
 *
 * @param disk as it is at the start of each run
 * @param diskSize bytes
 */
record GuestImage(Path kernel, Path initrd, Path disk, long diskSize) {
  static final int MEMORY_MIB = 256;

  /** Bytes at the disk's start that the guest writes to; what lies behind must never change. */
  static final long AREA = 256L << 20;

  private static final int STEP = 1 << 20;

  /** In the order in which they are loaded. */
  private static final List<String> MODULES =
      List.of(
          "drivers/virtio/virtio_ring.ko",
          "drivers/virtio/virtio.ko",
          "drivers/virtio/virtio_pci_modern_dev.ko",
          "drivers/virtio/virtio_pci_legacy_dev.ko",
          "drivers/virtio/virtio_pci.ko",
          "drivers/block/virtio_blk.ko");

  static GuestImage build(Path directory, Path cache, long diskSize, long allocated)
      throws IOException, InterruptedException {
    LinuxKernel found = LinuxKernel.find(cache);
    Path boot = Files.createDirectories(directory.resolve("boot"));
    Path kernel = Files.copy(found.image(), boot.resolve("vmlinuz"));
    Path initrd = boot.resolve("initrd");
    Files.write(initrd, initrd(found, directory));
    Path disk = directory.resolve("template");
    fill(disk, diskSize, allocated);
    return new GuestImage(kernel, initrd, disk, diskSize);
  }

  private static byte[] initrd(LinuxKernel kernel, Path directory)
      throws IOException, InterruptedException {
    Path source = directory.resolve("init.c");
    try (InputStream text = GuestImage.class.getResourceAsStream("init.c")) {
      if (text == null) {
        throw new IOException("init.c is not in this build");
      }
      Files.copy(text, source);
    }
    Path program = directory.resolve("init");
    Commands.run(
        List.of("gcc", "-O2", "-static", "-pthread", "-o", program.toString(), source.toString()));
    Cpio cpio = new Cpio();
    cpio.directory("dev");
    cpio.directory("proc");
    cpio.directory("modules");
    StringBuilder order = new StringBuilder();
    for (String module : MODULES) {
      Path file = kernel.modules().resolve(module);
      cpio.file("modules/" + file.getFileName(), Files.readAllBytes(file));
      order.append(file.getFileName()).append('\n');
    }
    cpio.file("modules/order", order.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8));
    cpio.file("init", Files.readAllBytes(program));
    return cpio.finish();
  }

  /** Random bytes at the start, a hole behind. */
  private static void fill(Path disk, long size, long allocated) throws IOException {
    Random random = new Random(1);
    byte[] data = new byte[STEP];
    try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "rw")) {
      for (long at = 0; at < allocated; at += STEP) {
        random.nextBytes(data);
        file.write(data);
      }
      file.setLength(size);
    }
  }

  /** The kernel's command line. */
  static String commandLine(Rate rate) {
    return "console=ttyS0 quiet panic=-1 xf.port=ttyS1 xf.area="
        + AREA
        + " xf.rate="
        + rate.option();
  }

  /** Makes a file the disk as it is at the start, holes included. */
  void copyTo(Path file) throws IOException, InterruptedException {
    Commands.run(
        List.of("cp", "--sparse=always", "--no-preserve=all", disk.toString(), file.toString()));
  }

  /** An empty disk. */
  void createEmpty(Path file) throws IOException {
    try (RandomAccessFile empty = new RandomAccessFile(file.toFile(), "rw")) {
      empty.setLength(diskSize);
    }
  }

  /**
   * Compares what the guest never wrote to.
   *
   * @throws IOException when it differs, with the place
   */
  void compareUntouched(Path moved) throws IOException {
    ByteBuffer expected = ByteBuffer.allocateDirect(STEP);
    ByteBuffer found = ByteBuffer.allocateDirect(STEP);
    try (FileChannel original = FileChannel.open(disk, StandardOpenOption.READ);
        FileChannel copy = FileChannel.open(moved, StandardOpenOption.READ)) {
      if (copy.size() != diskSize) {
        throw new IOException(moved + " has " + copy.size() + " bytes instead of " + diskSize);
      }
      for (long at = AREA; at < diskSize; at += STEP) {
        readAt(original, expected.clear(), at);
        readAt(copy, found.clear(), at);
        int differs = expected.flip().mismatch(found.flip());
        if (differs >= 0) {
          throw new IOException("the copy is wrong at byte " + (at + differs));
        }
      }
    }
  }

  private static void readAt(FileChannel file, ByteBuffer buffer, long at) throws IOException {
    long position = at;
    while (buffer.hasRemaining()) {
      int n = file.read(buffer, position);
      if (n < 0) {
        return;
      }
      position += n;
    }
  }
}
