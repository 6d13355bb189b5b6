package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.guest.ledger.DiskBlock;
import io.xenferry.guest.ledger.LedgerEntry;
import io.xenferry.guest.ledger.LedgerEntry.Type;
import io.xenferry.guest.ledger.LedgerWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ThreadLocalRandom;
import java.util.zip.CRC32C;

/**
 * Writes numbered blocks at random places while the gate is open, and notes each in the ledger once
 * its disk has acknowledged it. Its state (next number, random state) is part of the guest's
 * memory.
 */
final class Workload {
  /** Writes never cross a chunk, and no two in flight are in the same. */
  private static final int CHUNK = 64 << 10;

  private static final int[] BLOCKS = {1, 1, 2, 4, 8, 16};

  private record Write(UUID vm, long sequence, GuestDisk disk, long offset, int blocks) {
    long chunk() {
      return ((long) disk.index << 44) | offset / CHUNK;
    }
  }

  private final List<GuestDisk> disks;

  /** A disk is not taken away in the midst of a flush. */
  private final Object flushing = new Object();

  private final LedgerWriter ledger;
  private final RunGate gate;
  private final Throttle throttle;
  private final Throttle writes;
  private final long span;
  private final long runner = ThreadLocalRandom.current().nextLong(1, Long.MAX_VALUE);
  private final Throttle rate;

  // Guarded by this.
  private UUID vm;
  private long sequence;
  private long random;
  private final Set<Long> busyChunks = new HashSet<>();
  private final TreeSet<Long> inFlight = new TreeSet<>();

  /**
   * @param throttle to how many bytes a second the hypervisor was told to slow the guest
   * @param writes to how many writes
   */
  Workload(
      GuestSettings settings,
      List<GuestDisk> disks,
      LedgerWriter ledger,
      RunGate gate,
      Throttle throttle,
      Throttle writes)
      throws IOException {
    this.vm = settings.vm();
    this.disks =
        new CopyOnWriteArrayList<>(
            disks.stream().filter(d -> d.writable() && d.size >= CHUNK).toList());
    this.ledger = ledger;
    this.gate = gate;
    this.throttle = throttle;
    this.writes = writes;
    this.span = settings.number("workload-span", Long.MAX_VALUE);
    this.random = settings.number("workload-seed", vm.getLeastSignificantBits());
    long bytesPerSecond = settings.number("workload-rate", 4 << 20);
    this.rate = new Throttle(Math.max(0, bytesPerSecond));
    this.sequence = 1;
    if (bytesPerSecond != 0 && !this.disks.isEmpty()) {
      int depth = (int) Math.clamp(settings.number("workload-depth", 2), 1, 32);
      for (int i = 0; i < depth; i++) {
        Thread.ofPlatform().daemon().name("writer-" + i).start(this::writeLoop);
      }
      long pause = Math.max(1, settings.number("workload-flush", 500));
      Thread.ofPlatform().daemon().name("flusher").start(() -> flushLoop(pause));
    }
  }

  /** Continues behind everything that an earlier guest may have written. */
  synchronized void continueAfter(long lastSequence) {
    // Far beyond what was in flight unacknowledged when that guest died, so that a block that is
    // newer than the ledger can never be taken for a later one.
    sequence = lastSequence == 0 ? 1 : lastSequence + 1_000_000;
  }

  synchronized void save(ObjectNode state) {
    state.put("vm", vm.toString()).put("sequence", sequence).put("random", random);
  }

  synchronized void load(JsonNode state) throws IOException {
    if (!state.path("sequence").isIntegralNumber() || !state.path("random").isIntegralNumber()) {
      throw new IOException("the workload's state is missing");
    }
    sequence = state.path("sequence").asLong();
    random = state.path("random").asLong();
    try {
      // The guest does not know when its host gives it another uuid.
      vm = UUID.fromString(state.path("vm").asText());
    } catch (IllegalArgumentException e) {
      throw new IOException("the workload's state has no uuid", e);
    }
  }

  /** Notes that the guest begins to run here, before it does. */
  void started() throws IOException {
    long next;
    synchronized (this) {
      next = sequence;
    }
    note(Type.START, 0, (int) ProcessHandle.current().pid(), 0, next, 0);
    ledger.sync();
  }

