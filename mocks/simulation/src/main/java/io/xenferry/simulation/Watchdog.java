package io.xenferry.simulation;

import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Looks over what is on a host now and then, while its server lives: orphans, and guests that have
 * shut down.
 */
final class Watchdog {
  private static final Duration EVERY = Duration.ofMillis(700);

  private final World world;
  private final SimHost host;
  private final Ledger ledger;
  private final SimExports exports;
  private final SimulatedScheduler.Process server;

  Watchdog(
      World world,
      SimHost host,
      Ledger ledger,
      SimExports exports,
      SimulatedScheduler.Process server) {
    this.world = world;
    this.host = host;
    this.ledger = ledger;
    this.exports = exports;
    this.server = server;
  }

  void start() {
    server.schedule(EVERY, this::look);
  }

  private void look() {
    if (!ledger.restored()) {
      sweep(ledger.journal());
      host.ends.reap();
    }
    start();
  }

  /**
   * Intent goes before effect, so what is tagged as ours, not in the journal, and of no unended
   * row, is an orphan: an effect that a killed server had begun, and that came about after its
   * successor's clean-up. A ledger that was replaced does not know of every row there was.
   */
  private void sweep(List<JournalEntry> journal) {
    Set<String> known = new HashSet<>();
    journal.forEach(entry -> known.add(entry.kind() + " " + entry.name()));
    int before = objects();
    exports.sweep(name -> !known.contains(JournalEntry.Kind.EXPORT + " " + name));
    host.vms
        .entrySet()
        .removeIf(vm ->
            over(vm.getValue().tag) && !known.contains(JournalEntry.Kind.VM + " " + vm.getKey()));
    host.vdis
        .entrySet()
        .removeIf(vdi ->
            over(vdi.getValue().tag)
                && !known.contains(JournalEntry.Kind.VDI + " " + vdi.getKey()));
    host.guests
        .entrySet()
        .removeIf(guest ->
            (guest.getValue().state == GuestState.INCOMING
                    || guest.getValue().fresh && !host.vms.containsKey(guest.getKey()))
                && ledger.unended(guest.getKey()).isEmpty()
                && !known.contains(JournalEntry.Kind.GUEST + " " + guest.getKey()));
    if (objects() < before) {
      world.count("orphans removed");
      world.trace(host.name + ": orphans are removed");
      world.checkCompleteCopy(host.name + " removed orphans");
    }
  }

  private int objects() {
    return host.vms.size() + host.vdis.size() + host.guests.size();
  }

  private boolean over(@Nullable MigrationId tag) {
    return tag != null
        && ledger.find(tag, Role.DESTINATION).map(LedgerRow::ended).orElse(ledger.whole());
  }
}
