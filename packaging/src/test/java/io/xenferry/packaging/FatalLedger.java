package io.xenferry.packaging;

import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.ForwardingLedger;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;

/**
 * A ledger that ends its own process, or its guests', before or after a record. Records have names:
 * a state as it is entered; {@code half ended} when it is settled or cleaned, and {@code ended}
 * when it is both; in the journal {@code objects intended}, {@code guest intended}, {@code exports
 * closed} and {@code object done}.
 *
 * <p>By SIGKILL nothing happens on the writing thread any more. By SIGTERM it goes on once the
 * server has begun to stop.
 */
final class FatalLedger extends ForwardingLedger {
  private final Path state;

  FatalLedger(Ledger ledger, Path state) {
    super(ledger);
    this.state = state;
  }

  private <T> T write(String record, Supplier<T> write) {
    FaultPoint.meet(state, Fault.Moment.BEFORE, record);
    T written = write.get();
    FaultPoint.meet(state, Fault.Moment.AFTER, record);
    return written;
  }

  private void write(String record, Runnable write) {
    write(
        record,
        () -> {
          write.run();
          return true;
        });
  }

  private static String name(LedgerRow seen, LedgerRow next) {
    if (seen.state() != next.state()) {
      return next.state().name();
    }
    if (next.ended() && !seen.ended()) {
      return "ended";
    }
    return next.settled() != seen.settled() || next.cleaned() != seen.cleaned()
        ? "half ended"
        : "noted";
  }

  @Override
  public LedgerRow insert(LedgerRow row) {
    return write(row.state().name(), () -> super.insert(row));
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next) {
    return write(name(seen, next), () -> super.update(seen, next));
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit) {
    return write(name(seen, next), () -> super.update(seen, next, audit));
  }

  @Override
  public void intend(JournalEntry entry) {
    write(
        entry.kind() == JournalEntry.Kind.GUEST ? "guest intended" : "objects intended",
        () -> super.intend(entry));
  }

  @Override
  public void intend(List<JournalEntry> entries) {
    write("objects intended", () -> super.intend(entries));
  }

  @Override
  public void closeExports(MigrationId migration) {
    write("exports closed", () -> super.closeExports(migration));
  }

  @Override
  public void done(JournalEntry entry) {
    write("object done", () -> super.done(entry));
  }
}
