package io.xenferry.migration.gate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.model.XenApiException;
import java.time.Instant;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class GateTest {
  private static final Instant NOW = Instant.parse("2030-01-01T00:00:00Z");
  private final UUID vm = UUID.randomUUID();
  private final MemoryLedger ledger =
      new MemoryLedger(
          new MemoryLedger.Disk(UUID.randomUUID(), new byte[32]),
          () -> NOW,
          MemoryLedger.Probe.NONE,
          row -> false);
  private final Gate gate = new Gate(ledger, "boot");

  private LedgerRow row(State... states) {
    LedgerRow row =
        ledger.insert(
            new LedgerRow(
                new MigrationId(UUID.randomUUID()),
                states[0].role(),
                vm,
                states[0],
                "http://peer:1",
                "",
                UUID.randomUUID(),
                "",
                "",
                "",
                "",
                Optional.empty(),
                false,
                false,
                false,
                false,
                "boot",
                NOW,
                NOW,
                NOW,
                0));
    for (int i = 1; i < states.length; i++) {
      row = ledger.update(row, row.withState(states[i]));
    }
    return row;
  }

  private void refuses(Operation operation, String code) {
    assertThatThrownBy(() -> gate.enter(vm, operation))
        .isInstanceOfSatisfying(
            XenApiException.class, refused -> assertThat(refused.code()).isEqualTo(code));
  }

  @Test
  void aVmWithoutARowPasses() throws XenApiException {
    gate.enter(vm, Operation.START).close();
  }

  @Test
  void nothingStartsWhileItIsSent() throws XenApiException {
    row(State.SENDING);
    refuses(Operation.START, "OTHER_OPERATION_IN_PROGRESS");
    refuses(Operation.DESTROY_DISK, "OTHER_OPERATION_IN_PROGRESS");
    refuses(Operation.CHANGE_DEVICE, "OTHER_OPERATION_IN_PROGRESS");
    gate.enter(vm, Operation.RESET).close();
  }

  @Test
  void inDoubtNothingIsTakenFromIt() {
    row(State.SENDING, State.SWITCHING, State.COMMITTING);
    for (Operation operation : Operation.values()) {
      refuses(operation, "OPERATION_NOT_ALLOWED");
    }
  }

  @Test
  void inDoubtNothingRunsAndTheSentenceSaysWhatForceDoes() {
    row(State.SENDING, State.SWITCHING, State.COMMITTING);
    assertThatThrownBy(() -> gate.enter(vm, Operation.UNPAUSE))
        .isInstanceOf(XenApiException.class)
        .hasMessageContaining("OPERATION_NOT_ALLOWED")
        .hasMessageContaining("COMMITTING")
        .hasMessageContaining("force-resume")
        .hasMessageContaining("http://peer:1");
  }

  @Test
  void afterARebootAnUnendedVmStartsOnlyWhenThePeerHasAnswered() throws XenApiException {
    row(State.SENDING, State.OWNED);
    gate.enter(vm, Operation.START).close();
    Gate rebooted = new Gate(ledger, "another boot");
    assertThatThrownBy(() -> rebooted.enter(vm, Operation.START))
        .hasMessageContaining("OPERATION_NOT_ALLOWED");
    LedgerRow row = ledger.rows().getFirst();
    ledger.update(row, row.withBoot("another boot"));
    rebooted.enter(vm, Operation.START).close();
  }

  @Test
  void whatGoesBackIsPausedByAClientOnlyOnceItGoesOnForCertain() throws XenApiException {
    LedgerRow row = row(State.SENDING);
    refuses(Operation.PAUSE, "OTHER_OPERATION_IN_PROGRESS");
    row = ledger.update(row, row.withState(State.OWNED));
    refuses(Operation.PAUSE, "OTHER_OPERATION_IN_PROGRESS");
    gate.enter(vm, Operation.SHUTDOWN).close();
    Steering before = Steering.parse("{\"words\":{\"paused\":\"false\",\"cutover\":\"auto\"}}");
    row = ledger.update(row, row.withSteering(before.text()));
    refuses(Operation.PAUSE, "OTHER_OPERATION_IN_PROGRESS");
    row = ledger.update(row, row.withSteering(before.nowLetGo().text()));
    gate.enter(vm, Operation.PAUSE).close();
    row = ledger.update(row, row.withSteering(""));
    refuses(Operation.PAUSE, "OTHER_OPERATION_IN_PROGRESS");
    ledger.update(row, row.withCleaned());
    gate.enter(vm, Operation.PAUSE).close();
  }

  @Test
  void anOperatorsWordIsForOneBoot() throws XenApiException {
    LedgerRow row = row(State.SENDING, State.SWITCHING, State.COMMITTING, State.OWNED);
    ledger.update(row, row.withForced());
    gate.enter(vm, Operation.START).close();
    Gate rebooted = new Gate(ledger, "another boot");
    assertThatThrownBy(() -> rebooted.enter(vm, Operation.START))
        .hasMessageContaining("OWNED (forced)")
        .hasMessageContaining("force-resume");
  }

  @Test
  void aLedgerThatWasPutBackAndAcceptedStartsNothingOfAnUnendedMove() {
    row(State.RECEIVING, State.READY, State.COMMITTED, State.STARTING, State.RUNNING);
    ledger.acceptRestored(new AuditRow(NOW, "root", "accept-restored-ledger", "", ""));
    assertThatThrownBy(() -> gate.enter(vm, Operation.START)).hasMessageContaining("force-commit");
  }

  @Test
  void aRestoredLedgerStartsNothing() {
    MemoryLedger.Disk disk = new MemoryLedger.Disk(UUID.randomUUID(), new byte[32]);
    Gate restored =
        new Gate(
            new MemoryLedger(
                disk.copy(Optional.of(UUID.randomUUID())),
                () -> NOW,
                MemoryLedger.Probe.NONE,
                row -> false),
            "boot");
    assertThatThrownBy(() -> restored.enter(vm, Operation.START))
        .hasMessageContaining("accept-restored-ledger");
  }

  @Test
  void aMigrationAndAStartExcludeEachOther() throws XenApiException {
    try (Gate.Permit starting = gate.enter(vm, Operation.START)) {
      assertThatThrownBy(() -> gate.claim(vm)).isInstanceOf(XenApiException.class);
    }
    try (Gate.Permit claim = gate.claim(vm)) {
      refuses(Operation.START, "OTHER_OPERATION_IN_PROGRESS");
    }
    gate.enter(vm, Operation.START).close();
  }

  @Test
  void theMigrationItselfMayResumeOnlyWhenItsDecisionIsDurable() throws XenApiException {
    LedgerRow row = row(State.SENDING, State.SWITCHING);
    assertThatThrownBy(() -> gate.enterFor(row.migration(), Role.SOURCE, Operation.RESUME))
        .isInstanceOf(XenApiException.class);
    ledger.update(row, row.withState(State.OWNED));
    gate.enterFor(row.migration(), Role.SOURCE, Operation.RESUME).close();
    assertThatThrownBy(() -> gate.enterFor(row.migration(), Role.SOURCE, Operation.DESTROY_DISK))
        .isInstanceOf(XenApiException.class);
  }
}