  /** Notes that the guest stands still; the gate is closed. */
  void stopped() throws IOException {
    note(Type.STOP, 0, (int) ProcessHandle.current().pid(), 0, 0, 0);
    ledger.sync();
  }

  private void note(Type type, int disk, int length, long offset, long number, int checksum)
      throws IOException {
    ledger.append(
        new LedgerEntry(
            type,
            disk,
            length,
            offset,
            number,
            runner,
            System.nanoTime(),
            LedgerEntry.wallNow(),
            checksum));
  }

  private void writeLoop() {
    ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
    try {
      // What is unplugged does not come back.
      while (!disks.isEmpty()) {
        gate.enter();
        int bytes;
        try {
          bytes = writeOne(buffer);
        } finally {
          gate.leave();
        }
        rate.pass(bytes);
        throttle.pass(bytes);
        writes.pass(1);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (IOException | RuntimeException e) {
      Failure.end("a disk or its ledger failed", e);
    }
  }

  private int writeOne(ByteBuffer buffer) throws IOException {
    Optional<Write> begun = begin();
    if (begun.isEmpty()) {
      return 0;
    }
    Write write = begun.get();
    try {
      buffer.clear();
      for (int i = 0; i < write.blocks; i++) {
        long number = write.offset / DiskBlock.SIZE + i;
        new DiskBlock(DiskBlock.Kind.WRITE, write.disk.index, number, write.sequence, write.vm)
            .put(buffer);
      }
      buffer.flip();
      CRC32C crc = new CRC32C();
      crc.update(buffer.duplicate());
      int length = buffer.remaining();
      write.disk.write(write.offset, buffer);
      note(
          Type.WRITE, write.disk.index, length, write.offset, write.sequence, (int) crc.getValue());
      return length;
    } finally {
      end(write);
    }
  }

  /** Writes no more to a disk; returns when no write to it is in flight. */
  void leave(GuestDisk disk) {
    synchronized (flushing) {
      disks.remove(disk);
    }
    try {
      awaitIdle(disk);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private synchronized void awaitIdle(GuestDisk disk) throws InterruptedException {
    while (busyChunks.stream().anyMatch(chunk -> chunk >>> 44 == disk.index)) {
      wait();
    }
  }

  /** Empty when the last disk has been unplugged. */
  private synchronized Optional<Write> begin() {
    while (!disks.isEmpty()) {
      GuestDisk disk = disks.get((int) below(disks.size()));
      long chunks = Math.max(1, Math.min(disk.size, span) / CHUNK);
      long chunk = below(chunks);
      int blocks = BLOCKS[(int) below(BLOCKS.length)];
      long first = below(CHUNK / DiskBlock.SIZE - blocks + 1);
      Write write = new Write(vm, sequence, disk, chunk * CHUNK + first * DiskBlock.SIZE, blocks);
      if (busyChunks.add(write.chunk())) {
        inFlight.add(sequence);
        sequence++;
        return Optional.of(write);
      }
    }
    return Optional.empty();
  }

  private synchronized void end(Write write) {
    busyChunks.remove(write.chunk());
    inFlight.remove(write.sequence);
    notifyAll();
  }

  private long below(long bound) {
    random = random * 6364136223846793005L + 1442695040888963407L;
    long mixed = (random ^ (random >>> 33)) * 0xff51afd7ed558ccdL;
    return Long.remainderUnsigned(mixed ^ (mixed >>> 33), bound);
  }

  private void flushLoop(long pauseMillis) {
    try {
      while (true) {
        Thread.sleep(pauseMillis);
        for (GuestDisk disk : disks) {
          gate.enter();
          try {
            long all;
            synchronized (this) {
              all = inFlight.isEmpty() ? sequence - 1 : inFlight.first() - 1;
            }
            synchronized (flushing) {
              if (disks.contains(disk)) {
                disk.flush();
                note(Type.FLUSH, disk.index, 0, 0, all, 0);
              }
            }
          } finally {
            gate.leave();
          }
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (IOException | RuntimeException e) {
      Failure.end("a disk or its ledger failed", e);
    }
  }
}
