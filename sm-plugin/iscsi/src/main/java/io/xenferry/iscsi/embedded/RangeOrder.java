package io.xenferry.iscsi.embedded;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/**
 * Keeps what changes the same blocks apart, where one of them must be alone: COMPARE AND WRITE and
 * ORWRITE read before they write (SBC-3 §5.2, §5.13). Plain writes that overlap stay unordered, as
 * initiators know them. Confined to the loop.
 */
final class RangeOrder {
  private record Entry(
      long from,
      long to,
      boolean alone,
      Supplier<CompletableFuture<Void>> work,
      CompletableFuture<Void> done) {
    boolean hinders(Entry later) {
      return (alone || later.alone) && from < later.to && later.from < to;
    }
  }

  private final Executor loop;
  private final List<Entry> held = new ArrayList<>();
  private final ArrayDeque<Entry> waiting = new ArrayDeque<>();

  RangeOrder(Executor loop) {
    this.loop = loop;
  }

  /**
   * Does the work now, or when all that it must not meet is over.
   *
   * @param from first byte
   * @param to byte after the last
   * @param alone whether nothing else may change these bytes meanwhile
   * @return completes on the loop, as the work does
   */
  CompletableFuture<Void> run(
      long from, long to, boolean alone, Supplier<CompletableFuture<Void>> work) {
    Entry entry = new Entry(from, to, alone, work, new CompletableFuture<>());
    if (hindered(entry, held) || hindered(entry, waiting)) {
      waiting.add(entry);
    } else {
      start(entry);
    }
    return entry.done;
  }

  private static boolean hindered(Entry entry, Iterable<Entry> earlier) {
    for (Entry other : earlier) {
      if (other.hinders(entry)) {
        return true;
      }
    }
    return false;
  }

  private void start(Entry entry) {
    held.add(entry);
    entry.work.get().whenComplete((ok, failure) -> loop.execute(() -> end(entry, failure)));
  }

  private void end(Entry entry, Throwable failure) {
    held.remove(entry);
    wake();
    if (failure == null) {
      entry.done.complete(null);
    } else {
      entry.done.completeExceptionally(failure);
    }
  }

  private void wake() {
    List<Entry> passed = new ArrayList<>();
    for (Iterator<Entry> i = waiting.iterator(); i.hasNext(); ) {
      Entry next = i.next();
      if (hindered(next, held) || hindered(next, passed)) {
        passed.add(next);
      } else {
        i.remove();
        start(next);
      }
    }
  }
}
