package io.xenferry.iscsi.embedded;

import io.xenferry.block.BlockBackend;
import io.xenferry.iscsi.embedded.DiskCommands.Check;
import io.xenferry.iscsi.scsi.LbaStatus;
import io.xenferry.iscsi.scsi.Sense;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * The commands by which an initiator gives space back, fills it with a pattern, and asks where
 * there is something: UNMAP, WRITE SAME, GET LBA STATUS. Confined to the loop.
 */
final class Provisioning {
  /** Of one UNMAP or WRITE SAME; named in VPD page B0. */
  static final long MAX_ZERO_BYTES = 1L << 32;

  private static final int MAX_DESCRIPTORS = 256;

  private final DiskCommands commands;
  private final BlockBackend backend;
  private final RangeOrder order;
  private final int blockSize;
  private final long blocks;
  private final boolean thin;

  Provisioning(DiskCommands commands, ServedTarget target, long blocks) {
    this.commands = commands;
    this.backend = target.backend;
    this.order = target.order;
    this.blockSize = target.blockSize;
    this.blocks = blocks;
    this.thin = target.export.thin();
  }

  /** UNMAP (SBC-3 section 5.28). */
  void unmap(Task task, ByteBuffer cdb) throws Check {
    commands.writable();
    if (!thin) {
      throw new Check(Sense.INVALID_OPCODE);
    }
    int length = Math.min(cdb.getShort(7) & 0xFFFF, task.command.length());
    if (length == 0) {
      commands.good(task, 0);
      return;
    }
    if (length < 8 || !task.command.write()) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    ByteBuffer list = task.data();
    int described = Math.min(list.getShort(2) & 0xFFFF, length - 8);
    if (described / 16 > MAX_DESCRIPTORS) {
      throw new Check(Sense.INVALID_PARAMETER);
    }
    List<long[]> ranges = new ArrayList<>();
    for (int i = 8; i + 16 <= 8 + described; i += 16) {
      long lba = list.getLong(i);
      long count = list.getInt(i + 8) & 0xFFFFFFFFL;
      commands.range(lba, count);
      if (count * blockSize > MAX_ZERO_BYTES) {
        throw new Check(Sense.INVALID_PARAMETER);
      }
      if (count > 0) {
        ranges.add(new long[] {lba * blockSize, count * blockSize});
      }
    }
    // LBPRZ promises zeroes, and trimming does not; zero() deallocates where it can.
    CompletableFuture<Void> done = CompletableFuture.completedFuture(null);
    for (long[] range : ranges) {
      done = done.thenCompose(ok -> zero(range[0], range[1]));
    }
    commands.then(task, done, length, true);
  }

  private CompletableFuture<Void> zero(long offset, long length) {
    return order.run(offset, offset + length, false, () -> backend.zero(offset, length));
  }

  /** WRITE SAME: one block's content over many blocks; zeroes are deallocated where possible. */
  void writeSame(Task task, long lba, long count, boolean noData) throws Check {
    commands.writable();
    commands.range(lba, count);
    long length = count * blockSize;
    boolean data = task.command.write() && task.command.length() == blockSize;
    boolean anchor = (task.cdb().get(1) & 0x10) != 0;
    boolean unmap = (task.cdb().get(1) & 8) != 0;
    if (count == 0 || length > MAX_ZERO_BYTES || (!noData && !data) || anchor || (unmap && !thin)) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    byte[] block = new byte[blockSize];
    if (!noData) {
      task.data().get(0, block);
    }
    int used = noData ? 0 : blockSize;
    boolean zeroes = true;
    for (byte b : block) {
      zeroes &= b == 0;
    }
    if (zeroes) {
      commands.then(task, zero(lba * blockSize, length), used, true);
      return;
    }
    int n = (int) Math.min(length, Math.max(blockSize, Math.min(backend.maxTransfer(), 1 << 18)));
    ByteBuffer pattern = ByteBuffer.allocateDirect(n - n % blockSize);
    while (pattern.hasRemaining()) {
      pattern.put(block);
    }
    ByteBuffer whole = pattern.flip();
    long offset = lba * blockSize;
    CompletableFuture<Void> done =
        order.run(offset, offset + length, false, () -> repeat(whole, offset, length));
    commands.then(task, done, used, true);
  }

  private CompletableFuture<Void> repeat(ByteBuffer pattern, long offset, long length) {
    int n = (int) Math.min(length, pattern.limit());
    CompletableFuture<Void> first = backend.write(offset, pattern.slice(0, n));
    return n == length ? first : first.thenCompose(ok -> repeat(pattern, offset + n, length - n));
  }

  void lbaStatus(Task task, long lba, int allocation) throws Check {
    commands.range(lba, 1);
    int most = LbaStatus.HEADER + LbaStatus.DESCRIPTOR * MAX_DESCRIPTORS;
    int room = Math.min(Math.max(0, allocation), most);
    commands.replyLater(
        task,
        backend
            .extents(lba * blockSize, (blocks - lba) * blockSize)
            .thenApply(extents -> LbaStatus.write(lba, extents, blockSize, room)),
        allocation & 0xFFFFFFFFL);
  }
}
