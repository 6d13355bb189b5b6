package io.xenferry.migration.ledger;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.state.State;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class MemoryLedgerTest extends LedgerContract {
  private final MemoryLedger.Disk disk = new MemoryLedger.Disk(UUID.randomUUID(), new byte[32]);

  @Override
  Ledger open() {
    return new MemoryLedger(disk, () -> NOW, MemoryLedger.Probe.NONE, row -> false);
  }

  @Override
  Ledger reopen(Ledger killed) {
    return open();
  }

  @Test
  void aLazyLedgerLosesWhatItDidNotFlush() {
    Ledger lazy =
        new MemoryLedger(
            disk, () -> NOW, MemoryLedger.Probe.NONE, row -> row.state() == State.SWITCHING);
    LedgerRow row = lazy.insert(row(State.SENDING));
    lazy.update(row, row.withState(State.SWITCHING));
    assertThat(open().rows().getFirst().state()).isEqualTo(State.SENDING);
  }
}
