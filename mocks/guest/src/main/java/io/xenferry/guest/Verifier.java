package io.xenferry.guest;

import io.xenferry.guest.ledger.DiskBlock;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.guest.ledger.LedgerEntry;
import io.xenferry.guest.ledger.LedgerEntry.Type;
import io.xenferry.guest.ledger.LedgerReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * Proves, from the ledger and the disk files alone, that every acknowledged write is there and that
 * nothing else is. The guest must not be running. Every block of every disk is read: one that was
 * written must hold its last acknowledged write (or a whole later one that was never acknowledged),
 * one that was filled its fill, every other one zeroes.
 */
@Command(
    name = "verify-disks",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true,
    description = "Proves that no acknowledged write was lost. The guest must not be running.",
    exitCodeListHeading = "Exit status:%n",
    exitCodeList = {
      "0:every acknowledged write is there",
      "1:writes lost, blocks corrupt, or two guests at once",
      "2:the ledger or a disk cannot be read"
    })
public final class Verifier implements Callable<Integer> {
  private static final int CHUNK = 1 << 20;
  private static final int EXAMPLES = 20;

  @Option(names = "--ledger", required = true)
  private Path ledger = Path.of("");

  @Parameters(arity = "1..*", description = "The disk files, in the order of the guest.")
  private List<Path> disks = List.of();

  private Verifier() {}

  /** See the command's help. */
  public static void main(String[] arguments) {
    System.exit(
        new CommandLine(new Verifier())
            .setExecutionExceptionHandler((e, command, result) -> {
              command.getErr().println("cannot verify: " + e.getMessage());
              return 2;
            })
            .execute(arguments));
  }

  @Override
  public Integer call() throws IOException {
    Verdict verdict = verify(ledger, disks);
    verdict.examples().forEach(System.out::println);
    System.out.printf("acknowledged writes: %d%n", verdict.acknowledged());
    System.out.printf("blocks checked: %d%n", verdict.blocksChecked());
    System.out.printf("unacknowledged but whole: %d%n", verdict.unacknowledged());
    System.out.printf("handovers: %d%n", verdict.handovers());
    System.out.printf("longest downtime: %d ms%n", verdict.longestDowntime().toMillis());
    System.out.printf("longest gap between writes: %d ms%n", verdict.longestGap().toMillis());
    System.out.printf("two guests at once: %d%n", verdict.overlaps());
    System.out.printf("corrupt blocks: %d%n", verdict.corruptBlocks());
    System.out.printf("lost writes: %d%n", verdict.lostBlocks());
    return verdict.good() ? 0 : 1;
  }

  /**
   * Verifies.
   *
   * @param disks in the order of the guest
   * @throws IOException when a file cannot be read or the ledger is damaged
   */
  public static Verdict verify(Path ledger, List<Path> disks) throws IOException {
    Check check = new Check(disks.size());
    LedgerReader.read(ledger, check::learn);
    for (int i = 0; i < disks.size(); i++) {
      check.disk(i, disks.get(i));
    }
    return check.verdict();
  }

  /** What the ledger says about one disk. */
  private static final class Expected {
    /** Last acknowledged sequence by block; 0 none. */
    private long[] last = new long[0];

    private Optional<FillPattern> fill = Optional.empty();

    void written(long firstBlock, int blocks, long sequence) {
      int end = Math.toIntExact(firstBlock + blocks);
      if (end > last.length) {
        last = Arrays.copyOf(last, Math.max(end, 2 * last.length));
      }
      for (int block = (int) firstBlock; block < end; block++) {
        last[block] = Math.max(last[block], sequence);
      }
    }

    long lastAt(long block) {
      return block < last.length ? last[(int) block] : 0;
    }
  }

  private static final class Check {
    private final List<Expected> expected = new ArrayList<>();
    private final RunHistory runs = new RunHistory();
    private final List<String> examples = new ArrayList<>();

    /**
     * Which sequence numbers are acknowledged; numbers jump after a restart, hence the segments.
     */
    private final Map<Long, BitSet> acknowledged = new HashMap<>();

    private Optional<UUID> vm = Optional.empty();
    private long writes;
    private long checked;
    private long unacknowledged;
    private long lost;
    private long corrupt;

    Check(int disks) {
      for (int i = 0; i < disks; i++) {
        expected.add(new Expected());
      }
    }

