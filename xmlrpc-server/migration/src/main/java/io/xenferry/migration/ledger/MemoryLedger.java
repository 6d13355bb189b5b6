package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.function.Predicate;
import java.util.function.Supplier;

/**
 * A ledger whose stable storage is an object: for simulations and tests. What a crash loses is this
 * object; what survives is its {@link Disk}, from which the next one is made.
 *
 * <p>A {@link Probe} sees each change just before and just after it becomes durable, and may throw
 * there, as a crash does. Changes that the {@code lazy} predicate matches stay volatile until the
 * next one that it does not: a deliberately broken ledger.
 */
public final class MemoryLedger implements Ledger {

  /** Stable storage. */
  public static final class Disk {
    private final UUID incarnation;
    private final byte[] secret;
    private boolean restored;
    private boolean whole = true;
    private Map<Key, LedgerRow> rows = new LinkedHashMap<>();
    private Set<JournalEntry> journal = new LinkedHashSet<>();
    private List<AuditRow> audits = new ArrayList<>();

    public Disk(UUID incarnation, byte[] secret) {
      this.incarnation = incarnation;
      this.secret = secret.clone();
    }

    /** What is durable, for checks from outside. */
    public Optional<LedgerRow> find(MigrationId migration, Role role) {
      return Optional.ofNullable(rows.get(new Key(migration, role)));
    }

    public List<LedgerRow> rows() {
      return List.copyOf(rows.values());
    }

    /** Whether every row is a tombstone. */
    public boolean allEnded() {
      for (LedgerRow row : rows.values()) {
        if (!row.ended()) {
          return false;
        }
      }
      return true;
    }

    /** The rows that are no tombstones. */
    public List<LedgerRow> unended() {
      List<LedgerRow> found = new ArrayList<>();
      for (LedgerRow row : rows.values()) {
        if (!row.ended()) {
          found.add(row);
        }
      }
      return found;
    }

    public List<JournalEntry> journal() {
      return List.copyOf(journal);
    }

    /** A copy as it is now, put back later: of a new incarnation, if that is noticed. */
    public Disk copy(Optional<UUID> noticed) {
      Disk copy = new Disk(noticed.orElse(incarnation), secret);
      copy.restored = noticed.isPresent();
      copy.whole = whole && noticed.isEmpty();
      copy.rows.putAll(rows);
      copy.journal.addAll(journal);
      copy.audits.addAll(audits);
      return copy;
    }
  }

  /** Sees changes; what it throws leaves the change not made, or made, as it says. */
  public interface Probe {
    Probe NONE = (what, durable) -> {};

    /**
     * @param what for traces: {@code insert SENDING}, {@code READY}, {@code intend VDI}
     * @param durable false just before, true just after
     */
    void change(String what, boolean durable);
  }

  private record Key(MigrationId migration, Role role) {}

  private final Disk disk;
  private final Supplier<Instant> clock;
  private final Probe probe;
  private final Predicate<LedgerRow> lazy;
  private final Predicate<LedgerRow> unruled;
  private final Map<Key, LedgerRow> rows;
  private final Set<JournalEntry> journal;
  private final List<AuditRow> audits;

  /** Stable storage lacks a change. */
  private boolean behind;

  public MemoryLedger(Disk disk, Supplier<Instant> clock, Probe probe, Predicate<LedgerRow> lazy) {
    this(disk, clock, probe, lazy, row -> false);
  }

  /**
   * One that is broken on purpose.
   *
   * @param lazy which rows are not written to stable storage by themselves
   * @param unruled which rows are inserted beside whatever others there are
   */
  public MemoryLedger(
      Disk disk,
      Supplier<Instant> clock,
      Probe probe,
      Predicate<LedgerRow> lazy,
      Predicate<LedgerRow> unruled) {
    this.unruled = unruled;
    this.disk = disk;
    this.clock = clock;
    this.probe = probe;
    this.lazy = lazy;
    this.rows = new LinkedHashMap<>(disk.rows);
    this.journal = new LinkedHashSet<>(disk.journal);
    this.audits = new ArrayList<>(disk.audits);
  }

  @Override
  public UUID incarnation() {
    return disk.incarnation;
  }

  @Override
  public byte[] secret() {
    return disk.secret.clone();
  }

  @Override
  public synchronized boolean restored() {
    return disk.restored;
  }

  @Override
  public synchronized boolean whole() {
    return disk.whole;
  }

  @Override
  public synchronized void acceptRestored(AuditRow audit) {
    audits.add(audit);
    rows.replaceAll((key, row) -> row.ended() ? row : row.withBoot(""));
    closeExports(entry -> true);
    commit("accept restored", true);
    disk.restored = false;
  }

  @Override
  public synchronized Optional<LedgerRow> find(MigrationId migration, Role role) {
    return Optional.ofNullable(rows.get(new Key(migration, role)));
  }

  @Override
  public synchronized List<LedgerRow> rows() {
    return List.copyOf(rows.values());
  }

