package io.xenferry.iscsi.embedded;

import io.xenferry.block.BlockBackend;
import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.scsi.Sense;
import io.xenferry.iscsi.scsi.Status;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * The commands that move or look at blocks (SBC-3 §5): READ, WRITE, VERIFY, WRITE AND VERIFY,
 * COMPARE AND WRITE, ORWRITE, PRE-FETCH. Confined to the loop.
 */
final class MediumAccess {
  /** Blocks of one COMPARE AND WRITE; named in VPD page B0. */
  static final int MAX_COMPARE = 255;

  /** Bytes that the loop copies itself where they are in memory. */
  private static final int AT_ONCE = 64 << 10;

  private static final int FUA = 8;

  private final DiskCommands commands;
  private final BlockBackend backend;
  private final RangeOrder order;
  private final BufferPool pool;
  private final int blockSize;

  MediumAccess(
      DiskCommands commands,
      BlockBackend backend,
      RangeOrder order,
      BufferPool pool,
      int blockSize) {
    this.commands = commands;
    this.backend = backend;
    this.order = order;
    this.pool = pool;
    this.blockSize = blockSize;
  }

  /** Where a command begins, from the field of its CDB. */
  static long lba(ByteBuffer cdb) {
    return switch ((cdb.get(0) & 0xFF) >>> 5) {
      case 0 -> cdb.getInt(0) & 0x1FFFFF;
      case 4 -> cdb.getLong(2);
      default -> cdb.getInt(2) & 0xFFFFFFFFL;
    };
  }

  /** How many blocks it is about. */
  static long count(ByteBuffer cdb) {
    return switch ((cdb.get(0) & 0xFF) >>> 5) {
      case 0 -> (cdb.get(4) & 0xFF) == 0 ? 256 : cdb.get(4) & 0xFF;
      case 4 -> cdb.getInt(10) & 0xFFFFFFFFL;
      case 5 -> cdb.getInt(6) & 0xFFFFFFFFL;
      default -> cdb.getShort(7) & 0xFFFF;
    };
  }

  private static boolean fua(ByteBuffer cdb) {
    return (cdb.get(0) & 0xFF) >>> 5 != 0 && (cdb.get(1) & FUA) != 0;
  }

  /** The bytes that the command is about, if it may be. */
  private int length(ByteBuffer cdb) throws Check {
    long count = count(cdb);
    commands.range(lba(cdb), count);
    if (count * blockSize > DiskCommands.MAX_ACCEPTED) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    return (int) count * blockSize;
  }

  private long offset(ByteBuffer cdb) {
    return lba(cdb) * blockSize;
  }

  void read(Task task) throws Check {
    ByteBuffer cdb = task.cdb();
    int length = length(cdb);
    // An initiator that expects less gets less, and is told by the residual count.
    int wanted = task.command.read() ? Math.min(length, task.command.length()) : 0;
    if (wanted == 0) {
      commands.goodData(task, length);
      return;
    }
    int whole = (wanted + blockSize - 1) / blockSize * blockSize;
    ByteBuffer data = task.data().duplicate().clear();
    if (whole > data.capacity()) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    // Nobody is waited for: quicker than to let another thread read, and the loop goes on at once.
    if (whole <= AT_ONCE && !fua(cdb) && backend.readCached(offset(cdb), data.limit(whole))) {
      commands.goodData(task, length);
      return;
    }
    CompletableFuture<Void> before =
        fua(cdb) ? backend.flush() : CompletableFuture.completedFuture(null);
    commands.thenData(
        task,
        before.thenCompose(ok -> pieces(data.limit(whole), offset(cdb), 0, whole, false)),
        length);
  }

  void write(Task task) throws Check {
    ByteBuffer cdb = task.cdb();
    int length = length(cdb);
    int given = given(task, length);
    if (given == 0) {
      commands.good(task, length);
      return;
    }
    CompletableFuture<Void> done = write(cdb, task.data(), given);
    commands.then(task, fua(cdb) ? done.thenCompose(ok -> backend.flush()) : done, length, true);
  }

  /**
   * How much of what a write is about its data-out buffer has. An initiator that announced less
   * than the CDB says gets that much written, and the residual count; part of a block is none.
   */
  private int given(Task task, int length) throws Check {
    commands.writable();
    if (length > 0 && task.command.length() > 0 && !task.command.write()) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    int given = Math.min(length, task.command.length());
    if (given % blockSize != 0) {
      throw new Check(Sense.INVALID_FIELD_IN_INFORMATION_UNIT, length);
    }
    return given;
  }

  private CompletableFuture<Void> write(ByteBuffer cdb, ByteBuffer data, int length) {
    long offset = offset(cdb);
    return order.run(offset, offset + length, false, () -> pieces(data, offset, 0, length, true));
  }

  /** PRE-FETCH is a hint, and the backend's cache needs none. */
  void prefetch(Task task) throws Check {
    ByteBuffer cdb = task.cdb();
    commands.range(lba(cdb), count(cdb));
    commands.good(task, 0);
  }

  private static int byteCheck(ByteBuffer cdb) {
    return (cdb.get(1) >>> 1) & 3;
  }

