package io.xenferry.iscsi.embedded;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.scsi.Sense;
import io.xenferry.iscsi.scsi.Status;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The SCSI commands of one session's disk (SPC-4, SBC-3). Unit 0 is a controller without media, as
 * tgtd has it, so that tools which look there first find something. Confined to the loop; the
 * backend's completions come back to it.
 */
final class DiskCommands {
  private static final Logger log = LoggerFactory.getLogger(DiskCommands.class);

  /** Bytes of one READ or WRITE; named in VPD page B0. */
  static final int MAX_TRANSFER = 1 << 22;

  private static final int FUA = 8;

  private final ServedTarget target;
  private final TargetConnection connection;
  private final BlockBackend backend;
  private final EmbeddedTargetService service;
  private final InquiryPages pages;
  private final Provisioning provisioning;
  private final int blockSize;
  private final long blocks;
  private final boolean readOnly;

  DiskCommands(ServedTarget target, TargetConnection connection, EmbeddedTargetService service) {
    this.target = target;
    this.connection = connection;
    this.backend = target.backend;
    this.service = service;
    this.blockSize = Math.max(512, backend.alignment());
    this.blocks = backend.size() / blockSize;
    this.readOnly = backend.readOnly() || target.export.readOnly();
    this.pages =
        new InquiryPages(target.export, blockSize, MAX_TRANSFER, Provisioning.MAX_ZERO_BYTES);
    this.provisioning = new Provisioning(this, backend, blockSize, blocks, target.export.thin());
  }

  /** A command that ends with CHECK CONDITION. */
  static final class Check extends Exception {
    private static final long serialVersionUID = 1L;
    final transient Sense sense;

    Check(Sense sense) {
      super(sense.toString(), null, false, false);
      this.sense = sense;
    }
  }

  void execute(Task task) {
    try {
      run(task);
    } catch (Check e) {
      check(task, e.sense);
    }
  }

  private void check(Task task, Sense sense) {
    connection.answer(task, Status.CHECK_CONDITION, sense, 0);
  }

  private static int unit(long lun) {
    boolean plain = (lun & 0x0000FFFFFFFFFFFFL) == 0;
    int method = (int) (lun >>> 62);
    int number = (int) (lun >>> 48) & (method == 0 ? 0xFFFF : 0x3FFF);
    return plain && method < 2 ? number : -1;
  }

