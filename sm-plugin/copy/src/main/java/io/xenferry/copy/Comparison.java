package io.xenferry.copy;

import io.xenferry.block.Range;
import io.xenferry.copy.WriteOrderingPoint.Defect;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;

/**
 * Asks a destination that may hold much of a disk already what it holds, some way ahead of the
 * copier, so that only what differs is sent. An answer counts for the blocks that this copy has not
 * written, and as long as the destination was not lost: one that was reset may have lost what it
 * had told of, and is asked again. Of all others, and where no answer comes, the copier sends what
 * it has. Confined to the job's scheduler.
 */
final class Comparison {
  /** Asked about at once: 16 MiB of blocks of 64 KiB. */
  private static final int CHUNK = 256;

  /** Chunks that are remembered: what 64 transfers are about, most of them, and what comes next. */
  private static final int REMEMBERED = 96;

  private static final Duration DEADLINE = Duration.ofSeconds(30);

  private final WriteOrderingPoint point;
  private final DestinationDigests digests;
  private final Scheduler scheduler;
  private final Map<Integer, Chunk> chunks = new LinkedHashMap<>();
  private boolean ended;

  /** What the destination holds of some blocks, as far as it has told. */
  interface Held {
    /** Nothing is known. */
    Held UNKNOWN =
        new Held() {
          @Override
          public boolean told(int block) {
            return false;
          }

          @Override
          public boolean holds(int block, Optional<byte[]> hash) {
            return false;
          }
        };

    /** Whether it has told what the block holds, and this copy has not written it since. */
    boolean told(int block);

    /**
     * Whether the block holds what was hashed.
     *
     * @param hash by SHA-256, empty for zeroes
     */
    boolean holds(int block, Optional<byte[]> hash);
  }

  Comparison(WriteOrderingPoint point, DestinationDigests digests, Scheduler scheduler) {
    this.point = point;
    this.digests = digests;
    this.scheduler = scheduler;
  }

  /** Nothing more is compared. */
  void end() {
    ended = true;
    chunks.clear();
  }

  /** What the destination holds there; completes on the scheduler, and never fails. */
  CompletableFuture<Held> ask(int first, int end) {
    if (ended) {
      return CompletableFuture.completedFuture(Held.UNKNOWN);
    }
    int last = (end - 1) / CHUNK;
    CompletableFuture<Void> all = CompletableFuture.completedFuture(null);
    Map<Integer, Chunk> asked = new LinkedHashMap<>();
    for (int number = first / CHUNK; number <= last; number++) {
      Chunk chunk = chunk(number);
      asked.put(number, chunk);
      all = all.thenCombine(chunk.done, (a, b) -> null);
    }
    if ((last + 1) * CHUNK < point.map().count()) {
      chunk(last + 1); // is needed next
    }
    return all.thenApply(done -> new Told(asked));
  }

  private Chunk chunk(int number) {
    Chunk known = chunks.get(number);
    if (known != null && known.counts()) {
      return known;
    }
    chunks.remove(number);
    Chunk fresh = new Chunk(number * CHUNK);
    chunks.put(number, fresh);
    if (chunks.size() > REMEMBERED) {
      chunks.remove(chunks.keySet().iterator().next());
    }
    scheduler.schedule(DEADLINE, () -> fresh.done.complete(null));
    fresh.askFrom(fresh.first);
    return fresh;
  }

  private OptionalLong generation() {
    Destination to = point.destination();
    return to == null ? OptionalLong.empty() : OptionalLong.of(to.generation());
  }

  private final class Chunk {
    final int first;
    final int end;
    final CompletableFuture<Void> done = new CompletableFuture<>();

    /** Of the destination that is asked; empty where there is none. */
    private final OptionalLong generation = generation();

    /** By block; of those that are told of and are not here, zeroes. */
    private final Map<Integer, byte[]> hashes = new HashMap<>();

    /** All before it are told of. */
    private int toldUntil;

    Chunk(int first) {
      this.first = first;
      this.end = Math.min(point.map().count(), first + CHUNK);
      this.toldUntil = first;
    }

    void askFrom(int block) {
      BlockMap map = point.map();
      Range range = new Range(map.offset(block), map.bytes(block, end));
      Requests.digests(digests, range, map.blockSize(), Digest.SHA_256)
          .whenComplete((told, failure) ->
              scheduler.execute(() -> {
                if (told == null) {
                  ended |= CopyException.cause(failure) instanceof UnsupportedOperationException;
                  done.complete(null);
                } else if (!done.isDone()) {
                  take(told);
                }
              }));
    }

    private void take(BlockHashes told) {
      int count = Math.min(told.count(), end - toldUntil);
      for (int i = 0; i < count; i++) {
        int block = toldUntil + i;
        told.of(i).ifPresent(hash -> hashes.put(block, hash));
      }
      toldUntil += count;
      if (toldUntil >= end) {
        done.complete(null);
      } else {
        askFrom(toldUntil);
      }
    }

    boolean told(int block) {
      return block < toldUntil && counts();
    }

    /** Whether the destination was there throughout. */
    boolean counts() {
      return point.hasDefect(Defect.TOLD_BEFORE_LOSS)
          || generation.isPresent() && generation.equals(generation());
    }

    boolean holds(int block, Optional<byte[]> hash) {
      byte[] here = hashes.get(block);
      return here == null ? hash.isEmpty() : hash.isPresent() && Arrays.equals(here, hash.get());
    }
  }

  private final class Told implements Held {
    private final Map<Integer, Chunk> chunks;

    Told(Map<Integer, Chunk> chunks) {
      this.chunks = chunks;
    }

    @Override
    public boolean told(int block) {
      Chunk chunk = chunks.get(block / CHUNK);
      return chunk != null && chunk.told(block) && !point.writtenHere(block);
    }

    @Override
    public boolean holds(int block, Optional<byte[]> hash) {
      Chunk chunk = chunks.get(block / CHUNK);
      return chunk != null && told(block) && chunk.holds(block, hash);
    }
  }
}
