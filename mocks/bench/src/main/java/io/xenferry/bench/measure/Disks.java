package io.xenferry.bench.measure;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.Random;
import java.util.stream.Stream;

/** Disk images to copy. */
public final class Disks {
  private static final int STEP = 1 << 20;

  private Disks() {}

  /** Incompressible data throughout. */
  public static Path random(Path path, long size) throws IOException {
    return make(path, size, 1);
  }

  /** Every tenth megabyte has data, the rest are holes. */
  public static Path sparse(Path path, long size) throws IOException {
    return make(path, size, 10);
  }

  private static Path make(Path path, long size, int every) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.setLength(size);
      Random random = new Random(1);
      byte[] data = new byte[STEP];
      for (long at = 0; at < size; at += (long) every * STEP) {
        random.nextBytes(data);
        file.seek(at);
        file.write(data, 0, (int) Math.min(STEP, size - at));
      }
      file.getFD().sync();
    }
    return path;
  }

  /** Brings the file into the page cache. */
  public static void readOnce(Path path) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocateDirect(STEP);
    try (FileChannel channel = FileChannel.open(path)) {
      while (channel.read(buffer.clear()) > 0) {}
    }
  }

  /** Overwrites the whole file with what is no zero, durably. */
  public static void fill(Path path, long size) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocateDirect(STEP);
    while (buffer.hasRemaining()) {
      buffer.put((byte) 0xA5);
    }
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      for (long at = 0; at < size; ) {
        at += channel.write(buffer.clear().limit((int) Math.min(STEP, size - at)), at);
      }
      channel.force(true);
    }
  }

  /** Overwrites a file with what another one has, durably; whoever has it open sees that. */
  public static void copyInto(Path source, Path file) throws IOException {
    try (FileChannel from = FileChannel.open(source);
        FileChannel to = FileChannel.open(file, StandardOpenOption.WRITE)) {
      long size = from.size();
      for (long at = 0; at < size; ) {
        at += from.transferTo(at, size - at, to.position(at));
      }
      to.force(true);
    }
  }

  /** Deletes a directory and all that is in it. */
  public static void deleteTree(Path directory) throws IOException {
    try (Stream<Path> tree = Files.walk(directory)) {
      for (Path path : tree.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(path);
      }
    }
  }
}
