package io.xenferry.server.metrics;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;

/**
 * All figures of this host, its guests and its storage. Thread-safe; nothing here waits for
 * anything but, the first time that an owner is asked for, its file.
 *
 * <p>Memory is bounded: {@value #SERIES_LIMIT} series at {@value Series#BYTES} bytes are 140 MB; a
 * VM with two disks and two processors has 18, that is 300 kB.
 */
final class Figures {
  static final int SERIES_LIMIT = 8192;

  private final Map<Owner, Archive> archives = new LinkedHashMap<>();
  private final ArchiveFiles files;

  /** Of all series in memory, or more: what was dropped since the last look still counts. */
  private int count;

  private long end;

  /** One at a time: a file is written beside the old one, under one name. */
  private final ReentrantLock saving = new ReentrantLock();

  Figures(ArchiveFiles files) {
    this.files = files;
  }

  /**
   * @param seconds since 1970
   */
  void add(Owner owner, String name, long seconds, double value) {
    boolean known;
    synchronized (this) {
      known = archives.containsKey(owner);
      if (!known && count > SERIES_LIMIT - Archive.LIMIT) {
        return;
      }
    }
    Optional<Archive> past = known ? Optional.empty() : files.read(owner);
    synchronized (this) {
      Archive archive = archives.get(owner);
      if (archive == null) {
        archive = past.orElseGet(Archive::new);
        archives.put(owner, archive);
        count += archive.series.size();
      }
      if (archive.add(name, seconds, value, count < SERIES_LIMIT)) {
        count++;
      }
    }
  }

  /** All figures of that time have been added, but for those that come late. */
  synchronized void complete(long seconds) {
    end = seconds;
    count = archives.values().stream().mapToInt(a -> a.series.size()).sum();
  }

  /** Until when figures are complete, seconds since 1970; 0 before the first look. */
  synchronized long end() {
    return end;
  }

  /** Those in memory. */
  synchronized List<Owner> owners() {
    return List.copyOf(archives.keySet());
  }

  /** Writes the files of these, and lets go of those that nothing is added to any more. */
  void save(Collection<Owner> owners, Predicate<Owner> stillThere) {
    saving.lock();
    try {
      write(owners, stillThere);
    } finally {
      saving.unlock();
    }
  }

  private void write(Collection<Owner> owners, Predicate<Owner> stillThere) {
    for (Owner owner : owners) {
      byte[] bytes;
      synchronized (this) {
        Archive archive = archives.get(owner);
        if (archive == null) {
          continue;
        }
        bytes = ArchiveFiles.bytes(archive);
      }
      files.write(owner, bytes);
      if (!stillThere.test(owner)) {
        synchronized (this) {
          archives.remove(owner);
        }
      }
    }
  }

  /** Drops the figures of what is no more. */
  void purge(Predicate<Owner> exists) {
    synchronized (this) {
      archives.keySet().removeIf(owner -> !exists.test(owner));
    }
    for (Owner owner : files.owners()) {
      if (!exists.test(owner)) {
        files.delete(owner);
      }
    }
  }

  /**
   * A figure as clients list it.
   *
   * @param enabled whether its past is kept
   * @param value empty when it has none now
   */
  record Listed(String name, boolean enabled, OptionalDouble value) {}

  synchronized List<Listed> list(Owner owner) {
    Archive archive = archives.getOrDefault(owner, new Archive());
    Set<String> names = new java.util.TreeSet<>(archive.latest.keySet());
    names.addAll(archive.series.keySet());
    return names.stream().map(name -> listed(archive, name)).toList();
  }

  private static Listed listed(Archive archive, String name) {
    Double value = archive.latest.get(name);
    return new Listed(
        name,
        archive.wants(name),
        value == null || value.isNaN() ? OptionalDouble.empty() : OptionalDouble.of(value));
  }

