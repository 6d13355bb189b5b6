package io.xenferry.packaging;

import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.ForwardingLedger;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
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
  private static final long PATIENCE_NANOS = 10_000_000_000L;

  private final Path state;

  FatalLedger(Ledger ledger, Path state) {
    super(ledger);
    this.state = state;
  }

  private <T> T write(String record, Supplier<T> write) {
    meet(Fault.Moment.BEFORE, record);
    T written = write.get();
    meet(Fault.Moment.AFTER, record);
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

  private void meet(Fault.Moment moment, String record) {
    try {
      Optional<Fault> fault = Fault.armed(state);
      if (fault.isPresent()
          && fault.get().moment() == moment
          && fault.get().record().equals(record)) {
        Fault.disarm(state);
        end(fault.get().signal());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void signal(Fault.Signal signal) throws IOException {
    new ProcessBuilder("kill", "-" + signal.name(), Long.toString(ProcessHandle.current().pid()))
        .inheritIO()
        .start();
  }

  private void end(Fault.Signal signal) throws IOException {
    switch (signal) {
      case KILL -> {
        signal(signal);
        while (true) {
          LockSupport.park();
        }
      }
      case KILL_GUEST -> GuestProcesses.kill(state);
      case TERM -> {
        signal(signal);
        long end = System.nanoTime() + PATIENCE_NANOS;
        while (Files.exists(state.resolve("ready")) && System.nanoTime() < end) {
          LockSupport.parkNanos(1_000_000);
        }
      }
    }
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
