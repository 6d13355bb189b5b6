package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** That the order of calls is read correctly, and that a wrong one is noticed. */
class SystemCallsTest {
  private static final String WAL = "ledger.db-wal";

  private static final String WRITE =
      "7 100.000100 pwrite64(9</s/ledger.db-wal>, \"m-1SOURCEvm-1COMMITTINGhttps\", 27, 32) = 27"
          + " <0.000050>";

  private static final String SYNC_BEGINS =
      "7 100.000200 fdatasync(9</s/ledger.db-wal> <unfinished ...>";

  private static final String OTHER =
      "8 100.000250 write(4<socket:[1]>, \"\\27\\3(\", 3) = 3 <0.000010>";

  private static final String SYNC_ENDS = "7 100.001000 <... fdatasync resumed>) = 0 <0.000800>";

  private static final String SEND =
      "7 100.002000 sendto(5<UNIX:[2]>, \"{\\\"execute\\\": \\\"cont\\\"}\", 19, 0, NULL, 0) = 19"
          + " <0.000020>";

  private static SystemCalls.Durable committing(SystemCalls trace) {
    return trace.durable("COMMITTING", "alpha", WAL, "vm-1COMMITTINGhttps");
  }

  private static Optional<SystemCalls.Call> cont(SystemCalls trace) {
    return trace.first(c -> c.writes() && c.text().contains("cont"));
  }

  @Test
  void anEffectAfterTheSyncIsInOrder() {
    SystemCalls trace =
        SystemCalls.parse("alpha", List.of(WRITE, SYNC_BEGINS, OTHER, SYNC_ENDS, SEND));
    assertThat(trace.calls()).hasSize(4);
    committing(trace).precedes("cont", cont(trace));
  }

  @Test
  void anEffectBeforeTheRecordIsNoticed() {
    String early = SEND.replace("100.002000", "100.000050");
    SystemCalls trace = SystemCalls.parse("alpha", List.of(early, WRITE, SYNC_BEGINS, SYNC_ENDS));
    assertThatThrownBy(() -> committing(trace).precedes("cont", cont(trace)))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("cont before COMMITTING was durable");
  }

  @Test
  void anEffectDuringTheSyncIsNoticed() {
    String during = SEND.replaceFirst("7 100.002000", "8 100.000600");
    SystemCalls trace = SystemCalls.parse("alpha", List.of(WRITE, SYNC_BEGINS, during, SYNC_ENDS));
    assertThatThrownBy(() -> committing(trace).precedes("cont", cont(trace)))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("cont before COMMITTING was durable");
  }

  @Test
  void aRecordThatIsNeverSyncedIsNoticed() {
    SystemCalls trace = SystemCalls.parse("alpha", List.of(WRITE, SEND));
    assertThatThrownBy(() -> committing(trace)).hasMessageContaining("was not synced");
  }

  @Test
  void aSyncThatNeverEndsIsNoSync() {
    SystemCalls trace = SystemCalls.parse("alpha", List.of(WRITE, SYNC_BEGINS, SEND));
    assertThatThrownBy(() -> committing(trace).precedes("cont", cont(trace)))
        .hasMessageContaining("cont before COMMITTING was durable");
  }

  @Test
  void anEffectThatIsMissingIsNoticed() {
    SystemCalls trace = SystemCalls.parse("alpha", List.of(WRITE, SYNC_BEGINS, SYNC_ENDS));
    assertThatThrownBy(() -> committing(trace).precedes("cont", cont(trace)))
        .hasMessageContaining("cont was not seen");
  }
}
