package io.xenferry.iscsi.embedded;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.iscsi.embedded.MediumAccess.Miscompare;
import io.xenferry.iscsi.embedded.Reservations.Conflict;
import io.xenferry.iscsi.embedded.SupportedCommands.Access;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.scsi.Sense;
import io.xenferry.iscsi.scsi.Status;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The SCSI commands of one session's disk (SPC-4, SBC-3): what may be done now, by which class, and
 * how it is answered. Unit 0 is a controller without media, as tgtd has it, so that tools which
 * look there first find something. Confined to the loop; the backend's completions come back to it.
 */
final class DiskCommands {
  private static final Logger log = LoggerFactory.getLogger(DiskCommands.class);

  /** Bytes of one READ or WRITE; named in VPD page B0. */
  static final int MAX_TRANSFER = 1 << 22;

  /** What is taken all the same from an initiator that does not look there, as long as it fits. */
  static final int MAX_ACCEPTED = 1 << 25;

  private static final int PAGE = 4096;

  private final ServedTarget target;
  private final TargetConnection connection;
  private final BlockBackend backend;
  private final EmbeddedTargetService service;
  private final InquiryPages pages;
  private final Provisioning provisioning;
  private final MediumAccess medium;
  private final int blockSize;
  private final long blocks;
  private final boolean readOnly;

  DiskCommands(ServedTarget target, TargetConnection connection, EmbeddedTargetService service) {
    this.target = target;
    this.connection = connection;
    this.backend = target.backend;
    this.service = service;
    this.blockSize = target.blockSize;
    this.blocks = backend.size() / blockSize;
    this.readOnly = backend.readOnly() || target.export.readOnly();
    this.pages = new InquiryPages(target.export, blockSize);
    this.provisioning = new Provisioning(this, target, blocks);
    this.medium = new MediumAccess(this, backend, target.order, connection.buffers(), blockSize);
  }

  /** A command that ends with CHECK CONDITION. */
  static final class Check extends Exception {
    private static final long serialVersionUID = 1L;
    final transient Sense sense;

    /** Bytes that the command was about, where the initiator is told a residual count too. */
    final int length;

    Check(Sense sense) {
      this(sense, 0);
    }

    Check(Sense sense, int length) {
      super(sense.toString(), null, false, false);
      this.sense = sense;
      this.length = length;
    }
  }

  void execute(Task task) {
    try {
      run(task);
    } catch (Check e) {
      connection.answer(task, Status.CHECK_CONDITION, e.sense, e.length);
    } catch (Conflict e) {
      refuse(task, Status.RESERVATION_CONFLICT);
    }
  }

  private void check(Task task, Sense sense) {
    connection.answer(task, Status.CHECK_CONDITION, sense, 0);
  }

  /** A status without sense data. */
  void refuse(Task task, int status) {
    connection.answer(task, status, new Sense(Sense.NO_SENSE, 0), 0);
  }

  /** The number in SAM's LUN field, or −1 for what is no simple number. */
  static int unit(long lun) {
    boolean plain = (lun & 0x0000FFFFFFFFFFFFL) == 0;
    int method = (int) (lun >>> 62);
    int number = (int) (lun >>> 48) & (method == 0 ? 0xFFFF : 0x3FFF);
    return plain && method < 2 ? number : -1;
  }