  void verify(Task task) throws Check {
    ByteBuffer cdb = task.cdb();
    int length = length(cdb);
    int given =
        switch (byteCheck(cdb)) {
          case 0 -> 0;
          case 1 -> length;
          case 3 -> Math.min(length, blockSize);
          default -> throw new Check(Sense.INVALID_FIELD_IN_CDB);
        };
    if (given > 0 && (!task.command.write() || task.command.length() < given)) {
      throw new Check(Sense.INVALID_FIELD_IN_INFORMATION_UNIT, given);
    }
    if (length == 0) {
      commands.good(task, 0);
      return;
    }
    Optional<ByteBuffer> found = scratch(task, length);
    if (found.isPresent()) {
      ByteBuffer medium = found.get();
      CompletableFuture<Void> done = pieces(medium, offset(cdb), 0, length, false);
      if (given > 0) {
        ByteBuffer expected = task.data().slice(0, given);
        done = done.thenRun(() -> compare(medium, expected));
      }
      commands.then(task, done, given, false);
    }
  }

  /** Writes, flushes, reads what is there now, and compares it where that is asked for. */
  void writeAndVerify(Task task) throws Check {
    ByteBuffer cdb = task.cdb();
    int length = length(cdb);
    int check = byteCheck(cdb);
    if (check > 1) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    int given = given(task, length);
    if (given == 0) {
      commands.good(task, length);
      return;
    }
    Optional<ByteBuffer> found = scratch(task, given);
    if (found.isPresent()) {
      ByteBuffer medium = found.get();
      ByteBuffer data = task.data();
      commands.then(
          task,
          write(cdb, data, given)
              .thenCompose(ok -> backend.flush())
              .thenCompose(ok -> pieces(medium, offset(cdb), 0, given, false))
              .thenRun(() -> {
                if (check == 1) {
                  compare(medium, data.slice(0, given));
                }
              }),
          length,
          true);
    }
  }

  /**
   * SBC-3 §5.2: the first half of the data is what must be there, the second what comes instead.
   */
  void compareAndWrite(Task task) throws Check {
    ByteBuffer cdb = task.cdb();
    int count = cdb.get(13) & 0xFF;
    int length = count * blockSize;
    commands.range(lba(cdb), count);
    commands.writable();
    if (length > DiskCommands.MAX_TRANSFER / 2
        || task.command.length() != 2 * length
        || (length > 0 && !task.command.write())) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    if (count == 0) {
      commands.good(task, 0);
      return;
    }
    Optional<ByteBuffer> found = scratch(task, length);
    if (found.isPresent()) {
      ByteBuffer medium = found.get();
      ByteBuffer expected = task.data().slice(0, length);
      ByteBuffer next = task.data().slice(length, length);
      alone(
          task,
          length,
          () ->
              pieces(medium, offset(cdb), 0, length, false)
                  .thenRun(() -> compare(medium, expected))
                  .thenCompose(ok -> pieces(next, offset(cdb), 0, length, true)),
          2 * length);
    }
  }

  void orWrite(Task task) throws Check {
    ByteBuffer cdb = task.cdb();
    int length = length(cdb);
    int given = given(task, length);
    if (given == 0) {
      commands.good(task, length);
      return;
    }
    Optional<ByteBuffer> found = scratch(task, given);
    if (found.isPresent()) {
      ByteBuffer medium = found.get();
      ByteBuffer data = task.data();
      alone(
          task,
          given,
          () ->
              pieces(medium, offset(cdb), 0, given, false)
                  .thenCompose(ok -> {
                    for (int i = 0; i < given; i++) {
                      medium.put(i, (byte) (medium.get(i) | data.get(i)));
                    }
                    return pieces(medium, offset(cdb), 0, given, true);
                  }),
          length);
    }
  }

  private void alone(
      Task task, int length, java.util.function.Supplier<CompletableFuture<Void>> work, int used) {
    ByteBuffer cdb = task.cdb();
    long offset = offset(cdb);
    CompletableFuture<Void> done = order.run(offset, offset + length, true, work);
    commands.then(task, fua(cdb) ? done.thenCompose(ok -> backend.flush()) : done, used, true);
  }

  /** A second buffer for a task; without one it is answered TASK SET FULL. */
  private Optional<ByteBuffer> scratch(Task task, int length) {
    ByteBuffer buffer = pool.take(length);
    if (buffer == null) {
      commands.refuse(task, Status.TASK_SET_FULL);
      return Optional.empty();
    }
    task.scratch = buffer;
    return Optional.of(buffer);
  }

  /**
   * @param expected as long as the medium's, or one block that each must be like
   */
  private static void compare(ByteBuffer medium, ByteBuffer expected) {
    int step = expected.limit();
    for (int at = 0; at < medium.limit(); at += step) {
      int differs = medium.slice(at, step).mismatch(expected.slice(0, step));
      if (differs >= 0) {
        throw new Miscompare(at + differs);
      }
    }
  }

  /** What is on the medium is not what was expected. */
  static final class Miscompare extends RuntimeException {
    private static final long serialVersionUID = 1L;
    final int at;

    /**
     * @param at the first byte that differs
     */
    Miscompare(int at) {
      super("miscompare at " + at, null, false, false);
      this.at = at;
    }
  }

  /** As many requests as the backend's limit asks for, one after another. */
  private CompletableFuture<Void> pieces(
      ByteBuffer data, long offset, int at, int length, boolean write) {
    int n = Math.min(length - at, backend.maxTransfer());
    ByteBuffer piece = data.slice(at, n);
    CompletableFuture<Void> first =
        write ? backend.write(offset + at, piece) : backend.read(offset + at, piece);
    return at + n == length
        ? first
        : first.thenCompose(ok -> pieces(data, offset, at + n, length, write));
  }
}