  @Override
  public synchronized List<LedgerRow> unended(UUID vm) {
    List<LedgerRow> found = new ArrayList<>();
    for (LedgerRow row : rows.values()) {
      if (!row.ended() && row.vm().equals(vm)) {
        found.add(row);
      }
    }
    return found;
  }

  @Override
  public synchronized LedgerRow insert(LedgerRow row) {
    LedgerRow written = LedgerRules.inserted(row, beside(row), clock.get());
    probe.change("insert " + row.state(), false);
    Key key = new Key(row.migration(), row.role());
    rows.put(key, written);
    commit("insert " + row.state(), !lazy.test(written), () -> disk.rows.put(key, written));
    return written;
  }

  /** What a row that is to be inserted must agree with. */
  private Collection<LedgerRow> beside(LedgerRow row) {
    return !unruled.test(row)
        ? rows.values()
        : rows.values().stream()
            .filter(other -> other.migration().equals(row.migration()))
            .toList();
  }

  @Override
  public synchronized LedgerRow update(LedgerRow seen, LedgerRow next) {
    return write(seen, next);
  }

  @Override
  public synchronized LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit) {
    audits.add(audit);
    behind = true;
    return write(seen, next);
  }

  private LedgerRow write(LedgerRow seen, LedgerRow next) {
    Key key = new Key(seen.migration(), seen.role());
    LedgerRow current = rows.get(key);
    if (current == null) {
      throw new LedgerConflictException("no row of migration " + seen.migration());
    }
    LedgerRow written = LedgerRules.updated(current, seen, next, clock.get());
    String what = current.state() == next.state() ? "note in " + next.state() : next.state().name();
    probe.change(what, false);
    rows.put(key, written);
    commit(
        what,
        current.state() == next.state() || !lazy.test(written),
        () -> disk.rows.put(key, written));
    return written;
  }

  @Override
  public synchronized void purge(Instant now) {
    if (rows.values().removeIf(row -> LedgerRules.forgettable(row, now))) {
      commit("purge", true);
    }
  }

  @Override
  public synchronized void intend(JournalEntry entry) {
    intend(List.of(entry));
  }

  @Override
  public synchronized void intend(List<JournalEntry> entries) {
    probe.change("intend", false);
    List<JournalEntry> added = new ArrayList<>();
    for (JournalEntry entry : entries) {
      if (named(entry).isEmpty()) {
        journal.add(entry);
        added.add(entry);
      }
    }
    commit("intend", true, () -> disk.journal.addAll(added));
  }

  private Optional<JournalEntry> named(JournalEntry entry) {
    return journal.stream()
        .filter(other ->
            other.migration().equals(entry.migration())
                && other.kind() == entry.kind()
                && other.name().equals(entry.name()))
        .findFirst();
  }

  @Override
  public synchronized void closeExports(MigrationId migration) {
    probe.change("close exports", false);
    closeExports(entry -> entry.migration().equals(migration));
    commit("close exports", true);
  }

  private void closeExports(Predicate<JournalEntry> which) {
    List<JournalEntry> open =
        journal.stream()
            .filter(entry ->
                entry.kind() == JournalEntry.Kind.EXPORT
                    && entry.standing() == JournalEntry.Standing.OPEN
                    && which.test(entry))
            .toList();
    for (JournalEntry entry : open) {
      journal.remove(entry);
      journal.add(
          new JournalEntry(
              entry.migration(),
              entry.kind(),
              entry.name(),
              entry.detail(),
              JournalEntry.Standing.CLOSED));
    }
  }

  @Override
  public synchronized void done(JournalEntry entry) {
    Optional<JournalEntry> present = named(entry);
    if (present.isPresent()) {
      probe.change("done " + entry.kind(), false);
      journal.remove(present.get());
      commit("done " + entry.kind(), true, () -> disk.journal.remove(present.get()));
    }
  }

  @Override
  public synchronized List<JournalEntry> journal(MigrationId migration) {
    return journal.stream()
        .filter(entry -> entry.migration().equals(migration))
        .sorted(Comparator.comparing(JournalEntry::kind).thenComparing(JournalEntry::name))
        .toList();
  }

  @Override
  public synchronized List<JournalEntry> journal() {
    return journal.stream()
        .sorted(Comparator.comparing(JournalEntry::kind).thenComparing(JournalEntry::name))
        .toList();
  }

  @Override
  public synchronized void audit(AuditRow row) {
    audits.add(Objects.requireNonNull(row));
    commit("audit", true);
  }

  @Override
  public synchronized List<AuditRow> audits() {
    return List.copyOf(audits);
  }

  @Override
  public void close() {}

  private void commit(String what, boolean flush) {
    behind = true;
    commit(what, flush, () -> {});
  }

  /**
   * @param change of stable storage, where that lacks no other one
   */
  private void commit(String what, boolean flush, Runnable change) {
    if (!flush) {
      behind = true;
    } else if (behind) {
      disk.rows = new LinkedHashMap<>(rows);
      disk.journal = new LinkedHashSet<>(journal);
      disk.audits = new ArrayList<>(audits);
      behind = false;
    } else {
      change.run();
    }
    probe.change(what, true);
  }
}