  private void run(Task task) throws Check, Conflict {
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
        Sense told = connection.takeAttention();
        Sense sense = told == null ? new Sense(Sense.NO_SENSE, 0) : told;
        boolean descriptor = (task.cdb().get(1) & 1) != 0;
        reply(task, sense.toBytes(descriptor), task.cdb().get(4) & 0xFF);
        return;
      }
      default -> {}
    }
    Sense told = connection.takeAttention();
    if (told != null) {
      throw new Check(told);
    }
    if (!disk) {
      if (unit == 0 && opcode == Cdb.TEST_UNIT_READY) {
        good(task, 0);
        return;
      }
      throw new Check(unit == 0 ? Sense.INVALID_OPCODE : Sense.NO_SUCH_LUN);
    }
    Access access =
        SupportedCommands.access(opcode).orElseThrow(() -> new Check(Sense.INVALID_OPCODE));
    target.reservations.check(connection.nexus(), access);
    ByteBuffer cdb = task.cdb();
    if (transfers(opcode) && (cdb.get(1) & 0xE0) != 0) {
      // No protection information here (SBC-3 §4.22).
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    command(task, opcode, cdb);
  }

  private void command(Task task, int opcode, ByteBuffer cdb) throws Check, Conflict {
    switch (opcode) {
      case Cdb.TEST_UNIT_READY -> good(task, 0);
      case Cdb.START_STOP_UNIT -> startStop(task, cdb);
      case Cdb.MODE_SENSE_6 ->
          reply(task, target.modes.sense(cdb, false, readOnly), cdb.get(4) & 0xFF);
      case Cdb.MODE_SENSE_10 ->
          reply(task, target.modes.sense(cdb, true, readOnly), cdb.getShort(7) & 0xFFFF);
      case Cdb.MODE_SELECT_6 -> modeSelect(task, cdb, false, cdb.get(4) & 0xFF);
      case Cdb.MODE_SELECT_10 -> modeSelect(task, cdb, true, cdb.getShort(7) & 0xFFFF);
      case Cdb.READ_CAPACITY_10 ->
          reply(
              task,
              ByteBuffer.allocate(8)
                  .putInt((int) Math.min(blocks - 1, 0xFFFFFFFFL))
                  .putInt(blockSize)
                  .array(),
              8);
      case Cdb.SERVICE_ACTION_IN_16 -> serviceAction(task, cdb);
      case Cdb.READ_6, Cdb.READ_10, Cdb.READ_12, Cdb.READ_16 -> medium.read(task);
      case Cdb.WRITE_6, Cdb.WRITE_10, Cdb.WRITE_12, Cdb.WRITE_16 -> medium.write(task);
      case Cdb.VERIFY_10, Cdb.VERIFY_12, Cdb.VERIFY_16 -> medium.verify(task);
      case Cdb.WRITE_AND_VERIFY_10, Cdb.WRITE_AND_VERIFY_12, Cdb.WRITE_AND_VERIFY_16 ->
          medium.writeAndVerify(task);
      case Cdb.COMPARE_AND_WRITE -> medium.compareAndWrite(task);
      case Cdb.ORWRITE_16 -> medium.orWrite(task);
      case Cdb.PRE_FETCH_10, Cdb.PRE_FETCH_16 -> medium.prefetch(task);
      case Cdb.SYNCHRONIZE_CACHE_10, Cdb.SYNCHRONIZE_CACHE_16 -> {
        range(MediumAccess.lba(cdb), MediumAccess.count(cdb));
        then(task, backend.flush(), 0, true);
      }
      case Cdb.READ_DEFECT_DATA_10, Cdb.READ_DEFECT_DATA_12 -> defects(task, cdb);
      case Cdb.UNMAP -> provisioning.unmap(task, cdb);
      case Cdb.WRITE_SAME_10 ->
          provisioning.writeSame(task, MediumAccess.lba(cdb), MediumAccess.count(cdb), false);
      case Cdb.WRITE_SAME_16 ->
          provisioning.writeSame(
              task, MediumAccess.lba(cdb), MediumAccess.count(cdb), (cdb.get(1) & 1) != 0);
      case Cdb.MAINTENANCE_IN -> {
        if ((cdb.get(1) & 0x1F) != Cdb.SA_REPORT_SUPPORTED_OPCODES) {
          throw new Check(Sense.INVALID_FIELD_IN_CDB);
        }
        reply(task, SupportedCommands.report(cdb), cdb.getInt(6) & 0xFFFFFFFFL);
      }
      case Cdb.RESERVE_6, Cdb.RESERVE_10 -> {
        requireSimple(cdb);
        target.reservations.reserve(connection.nexus());
        good(task, 0);
      }
      case Cdb.RELEASE_6, Cdb.RELEASE_10 -> {
        requireSimple(cdb);
        target.reservations.release(connection.nexus());
        good(task, 0);
      }
      case Cdb.PERSISTENT_RESERVE_IN ->
          reply(
              task,
              target.reservations.in(connection.nexus(), cdb.get(1) & 0x1F),
              cdb.getShort(7) & 0xFFFF);
      case Cdb.PERSISTENT_RESERVE_OUT -> {
        ByteBuffer list = parameters(task, Integer.MAX_VALUE);
        CompletableFuture<Void> quiet =
            target.abort(target.reservations.out(connection.nexus(), cdb, list), task);
        then(task, quiet, list.limit(), true);
      }
      default -> throw new Check(Sense.INVALID_OPCODE);
    }
  }

  private static boolean transfers(int opcode) {
    return switch (opcode) {
      case Cdb.READ_10,
          Cdb.READ_12,
          Cdb.READ_16,
          Cdb.WRITE_10,
          Cdb.WRITE_12,
          Cdb.WRITE_16,
          Cdb.VERIFY_10,
          Cdb.VERIFY_12,
          Cdb.VERIFY_16,
          Cdb.WRITE_AND_VERIFY_10,
          Cdb.WRITE_AND_VERIFY_12,
          Cdb.WRITE_AND_VERIFY_16,
          Cdb.COMPARE_AND_WRITE,
          Cdb.ORWRITE_16,
          Cdb.WRITE_SAME_10,
          Cdb.WRITE_SAME_16 ->
          true;
      default -> false;
    };
  }

  /** No third party, no extents: they went out of the standards long ago. */
  private static void requireSimple(ByteBuffer cdb) throws Check {
    if ((cdb.get(1) & 0x1F) != 0) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
  }

  /** The parameter list, as much of it as came. */
  private ByteBuffer parameters(Task task, int length) {
    int n = task.command.write() ? Math.min(length, task.received) : 0;
    return n == 0 ? ByteBuffer.allocate(0) : task.data().slice(0, n);
  }

  /** A disk without a motor stops by writing its cache out; what has no media cannot eject them. */
  private void startStop(Task task, ByteBuffer cdb) throws Check {
    if ((cdb.get(4) & 0xF2) != 0) {
      throw new Check(Sense.INVALID_FIELD_IN_CDB);
    }
    boolean start = (cdb.get(4) & 1) != 0;
    then(task, start ? CompletableFuture.completedFuture(null) : backend.flush(), 0, true);
  }

  private void modeSelect(Task task, ByteBuffer cdb, boolean ten, int length) throws Check {
    ByteBuffer list = parameters(task, length);
    if (list.limit() < length) {
      throw new Check(Sense.PARAMETER_LIST_LENGTH);
    }
    if (target.modes.select(cdb, ten, list)) {
      target.tellOthers(connection, Sense.MODE_PARAMETERS_CHANGED);
    }
    good(task, length);
  }

  /** No list has an entry; the format is that of block addresses (SBC-3 §5.15, §5.16). */
  private void defects(Task task, ByteBuffer cdb) {
    boolean ten = task.opcode() == Cdb.READ_DEFECT_DATA_10;
    byte asked = cdb.get(ten ? 2 : 1);
    byte[] header = new byte[ten ? 4 : 8];
    header[1] = (byte) (asked & 0x1F);
    reply(task, header, ten ? cdb.getShort(7) & 0xFFFF : cdb.getInt(6) & 0xFFFFFFFFL);
  }

  void good(Task task, int used) {
    connection.answer(task, Status.GOOD, new Sense(Sense.NO_SENSE, 0), used);
  }

  /** GOOD with what is in the task's buffer. */
  void goodData(Task task, int length) {
    connection.answerData(task, length);
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
        // Files and their caches are made of pages of 4 KiB.
        int blocksOfPage = Math.max(1, PAGE / blockSize);
        data.put(13, (byte) Integer.numberOfTrailingZeros(blocksOfPage));
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
    if (target.modes.writeProtect()) {
      throw new Check(Sense.SOFTWARE_WRITE_PROTECTED);
    }
  }

  void then(Task task, CompletableFuture<Void> done, int used, boolean write) {
    done.whenComplete((ok, failure) ->
        service.onTheLoop(() -> {
          if (failure == null) {
            good(task, used);
          } else {
            failed(task, failure, write);
          }
        }));
  }

  /** Answers with the task's buffer once it is filled. */
  void thenData(Task task, CompletableFuture<Void> done, int length) {
    done.whenComplete((ok, failure) ->
        service.onTheLoop(() -> {
          if (failure == null) {
            connection.answerData(task, length);
          } else {
            failed(task, failure, false);
          }
        }));
  }

  /** Answers with data that the backend has yet to give. */
  void replyLater(Task task, CompletableFuture<byte[]> data, long allocation) {
    data.whenComplete((bytes, failure) ->
        service.onTheLoop(() -> {
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
    if (cause instanceof Miscompare miscompare) {
      check(task, Sense.MISCOMPARE.at(miscompare.at));
      return;
    }
    log.warn("{}: {}", target.export.iqn(), cause.getMessage());
    BlockException.Kind kind =
        cause instanceof BlockException block ? block.kind() : BlockException.Kind.IO;
    switch (kind) {
      case BUSY -> refuse(task, Status.BUSY);
      case NO_SPACE -> check(task, Sense.SPACE_ALLOCATION_FAILED);
      case READ_ONLY -> check(task, Sense.WRITE_PROTECTED);
      case OUT_OF_RANGE -> check(task, Sense.LBA_OUT_OF_RANGE);
      case IO, TIMEOUT, LOST, RESET, CLOSED, PROTOCOL, ACCESS ->
          check(task, write ? Sense.WRITE_ERROR : Sense.READ_ERROR);
    }
  }
}