  /** One figure; empty when the owner has none of that name. */
  synchronized Optional<Listed> find(Owner owner, String name) {
    return Optional.ofNullable(archives.get(owner))
        .filter(archive -> archive.knows(name))
        .map(archive -> listed(archive, name));
  }

  /**
   * Keeps the past of a figure from now on.
   *
   * @return whether there is such a figure
   */
  synchronized boolean want(Owner owner, String name) {
    Optional<Archive> archive = knowing(owner, name);
    archive.ifPresent(a -> a.want(name));
    return archive.isPresent();
  }

  /**
   * Drops the past of a figure, and keeps none from now on.
   *
   * @return whether there was such a figure
   */
  synchronized boolean forget(Owner owner, String name) {
    Optional<Archive> archive = knowing(owner, name);
    archive.ifPresent(a -> a.forget(name));
    return archive.isPresent();
  }

  private Optional<Archive> knowing(Owner owner, String name) {
    return Optional.ofNullable(archives.get(owner))
        .filter(archive -> archive.knows(name) || !archive.wants(name));
  }

  /** The owner does not tell any more: its latest figures are not what it uses now. */
  synchronized void gone(Owner owner) {
    Archive archive = archives.get(owner);
    if (archive != null) {
      archive.gone();
    }
  }

  /**
   * Values over time.
   *
   * @param step seconds between two rows
   * @param legend a name for each value of a row, {@code AVERAGE:vm:UUID:cpu0}
   * @param end seconds since 1970 of the newest row
   * @param rows newest first
   */
  record Table(int step, long end, List<String> legend, List<double[]> rows) {
    long start() {
      return end - (long) step * (rows.size() - 1);
    }
  }

  /**
   * The rows after a time, and the newest in any case.
   *
   * @param start seconds since 1970
   * @param interval seconds, see {@link Span#suiting}
   * @param how empty for all that are kept in that step
   * @param limit of values
   * @return empty when there are more
   */
  synchronized Optional<Table> table(
      long start, long interval, Optional<Consolidation> how, Predicate<Owner> wanted, int limit) {
    int span = Span.suiting(interval, start, end);
    Span of = Span.ALL.get(span);
    List<String> legend = new ArrayList<>();
    List<Series> order = new ArrayList<>();
    Consolidation[] ways =
        how.map(one -> new Consolidation[] {one})
            .orElse(
                span == 0 ? new Consolidation[] {Consolidation.AVERAGE} : Consolidation.values());
    new TreeMap<>(byName(wanted))
        .forEach((name, series) -> {
          order.add(series);
          for (Consolidation way : ways) {
            legend.add(way + ":" + name);
          }
        });
    long newest = end / of.step() * of.step();
    long count = Math.clamp((newest - start + of.step() - 1) / of.step(), 1, of.rows());
    if (count * legend.size() > limit) {
      return Optional.empty();
    }
    List<double[]> rows = new ArrayList<>();
    for (long i = 0; i < count; i++) {
      double[] row = new double[legend.size()];
      int at = 0;
      for (Series series : order) {
        for (Consolidation way : ways) {
          row[at++] = series.get(span, way, newest - i * of.step());
        }
      }
      rows.add(row);
    }
    return Optional.of(new Table(of.step(), newest, legend, rows));
  }

  private Map<String, Series> byName(Predicate<Owner> wanted) {
    Map<String, Series> all = new LinkedHashMap<>();
    archives.forEach((owner, archive) -> {
      if (wanted.test(owner)) {
        archive.series.forEach((name, series) -> all.put(owner + ":" + name, series));
      }
    });
    return all;
  }

  /** Works with all figures of one owner, in memory or not; empty when there never were any. */
  <R> Optional<R> with(Owner owner, java.util.function.Function<Archive, R> work) {
    synchronized (this) {
      Archive archive = archives.get(owner);
      if (archive != null) {
        return Optional.of(work.apply(archive));
      }
    }
    return files.read(owner).map(work);
  }
}
