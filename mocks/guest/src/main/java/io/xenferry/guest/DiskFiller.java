package io.xenferry.guest;

import io.xenferry.guest.ledger.DiskBlock;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.guest.ledger.LedgerEntry;
import io.xenferry.guest.ledger.LedgerWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Prepares a raw disk: sparse, a given part of it filled with blocks that carry checksums, noted in
 * the ledger so that the verifier knows what must be there.
 */
@Command(
    name = "fill-disk",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true,
    description = "Prepares a raw disk whose content the verifier can check.")
public final class DiskFiller implements Callable<Integer> {
  @Option(names = "--file", required = true, description = "The image; made if missing.")
  private Path file = Path.of("");

  @Option(names = "--size", required = true, description = "Bytes, a multiple of 4096.")
  private long size;

  @Option(names = "--percent", defaultValue = "40", description = "How much of it to fill.")
  private int percent;

  @Option(names = "--seed", defaultValue = "1")
  private long seed;

  @Option(names = "--disk", defaultValue = "0", description = "Its index in the guest.")
  private int disk;

  @Option(names = "--ledger", required = true)
  private Path ledger = Path.of("");

  private DiskFiller() {}

  /** Exit status 0, or 1 with the reason on stderr. */
  public static void main(String[] arguments) {
    System.exit(new CommandLine(new DiskFiller()).execute(arguments));
  }

  @Override
  public Integer call() throws IOException {
    fill(file, disk, new FillPattern(size, percent, seed), ledger);
    return 0;
  }

  /**
   * Fills an image, which must read as zeroes before, and notes it in the ledger.
   *
   * @param disk its index in the guest, from 0
   * @return bytes filled
   */
  public static long fill(Path file, int disk, FillPattern pattern, Path ledger)
      throws IOException {
    long filled = 0;
    try (FileChannel image =
        FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      if (image.size() < pattern.size()) {
        // One byte at the end makes a sparse file of that size.
        image.write(ByteBuffer.allocate(1), pattern.size() - 1);
      }
      ByteBuffer chunk =
          ByteBuffer.allocateDirect(FillPattern.CHUNK).order(ByteOrder.LITTLE_ENDIAN);
      for (long at = 0; at < pattern.size(); at += FillPattern.CHUNK) {
        if (!pattern.filledAt(at)) {
          continue;
        }
        chunk.clear();
        long end = Math.min(pattern.size(), at + FillPattern.CHUNK);
        for (long block = at; block < end; block += DiskBlock.SIZE) {
          DiskBlock.fill(disk, block / DiskBlock.SIZE, pattern.seed()).put(chunk);
        }
        chunk.flip();
        filled += chunk.remaining();
        long to = at;
        while (chunk.hasRemaining()) {
          to += image.write(chunk, to);
        }
      }
      image.force(true);
    }
    try (LedgerWriter writer = new LedgerWriter(ledger)) {
      writer.append(LedgerEntry.fill(disk, pattern));
      writer.sync();
    }
    return filled;
  }
}
