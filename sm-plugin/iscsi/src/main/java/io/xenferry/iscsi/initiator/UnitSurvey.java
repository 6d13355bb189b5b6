package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.iscsi.scsi.Capacity;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.scsi.Identity;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;

/**
 * A look at all units of a target in one session. Everything is asked of all of them at once: the
 * session's depth and the target's window alone bound what is under way. The whole look has the
 * options' time for one command.
 */
final class UnitSurvey {
  /** Of more no target was heard; the answers take a kibibyte and a half of each. */
  static final int MOST = 4096;

  private static final int INQUIRY_BYTES = 96;
  private static final int SERIAL_BYTES = 252;
  private static final int DESIGNATORS_BYTES = 1024;
  private static final int CAPACITY_BYTES = 32;

  private final Session session;
  private final IscsiOptions options;
  private final String name;
  private final long deadline;

  UnitSurvey(Session session, IscsiOptions options, String name) {
    this.session = session;
    this.options = options;
    this.name = name;
    this.deadline = System.nanoTime() + options.commandTimeout().toNanos();
  }

  /** What is asked of one unit. */
  private record Questions(
      int lun,
      CompletableFuture<Optional<ByteBuffer>> standard,
      CompletableFuture<Optional<ByteBuffer>> serial,
      CompletableFuture<Optional<ByteBuffer>> designators,
      CompletableFuture<Optional<ByteBuffer>> capacity) {}

  List<LogicalUnit> run() throws BlockException {
    List<Questions> asked = new ArrayList<>();
    for (long unit : listed()) {
      OptionalInt lun = number(unit);
      if (lun.isPresent()) {
        asked.add(
            new Questions(
                lun.getAsInt(),
                ask(unit, Cdb.inquiry(-1, INQUIRY_BYTES), INQUIRY_BYTES, Identity.LEAST),
                page(unit, 0x80, SERIAL_BYTES),
                page(unit, 0x83, DESIGNATORS_BYTES),
                capacity(unit)));
      }
    }
    List<LogicalUnit> units = new ArrayList<>();
    for (Questions of : asked) {
      Optional<ByteBuffer> standard = await(of.standard());
      Optional<ByteBuffer> serial = await(of.serial());
      Optional<ByteBuffer> designators = await(of.designators());
      OptionalLong size = await(of.capacity()).map(UnitSurvey::size).orElseGet(OptionalLong::empty);
      standard.ifPresent(data ->
          units.add(new LogicalUnit(of.lun(), Identity.of(data, serial, designators), size)));
    }
    BlockException dead = session.failure();
    if (dead != null) {
      throw dead;
    }
    units.sort(Comparator.comparingInt(LogicalUnit::lun));
    return units;
  }

  private long[] listed() throws BlockException {
    int most = 8 + 8 * MOST;
    ByteBuffer answer = ByteBuffer.allocate(most);
    int got =
        Waiting.await(session.ask(0, Cdb.reportLuns(most), answer), options.commandTimeout(), name);
    if (got < 8) {
      throw new BlockException(
          Kind.PROTOCOL, name + ": answer of " + got + " bytes to REPORT LUNS");
    }
    long said = (answer.getInt(0) & 0xFFFFFFFFL) / 8;
    long[] units = new long[(int) Math.min(said, (got - 8) / 8)];
    for (int i = 0; i < units.length; i++) {
      units[i] = answer.getLong(8 + 8 * i);
    }
    return units;
  }

  /** Peripheral and flat addresses of one level (SAM-5 §4.7.7); others no URL can name. */
  private static OptionalInt number(long unit) {
    int first = (int) (unit >>> 48);
    boolean oneLevel = (unit & 0xFFFFFFFFFFFFL) == 0;
    return switch (first >>> 14) {
      case 0 -> oneLevel && first < 256 ? OptionalInt.of(first) : OptionalInt.empty();
      case 1 -> oneLevel ? OptionalInt.of(first & 0x3FFF) : OptionalInt.empty();
      default -> OptionalInt.empty();
    };
  }

  private CompletableFuture<Optional<ByteBuffer>> page(long unit, int page, int allocation) {
    return ask(unit, Cdb.inquiry(page, allocation), allocation, 4)
        .thenApply(answer -> answer.filter(data -> (data.get(1) & 0xFF) == page));
  }

  /** READ CAPACITY(16), or (10) of a unit that does not know it; what has no medium says no. */
  private CompletableFuture<Optional<ByteBuffer>> capacity(long unit) {
    return ask(unit, Cdb.readCapacity16(CAPACITY_BYTES), CAPACITY_BYTES, Capacity.LEAST_16)
        .thenCompose(answer ->
            answer.isPresent()
                ? CompletableFuture.completedFuture(answer)
                : ask(unit, Cdb.readCapacity10(), Capacity.LEAST_10, Capacity.LEAST_10));
  }

  private static OptionalLong size(ByteBuffer answer) {
    Capacity capacity =
        answer.limit() >= Capacity.LEAST_16 ? Capacity.of16(answer) : Capacity.of10(answer);
    return capacity.sane() ? OptionalLong.of(capacity.bytes()) : OptionalLong.empty();
  }

  /** An answer as long as it came, empty when the unit refuses or says too little. */
  private CompletableFuture<Optional<ByteBuffer>> ask(
      long unit, byte[] cdb, int allocation, int least) {
    ByteBuffer answer = ByteBuffer.allocate(allocation);
    return session
        .ask(unit, cdb, answer)
        .handle((got, failure) ->
            failure == null && got >= least ? Optional.of(answer.limit(got)) : Optional.empty());
  }

  private Optional<ByteBuffer> await(CompletableFuture<Optional<ByteBuffer>> answer)
      throws BlockException {
    long left = Math.max(0, deadline - System.nanoTime());
    return Waiting.await(answer, Duration.ofNanos(left), name);
  }
}
