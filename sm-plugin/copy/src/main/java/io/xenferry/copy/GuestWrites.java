package io.xenferry.copy;

import static java.util.Objects.requireNonNull;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.copy.Flight.GuestWrite;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.copy.WriteOrderingPoint.Defect;
import io.xenferry.copy.WriteOrderingPoint.Policy;
import io.xenferry.copy.WriteOrderingPoint.Timing;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * What happens to a guest's write at the write-ordering point: it waits for those before it to the
 * same bytes, is marked in the log, goes to one disk or both, and is answered. Confined to the
 * point's scheduler.
 */
final class GuestWrites {
  private final WriteOrderingPoint point;
  private final BlockBooks books;
  private final BlockMap map;
  private final @Nullable BlockBackend guestDisk;
  private final Scheduler scheduler;
  private final Timing timing;

  GuestWrites(
      WriteOrderingPoint point,
      BlockBooks books,
      Optional<BlockBackend> guestDisk,
      Scheduler scheduler,
      Timing timing) {
    this.point = point;
    this.books = books;
    this.map = point.map();
    this.guestDisk = guestDisk.orElse(null);
    this.scheduler = scheduler;
    this.timing = timing;
  }

  /** Begins a write, or lets it wait for those before it to the same bytes. */
  CompletableFuture<Void> submit(
      GuestWrite.Kind kind, long offset, long length, @Nullable ByteBuffer data) {
    if (offset < 0 || length < 0 || length > map.size() - offset) {
      return CompletableFuture.failedFuture(
          new BlockException(BlockException.Kind.OUT_OF_RANGE, offset + "+" + length));
    }
    if (length == 0) {
      return CompletableFuture.completedFuture(null);
    }
    GuestWrite write = new GuestWrite(map, kind, offset, length, data);
    write.waiting = blockedByGuest(write);
    point.inFlight().add(write);
    if (!write.waiting) {
      begin(write);
    }
    return write.answer;
  }

  /** Whether an earlier guest's write to the same bytes is not answered yet. */
  private boolean blockedByGuest(GuestWrite write) {
    for (Flight flight : point.inFlight()) {
      if (flight == write) {
        return false;
      }
      if (flight instanceof GuestWrite earlier
          && !earlier.answered
          && earlier.overlapsBytes(write.offset, write.length)) {
        return true;
      }
    }
    return false;
  }

  private void begin(GuestWrite write) {
    write.mirrored = mayMirror(write);
    books.notHoles(write.firstBlock, write.endBlock);
    if (!write.mirrored) {
      books.setDirty(write.firstBlock, write.endBlock);
    }
    if (point.hasDefect(Defect.MARKED_LATE)) {
      issue(write);
      books.mark(write.firstBlock, write.endBlock);
      return;
    }
    CompletableFuture<Void> mark = books.mark(write.firstBlock, write.endBlock);
    if (mark.isDone() && !mark.isCompletedExceptionally()) {
      issue(write);
    } else {
      mark.whenComplete((done, failure) ->
          scheduler.execute(() -> {
            if (failure != null) {
              point.logFailed(failure);
            }
            issue(write);
          }));
    }
  }

  private boolean mayMirror(GuestWrite write) {
    Destination to = point.destination();
    if (point.policy() != Policy.MIRROR
        || to == null
        || point.logHasFailed()
        || write.kind == GuestWrite.Kind.TRIM) {
      return false;
    }
    if (!books.begun()) {
      return false; // after a crash nobody would know that the destination was written to
    }
    long alignment = to.backend().alignment();
    if (write.offset % alignment != 0 || write.length % alignment != 0) {
      return false;
    }
    if (books.allDirty(write.firstBlock, write.endBlock)) {
      return false; // the copier will bring all of it anyway
    }
    if (point.destinationIsLayered() && coversPartOfUnsent(write)) {
      return false; // the copier shall bring the whole block
    }
    for (Flight flight : point.inFlight()) {
      boolean inTheWay =
          switch (flight) {
            case Transfer transfer -> !point.hasDefect(Defect.COPIER_WITHOUT_LOCK);
            case GuestWrite other -> other.answered && other != write;
            default -> false;
          };
      if (inTheWay && flight.overlapsBlocks(write.firstBlock, write.endBlock)) {
        return false;
      }
    }
    return true;
  }

  /**
   * Whether there is a block that it covers in part and that the destination has from below, if at
   * all: a part of it would make it the destination's own, with zeroes for its rest.
   */
  private boolean coversPartOfUnsent(GuestWrite write) {
    int last = write.endBlock - 1;
    boolean lacksHead = write.offset > map.offset(write.firstBlock);
    boolean lacksTail =
        write.offset + write.length < map.offset(last) + map.bytes(last, write.endBlock);
    return (lacksHead && !books.sentWhole(write.firstBlock))
        || (lacksTail && !books.sentWhole(last));
  }