  private void run(Task task) throws Check {
    int opcode = task.opcode();
    int unit = unit(task.command.lun());
    boolean disk = unit == target.export.lun();
    switch (opcode) {
      case Cdb.INQUIRY -> {
        inquiry(task, disk, unit == 0);
        return;
      }
      case Cdb.REPORT_LUNS -> {
        ByteBuffer list = ByteBuffer.allocate(24).putInt(0, 16);
        list.putShort(16, (short) target.export.lun());
        reply(task, list.array(), task.cdb().getInt(6) & 0xFFFFFFFFL);
        return;
      }
      case Cdb.REQUEST_SENSE -> {
        Sense told = connection.attention;
        connection.attention = null;
        Sense sense = told == null ? new Sense(Sense.NO_SENSE, 0) : told;
        reply(task, sense.toBytes(), task.cdb().get(4) & 0xFF);
        return;
      }
      default -> {}
    }
    Sense told = connection.attention;
    if (told != null) {
      connection.attention = null;
      throw new Check(told);
    }
    if (!disk) {
      if (unit == 0 && opcode == Cdb.TEST_UNIT_READY) {
        good(task, 0);
        return;
      }
      throw new Check(unit == 0 ? Sense.INVALID_OPCODE : Sense.NO_SUCH_LUN);
    }
    ByteBuffer cdb = task.cdb();
    if (transfers(opcode) && (cdb.get(1) & 0xE0) != 0) {
      // No protection information here (SBC-3 section 4.22).
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    switch (opcode) {
      case Cdb.TEST_UNIT_READY, Cdb.START_STOP_UNIT -> good(task, 0);
      case Cdb.MODE_SENSE_6 ->
          reply(task, pages.modeSense(cdb.get(2), false, readOnly), cdb.get(4) & 0xFF);
      case Cdb.MODE_SENSE_10 ->
          reply(task, pages.modeSense(cdb.get(2), true, readOnly), cdb.getShort(7) & 0xFFFF);
      case Cdb.READ_CAPACITY_10 ->
          reply(
              task,
              ByteBuffer.allocate(8)
                  .putInt((int) Math.min(blocks - 1, 0xFFFFFFFFL))
                  .putInt(blockSize)
                  .array(),
              8);
      case Cdb.SERVICE_ACTION_IN_16 -> serviceAction(task, cdb);
      case Cdb.READ_6 -> read(task, cdb.getInt(0) & 0x1FFFFF, short6(cdb));
      case Cdb.READ_10 -> read(task, cdb.getInt(2) & 0xFFFFFFFFL, cdb.getShort(7) & 0xFFFF);
      case Cdb.READ_16 -> read(task, cdb.getLong(2), cdb.getInt(10) & 0xFFFFFFFFL);
      case Cdb.WRITE_6 -> write(task, cdb.getInt(0) & 0x1FFFFF, short6(cdb), false);
      case Cdb.WRITE_10 ->
          write(task, cdb.getInt(2) & 0xFFFFFFFFL, cdb.getShort(7) & 0xFFFF, fua(cdb));
      case Cdb.WRITE_16 -> write(task, cdb.getLong(2), cdb.getInt(10) & 0xFFFFFFFFL, fua(cdb));
      case Cdb.SYNCHRONIZE_CACHE_10, Cdb.SYNCHRONIZE_CACHE_16 ->
          then(task, backend.flush(), 0, true);
      case Cdb.UNMAP -> provisioning.unmap(task, cdb);
      case Cdb.WRITE_SAME_10 ->
          provisioning.writeSame(
              task, cdb.getInt(2) & 0xFFFFFFFFL, cdb.getShort(7) & 0xFFFF, false);
      case Cdb.WRITE_SAME_16 ->
          provisioning.writeSame(
              task, cdb.getLong(2), cdb.getInt(10) & 0xFFFFFFFFL, (cdb.get(1) & 1) != 0);
      default -> throw new Check(Sense.INVALID_OPCODE);
    }
  }

  private static boolean transfers(int opcode) {
    return switch (opcode) {
      case Cdb.READ_10,
          Cdb.READ_16,
          Cdb.WRITE_10,
          Cdb.WRITE_16,
          Cdb.WRITE_SAME_10,
          Cdb.WRITE_SAME_16 ->
          true;
      default -> false;
    };
  }

  private static int short6(ByteBuffer cdb) {
    int count = cdb.get(4) & 0xFF;
    return count == 0 ? 256 : count;
  }

  private static boolean fua(ByteBuffer cdb) {
    return (cdb.get(1) & FUA) != 0;
  }

  void good(Task task, int used) {
    connection.answer(task, Status.GOOD, new Sense(Sense.NO_SENSE, 0), used);
  }

  private void reply(Task task, byte[] data, long allocation) {
    int full = (int) Math.min(allocation, data.length);
    if (task.command.read() && task.command.length() > 0) {
      task.data().put(0, data, 0, Math.min(full, task.command.length()));
    }
    connection.answerData(task, full);
  }

  private void inquiry(Task task, boolean disk, boolean controller) throws Check {
    ByteBuffer cdb = task.cdb();
    boolean vital = (cdb.get(1) & 1) != 0;
    int page = cdb.get(2) & 0xFF;
    if (!vital && page != 0) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    byte[] data =
        vital
            ? (disk ? pages.vital(page) : null)
            : pages.standard(disk ? 0x00 : controller ? 0x0C : 0x7F);
    if (data == null) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    reply(task, data, cdb.getShort(3) & 0xFFFF);
  }

  private void serviceAction(Task task, ByteBuffer cdb) throws Check {
    switch (cdb.get(1) & 0x1F) {
      case Cdb.SA_READ_CAPACITY_16 -> {
        ByteBuffer data = ByteBuffer.allocate(32).putLong(0, blocks - 1).putInt(8, blockSize);
        data.put(14, (byte) (target.export.thin() ? 0xC0 : 0));
        reply(task, data.array(), cdb.getInt(10) & 0xFFFFFFFFL);
      }
      case Cdb.SA_GET_LBA_STATUS -> provisioning.lbaStatus(task, cdb.getLong(2), cdb.getInt(10));
      default -> throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
  }

  void range(long lba, long count) throws Check {
    if (lba < 0 || lba > blocks || count > blocks - lba) {
      throw new Check(Sense.LBA_OUT_OF_RANGE);
    }
  }

  void writable() throws Check {
    if (readOnly) {
      throw new Check(Sense.WRITE_PROTECTED);
    }
  }

  private int transfer(long lba, long count, boolean right) throws Check {
    range(lba, count);
    long length = count * blockSize;
    if (length > MAX_TRANSFER || (length > 0 && !right)) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    return (int) length;
  }

  private void read(Task task, long lba, long count) throws Check {
    int length = transfer(lba, count, task.command.read());
    int wanted = Math.min(length, task.command.length());
    if (length == 0) {
      good(task, 0);
      return;
    }
    if (wanted == 0 || wanted % blockSize != 0) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    CompletableFuture<Void> done = pieces(task.data(), lba * blockSize, 0, wanted, false);
    done.whenComplete((ok, failure) ->
        service
            .loop()
            .execute(() -> {
              if (failure == null) {
                connection.answerData(task, length);
              } else {
                failed(task, failure, false);
              }
            }));
  }

  private void write(Task task, long lba, long count, boolean fua) throws Check {
    int length = transfer(lba, count, task.command.write());
    writable();
    if (length == 0) {
      good(task, 0);
      return;
    }
    if (length > task.command.length()) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    CompletableFuture<Void> done = pieces(task.data(), lba * blockSize, 0, length, true);
    then(task, fua ? done.thenCompose(ok -> backend.flush()) : done, length, true);
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

  void then(Task task, CompletableFuture<Void> done, int used, boolean write) {
    done.whenComplete((ok, failure) ->
        service
            .loop()
            .execute(() -> {
              if (failure == null) {
                good(task, used);
              } else {
                failed(task, failure, write);
              }
            }));
  }

  /** Answers with data that the backend has yet to give. */
  void replyLater(Task task, CompletableFuture<byte[]> data, long allocation) {
    data.whenComplete((bytes, failure) ->
        service
            .loop()
            .execute(() -> {
              if (failure == null) {
                reply(task, bytes, allocation);
              } else {
                failed(task, failure, false);
              }
            }));
  }

  private void failed(Task task, Throwable failure, boolean write) {
    Throwable cause =
        failure instanceof CompletionException && failure.getCause() != null
            ? failure.getCause()
            : failure;
    log.warn("{}: {}", target.export.iqn(), cause.getMessage());
    BlockException.Kind kind =
        cause instanceof BlockException block ? block.kind() : BlockException.Kind.IO;
    switch (kind) {
      case BUSY -> connection.answer(task, Status.BUSY, new Sense(Sense.NO_SENSE, 0), 0);
      case NO_SPACE -> check(task, Sense.SPACE_ALLOCATION_FAILED);
      case READ_ONLY -> check(task, Sense.WRITE_PROTECTED);
      case OUT_OF_RANGE -> check(task, Sense.LBA_OUT_OF_RANGE);
      case IO, TIMEOUT, LOST, RESET, CLOSED, PROTOCOL, ACCESS ->
          check(task, write ? Sense.WRITE_ERROR : Sense.READ_ERROR);
    }
  }
}