    void learn(LedgerEntry entry) throws IOException {
      runs.add(entry);
      if (entry.type() != Type.WRITE && entry.type() != Type.FILL) {
        return;
      }
      if (entry.disk() < 0 || entry.disk() >= expected.size()) {
        throw new IOException("the ledger knows a disk " + entry.disk() + ", which was not given");
      }
      Expected disk = expected.get(entry.disk());
      if (entry.type() == Type.FILL) {
        disk.fill = Optional.of(new FillPattern(entry.offset(), entry.length(), entry.sequence()));
        return;
      }
      writes++;
      disk.written(
          entry.offset() / DiskBlock.SIZE, entry.length() / DiskBlock.SIZE, entry.sequence());
      acknowledged
          .computeIfAbsent(entry.sequence() >>> 16, segment -> new BitSet())
          .set((int) (entry.sequence() & 0xffff));
    }

    private boolean isAcknowledged(long sequence) {
      BitSet segment = acknowledged.get(sequence >>> 16);
      return segment != null && segment.get((int) (sequence & 0xffff));
    }

    void disk(int index, Path file) throws IOException {
      Expected disk = expected.get(index);
      try (FileChannel image = FileChannel.open(file, StandardOpenOption.READ)) {
        long size = image.size();
        ByteBuffer chunk = ByteBuffer.allocateDirect(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
        for (long at = 0; at < size; at += CHUNK) {
          chunk.clear();
          while (chunk.hasRemaining() && image.read(chunk, at + chunk.position()) >= 0) {
            // Until full, or the end.
          }
          int got = chunk.position();
          for (int start = 0; start + DiskBlock.SIZE <= got; start += DiskBlock.SIZE) {
            block(index, disk, (at + start) / DiskBlock.SIZE, chunk, start);
          }
        }
        long blocks = size / DiskBlock.SIZE;
        for (long beyond = blocks; beyond < disk.last.length; beyond++) {
          if (disk.lastAt(beyond) > 0) {
            lost++;
            example(index, beyond, "lies beyond the end of the file");
          }
        }
      }
    }

    private void block(int index, Expected disk, long number, ByteBuffer chunk, int start) {
      long last = disk.lastAt(number);
      boolean filled =
          disk.fill.filter(fill -> number * DiskBlock.SIZE < fill.size()).isPresent()
              && disk.fill.get().filledAt(number * DiskBlock.SIZE);
      if (last > 0 || filled) {
        checked++;
      }
      if (isZero(chunk, start)) {
        if (last > 0 || filled) {
          lost++;
          example(index, number, "holds zeroes, not " + (last > 0 ? "write " + last : "its fill"));
        }
        return;
      }
      Optional<DiskBlock> found = DiskBlock.at(chunk, start);
      if (found.isEmpty() || found.get().disk() != index || found.get().number() != number) {
        corrupt++;
        example(
            index,
            number,
            found.isEmpty() ? "is damaged" : "holds a block of another place: " + found.get());
        return;
      }
      switch (found.get().kind()) {
        case FILL -> checkFill(index, disk, number, last, filled, found.get());
        case WRITE -> checkWrite(index, number, last, found.get());
      }
    }

    private void checkFill(
        int index, Expected disk, long number, long last, boolean filled, DiskBlock found) {
      if (last > 0) {
        lost++;
        example(index, number, "holds its fill, not write " + last);
      } else if (!filled || disk.fill.get().seed() != found.sequence()) {
        corrupt++;
        example(index, number, "holds a fill that was never made: " + found);
      }
    }

    private void checkWrite(int index, long number, long last, DiskBlock found) {
      if (vm.isEmpty()) {
        vm = Optional.of(found.vm());
      }
      if (!vm.get().equals(found.vm())) {
        corrupt++;
        example(index, number, "holds a write of another guest: " + found);
      } else if (found.sequence() < last) {
        lost++;
        example(index, number, "holds write " + found.sequence() + ", not " + last);
      } else if (found.sequence() > last) {
        if (isAcknowledged(found.sequence())) {
          corrupt++;
          example(index, number, "holds write " + found.sequence() + " that went elsewhere");
        } else {
          unacknowledged++;
        }
      }
    }

    private static boolean isZero(ByteBuffer chunk, int start) {
      for (int i = 0; i < DiskBlock.SIZE; i += 8) {
        if (chunk.getLong(start + i) != 0) {
          return false;
        }
      }
      return true;
    }

    private void example(int disk, long block, String what) {
      if (examples.size() < EXAMPLES) {
        examples.add("disk " + disk + " byte " + block * DiskBlock.SIZE + " " + what);
      }
    }

    Verdict verdict() {
      return new Verdict(
          writes,
          checked,
          unacknowledged,
          lost,
          corrupt,
          runs.overlaps(),
          runs.handovers(),
          runs.longestDowntime(),
          runs.longestGap(),
          List.copyOf(examples));
    }
  }
}
