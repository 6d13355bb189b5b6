package io.xenferry.server.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.model.Host;
import io.xenferry.model.HostMetrics;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Memory is promised once, to VMs that start and to VMs that arrive alike. */
class HostMemoryTest {
  private static final long TOTAL = 100;
  private static final long MOST = 60;

  private final ObjectDatabase database = MemoryDatabase.create();
  private final UUID arriving = UUID.randomUUID();
  private final AtomicBoolean coming = new AtomicBoolean(true);
  private HostMemory memory = new HostMemory(database, Ref.nullRef());
  private Ref<VM> local = Ref.nullRef();

  @BeforeEach
  void make() throws XenApiException {
    Ref<Host> host =
        database.write(tx -> {
          Ref<HostMetrics> metrics = new Ref<>(tx.create("host_metrics", Map.of()));
          tx.set(metrics, HostMetrics.MEMORY_TOTAL, TOTAL);
          Ref<Host> made = new Ref<>(tx.create("host", Map.of()));
          tx.set(made, Host.METRICS, metrics);
          return made;
        });
    memory = new HostMemory(database, host);
    local = vm(UUID.randomUUID(), Map.of(), false);
  }

  private Ref<VM> vm(UUID uuid, Map<String, String> otherConfig, boolean snapshot)
      throws XenApiException {
    return database.write(tx -> {
      Ref<VM> made = new Ref<>(tx.create("VM", Map.of("uuid", Value.of(uuid.toString()))));
      tx.set(made, VM.MEMORY_STATIC_MAX, MOST);
      tx.set(made, VM.OTHER_CONFIG, otherConfig);
      tx.set(made, VM.IS_A_SNAPSHOT, snapshot);
      return made;
    });
  }

  private static void refused(ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> {
              assertThat(e.code()).isEqualTo("HOST_NOT_ENOUGH_FREE_MEMORY");
              assertThat(e.params())
                  .isEqualTo(List.of(Long.toString(MOST), Long.toString(TOTAL - MOST)));
            });
  }

  private void promise(String move, UUID vm) throws XenApiException {
    memory.promise(move, vm, MOST, coming::get);
  }

  @Test
  void whatArrivesAndWhatStartsCannotHaveTheSame() throws Exception {
    promise("one", arriving);
    refused(() -> promise("another", UUID.randomUUID()));
    refused(() -> memory.check(MOST));
    refused(() -> memory.promise(local));
  }

  @Test
  void whatStartsLeavesNoRoomForWhatArrives() throws Exception {
    try (HostMemory.Promise starting = memory.promise(local)) {
      refused(() -> promise("one", arriving));
    }
    promise("one", arriving);
  }

  @Test
  void aQuestionPromisesNothing() throws Exception {
    memory.check(MOST);
    memory.check(MOST);
    promise("one", arriving);
  }

  @Test
  void repeatedItIsOnePromise() throws Exception {
    promise("one", arriving);
    promise("one", arriving);
    memory.check(TOTAL - MOST);
  }

  @Test
  void aMoveThatHasEndedHasNoPromiseAnyMore() throws Exception {
    promise("one", arriving);
    coming.set(false);
    memory.promise(local).close();
    memory.check(TOTAL);
  }

  @Test
  void aLedgerThatCannotBeReadLetsNoPromiseGoAndFailsNobody() throws Exception {
    memory.promise(
        "one",
        arriving,
        MOST,
        () -> {
          throw new LedgerException("the disk is gone");
        });
    refused(() -> memory.promise(local));
    memory.check(TOTAL - MOST);
  }

  @Test
  void promisedTwiceItIsPromisedUntilBothAreClosed() throws Exception {
    HostMemory.Promise first = memory.promise(local);
    memory.promise(local).close();
    refused(() -> promise("one", arriving));
    first.close();
    promise("one", arriving);
  }

  @Test
  void fromItsRecordOnTheVmCountsByThatAlone() throws Exception {
    promise("one", arriving);
    vm(arriving, Map.of(VmRecords.MIGRATION_KEY, "one"), false);
    vm(UUID.randomUUID(), Map.of(VmRecords.MIGRATION_KEY, "one"), true);
    memory.check(TOTAL - MOST);
    refused(() -> memory.promise(local));
    coming.set(false);
    refused(() -> memory.promise(local));
  }
}