  private void issue(GuestWrite write) {
    Destination to = point.destination();
    if (write.mirrored && (to == null || point.logHasFailed())) {
      write.mirrored = false;
      books.setDirty(write.firstBlock, write.endBlock);
    }
    if (write.mirrored && to != null) {
      write.generation = to.generation();
      write.issued = scheduler.nanoTime();
      write.destinationWrites = 1;
      books.touch(write.firstBlock, write.endBlock);
      point.unverified().hashes().forget(write.firstBlock, write.endBlock);
      point.unverified().writing(write.firstBlock, write.endBlock);
      point.watch();
      request(to.backend(), write)
          .whenComplete((done, failure) ->
              scheduler.execute(
                  () -> destinationDone(write, CopyException.blockFailureOrNull(failure))));
      scheduler.schedule(timing.mirrorDeadline(), () -> mirrorOverdue(write));
    }
    BlockBackend disk = guestDisk;
    if (disk == null) {
      sourceDone(write, null);
    } else {
      request(disk, write)
          .whenComplete((done, failure) ->
              scheduler.execute(
                  () -> sourceDone(write, CopyException.blockFailureOrNull(failure))));
    }
  }

  private static CompletableFuture<Void> request(BlockBackend disk, GuestWrite write) {
    return switch (write.kind) {
      case WRITE -> disk.write(write.offset, requireNonNull(write.data).duplicate());
      case ZERO -> disk.zero(write.offset, write.length);
      case TRIM -> disk.trim(write.offset, write.length);
    };
  }

  private void sourceDone(GuestWrite write, @Nullable BlockException failure) {
    write.sourceDone = true;
    write.sourceFailure = failure;
    if (failure != null || (!write.mirrored && !point.hasDefect(Defect.NOT_SET_AGAIN))) {
      books.setDirty(write.firstBlock, write.endBlock);
    }
    if (write.mirrored && write.arrived && failure == null) {
      arrived(write);
    }
    if (!write.mirrored || write.destinationWrites == 0 || write.overdue) {
      answer(write);
    }
  }

  private void destinationDone(GuestWrite write, @Nullable BlockException failure) {
    if (write.generation != point.lastGeneration() || point.destination() == null) {
      return; // settled when the destination was lost
    }
    write.destinationWrites = 0;
    write.arrived = failure == null;
    if (failure != null || write.answered) {
      books.setDirty(write.firstBlock, write.endBlock);
    } else if (write.sourceDone && write.sourceFailure == null) {
      arrived(write);
    }
    if (write.answered) {
      point.inFlight().remove(write);
    } else if (write.sourceDone) {
      answer(write);
    }
    if (failure != null) {
      point.fallBack("a mirrored write failed: " + failure.getMessage());
      point.destinationFailed(failure);
    }
  }

  /** On both: only now, since a flush of both disks must come after its completion on both. */
  private void arrived(GuestWrite write) {
    books.arrived(write.firstBlock, write.endBlock);
    point.unverified().mirrored(write.firstBlock, write.endBlock);
  }

  private void mirrorOverdue(GuestWrite write) {
    if (write.destinationWrites == 0 || write.answered) {
      return;
    }
    write.overdue = true;
    books.setDirty(write.firstBlock, write.endBlock);
    point.fallBack("the destination did not answer a mirrored write in time");
    if (write.sourceDone) {
      answer(write);
    }
  }

  /** The destination was lost under a write. */
  void lost(GuestWrite write) {
    if (write.destinationWrites > 0 || write.arrived) {
      write.destinationWrites = 0;
      write.arrived = false;
      books.setDirty(write.firstBlock, write.endBlock);
      write.mirrored = false;
      if (write.answered) {
        point.inFlight().remove(write);
      } else if (write.sourceDone) {
        answer(write);
      }
    }
  }

  private void answer(GuestWrite write) {
    if (write.answered) {
      return;
    }
    write.answered = true;
    if (write.destinationWrites == 0) {
      point.inFlight().remove(write);
    }
    for (Flight flight : List.copyOf(point.inFlight())) {
      if (flight instanceof GuestWrite next && next.waiting && !blockedByGuest(next)) {
        next.waiting = false;
        begin(next);
      }
    }
    if (write.sourceFailure != null) {
      write.answer.completeExceptionally(write.sourceFailure);
    } else {
      write.answer.complete(null);
    }
  }
}
