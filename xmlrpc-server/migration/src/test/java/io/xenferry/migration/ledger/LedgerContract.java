package io.xenferry.migration.ledger;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.Test;

/** What every ledger does. */
abstract class LedgerContract {
  static final Instant NOW = Instant.parse("2030-01-01T00:00:00Z");

  private final UUID vm = UUID.randomUUID();

  abstract Ledger open();

  /** The same ledger after the server was killed. */
  abstract Ledger reopen(Ledger killed);

  LedgerRow row(State state) {
    return new LedgerRow(
        new MigrationId(UUID.randomUUID()),
        state.role(),
        vm,
        state,
        "http://peer:1",
        "",
        UUID.randomUUID(),
        "key",
        "token",
        "{}",
        "document",
        Optional.empty(),
        false,
        false,
        false,
        false,
        "boot",
        NOW,
        NOW,
        NOW.plusSeconds(60),
        0);
  }

  @Test
  void rowsSurviveAKill() {
    Ledger ledger = open();
    LedgerRow sending = ledger.insert(row(State.SENDING));
    LedgerRow owned =
        ledger.update(sending, sending.withState(State.OWNED).withOutcome("cancelled"));
    Ledger after = reopen(ledger);
    assertThat(after.find(owned.migration(), Role.SOURCE)).contains(owned);
    assertThat(after.incarnation()).isEqualTo(ledger.incarnation());
    assertThat(after.secret()).isEqualTo(ledger.secret());
    assertThat(after.restored()).isFalse();
  }

  @Test
  void whatAnOperatorHasChangedSurvivesAKill() {
    Ledger ledger = open();
    LedgerRow sending = ledger.insert(row(State.SENDING));
    assertThat(sending.steering()).isEmpty();
    LedgerRow steered = ledger.update(sending, sending.withSteering("{held}"));
    Ledger after = reopen(ledger);
    assertThat(after.find(sending.migration(), Role.SOURCE)).contains(steered);
    assertThat(after.update(steered, steered.withState(State.OWNED)).steering())
        .isEqualTo("{held}");
  }

  @Test
  void aChangeOfAStaleRowIsRefused() {
    Ledger ledger = open();
    LedgerRow sending = ledger.insert(row(State.SENDING));
    LedgerRow switching = ledger.update(sending, sending.withState(State.SWITCHING));
    ledger.update(switching, switching.withState(State.OWNED));
    assertThatThrownBy(() -> ledger.update(switching, switching.withState(State.COMMITTING)))
        .isInstanceOf(LedgerConflictException.class);
    assertThat(ledger.find(sending.migration(), Role.SOURCE).orElseThrow().state())
        .isEqualTo(State.OWNED);
  }

  @Test
  void onlyTransitionsOfTheTableAreMade() {
    Ledger ledger = open();
    LedgerRow sending = ledger.insert(row(State.SENDING));
    assertThatThrownBy(() -> ledger.update(sending, sending.withState(State.GIVEN)))
        .isInstanceOf(LedgerConflictException.class);
  }

  @Test
  void aVmHasOneUnendedRow() {
    Ledger ledger = open();
    ledger.insert(row(State.SENDING));
    LedgerRow second = row(State.SENDING);
    assertThatThrownBy(() -> ledger.insert(second))
        .isInstanceOf(LedgerConflictException.class)
        .hasMessageContaining(vm.toString());
    assertThatThrownBy(() -> ledger.insert(row(State.RECEIVING)))
        .isInstanceOf(LedgerConflictException.class);
    assertThat(ledger.unended(vm)).hasSize(1);
  }

  @Test
  void anIdIsNotUsedAgainWhileItsTombstoneStands() {
    Ledger ledger = open();
    LedgerRow row = ledger.insert(row(State.RECEIVING));
    row = ledger.update(row, row.withState(State.ABORTED));
    row = ledger.update(row, row.withSettled());
    assertThat(row.ended()).isFalse();
    row = ledger.update(row, row.withCleaned());
    assertThat(row.ended()).isTrue();
    LedgerRow again = row;
    assertThatThrownBy(() -> ledger.insert(again)).isInstanceOf(LedgerConflictException.class);
    ledger.purge(NOW);
    assertThat(ledger.rows()).hasSize(1);
    ledger.purge(NOW.plusSeconds(61));
    assertThat(ledger.rows()).isEmpty();
  }

  @Test
  void theJournalIsInTheOrderOfCleanUpAndSurvives() {
    Ledger ledger = open();
    MigrationId id = new MigrationId(UUID.randomUUID());
    ledger.intend(
        List.of(
            entry(id, JournalEntry.Kind.VDI, "disk"),
            entry(id, JournalEntry.Kind.EXPORT, "target"),
            entry(id, JournalEntry.Kind.VM, "vm")));
    ledger.intend(entry(id, JournalEntry.Kind.EXPORT, "target"));
    ledger.closeExports(id);
    Ledger after = reopen(ledger);
    assertThat(after.journal(id))
        .extracting(JournalEntry::name)
        .containsExactly("target", "vm", "disk");
    assertThat(after.journal(id).getFirst().standing()).isEqualTo(JournalEntry.Standing.CLOSED);
    after.done(after.journal(id).getFirst());
    assertThat(after.journal()).hasSize(2);
  }

  @Test
  void whatWasForcedIsNotForgotten() {
    Ledger ledger = open();
    LedgerRow row = ledger.insert(row(State.SENDING));
    row = ledger.update(row, row.withState(State.OWNED).withForced());
    ledger.update(row, row.withSettled().withCleaned());
    ledger.purge(NOW.plusSeconds(61));
    assertThat(ledger.rows()).hasSize(1);
  }

  @Test
  void whoAcceptsALedgerThatWasPutBackBelievesNoUnendedRowOfIt() {
    Ledger ledger = open();
    LedgerRow ended = ledger.insert(row(State.RECEIVING));
    ended = ledger.update(ended, ended.withState(State.ABORTED));
    ended = ledger.update(ended, ended.withSettled().withCleaned());
    LedgerRow row = ledger.insert(row(State.RECEIVING));
    ledger.intend(entry(row.migration(), JournalEntry.Kind.EXPORT, "target"));
    assertThat(row.doubtful()).isFalse();
    ledger.acceptRestored(new AuditRow(NOW, "root", "accept-restored-ledger", "", ""));
    Ledger after = reopen(ledger);
    assertThat(after.find(row.migration(), Role.DESTINATION).orElseThrow().doubtful()).isTrue();
    assertThat(after.find(ended.migration(), Role.DESTINATION).orElseThrow().doubtful()).isFalse();
    assertThat(after.journal().getFirst().standing()).isEqualTo(JournalEntry.Standing.CLOSED);
  }

  private static JournalEntry entry(MigrationId id, JournalEntry.Kind kind, String name) {
    return new JournalEntry(id, kind, name, "", JournalEntry.Standing.OPEN);
  }

  @Test
  void forceIsAudited() {
    Ledger ledger = open();
    LedgerRow row = ledger.insert(row(State.SENDING));
    row = ledger.update(row, row.withState(State.SWITCHING));
    row = ledger.update(row, row.withState(State.COMMITTING));
    AuditRow audit = new AuditRow(NOW, "root", "force-resume", "x", "the peer is off");
    ledger.update(row, row.withState(State.OWNED).withForced(), audit);
    assertThat(reopen(ledger).audits()).containsExactly(audit);
  }
}
