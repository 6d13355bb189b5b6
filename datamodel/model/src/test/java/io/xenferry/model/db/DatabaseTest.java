package io.xenferry.model.db;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VMGroup;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot.Change;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What holds for every database, shown with the one in memory. */
class DatabaseTest {
  private final ObjectDatabase db = create();

  /** The one that is looked at. */
  ObjectDatabase create() {
    return MemoryDatabase.create();
  }

  @AfterEach
  void close() {
    db.close();
  }

  private Ref<VM> vm(String name) throws XenApiException {
    return Ref.of(db.write(tx -> tx.create("VM", Map.of("name_label", Value.of(name)))));
  }

  private Ref<VBD> vbd(Ref<VM> vm) throws XenApiException {
    return Ref.of(db.write(tx -> tx.create("VBD", Map.of("VM", Value.of(vm)))));
  }

  @Test
  void aNewObjectHasItsDefaultsAndAUuid() throws XenApiException {
    Ref<VM> vm = vm("one");
    Snapshot s = db.snapshot();
    assertThat(s.get(vm, VM.NAME_LABEL)).isEqualTo("one");
    assertThat(s.get(vm, VM.POWER_STATE)).isEqualTo(VmPowerState.HALTED);
    assertThat(s.get(vm, VM.AFFINITY).isNull()).isTrue();
    assertThat(s.get(vm, VM.VBDS)).isEmpty();
    String uuid = s.get(vm, VM.UUID);
    assertThat(s.byUuid("VM", uuid).orElseThrow().ref()).isEqualTo(vm.opaque());
    assertThat(s.counts()).containsEntry("vm", 1).containsEntry("vbd", 0);
  }

  @Test
  void viewsFollowReferencesAndCountAsChangesOfTheObjectThatHasThem() throws XenApiException {
    Ref<VM> a = vm("a");
    Ref<VM> b = vm("b");
    Ref<VBD> disk = vbd(a);
    assertThat(db.snapshot().get(a, VM.VBDS)).containsExactly(disk);
    long before = db.snapshot().generation();
    db.write(tx -> {
      tx.set(disk, VBD.VM, b);
      return null;
    });
    assertThat(db.snapshot().get(a, VM.VBDS)).isEmpty();
    assertThat(db.snapshot().get(b, VM.VBDS)).containsExactly(disk);
    assertThat(db.snapshot().changesSince(before))
        .extracting(Change::ref, Change::kind)
        .containsExactlyInAnyOrder(
            org.assertj.core.groups.Tuple.tuple(a.opaque(), Change.Kind.MOD),
            org.assertj.core.groups.Tuple.tuple(b.opaque(), Change.Kind.MOD),
            org.assertj.core.groups.Tuple.tuple(disk.opaque(), Change.Kind.MOD));
    db.write(tx -> {
      tx.delete("VM", b.opaque());
      return null;
    });
    assertThat(db.snapshot().get(disk, VBD.VM)).as("dangling references stay").isEqualTo(b);
  }

  @Test
  void aViewBetweenTwoSetsCanBeSetFromBothEnds() throws XenApiException {
    Ref<VM> vm = vm("a");
    Ref<VMGroup> group = Ref.of(db.write(tx -> tx.create("VM_group", Map.of())));
    db.write(tx -> {
      tx.set(group, VMGroup.VMS, List.of(vm));
      return null;
    });
    assertThat(db.snapshot().get(vm, VM.GROUPS)).containsExactly(group);
    assertThat(db.snapshot().get(group, VMGroup.VMS)).containsExactly(vm);
  }

  @Test
  void changesTellOfObjectsOnce() throws XenApiException {
    long start = db.snapshot().generation();
    Ref<VM> kept = vm("kept");
    Ref<VM> gone = vm("gone");
    long middle = db.snapshot().generation();
    db.write(tx -> {
      tx.set(kept, VM.NAME_LABEL, "x");
      tx.set(kept, VM.NAME_LABEL, "y");
      tx.delete("VM", gone.opaque());
      return null;
    });
    assertThat(db.snapshot().changesSince(middle))
        .extracting(Change::kind)
        .containsExactly(Change.Kind.MOD, Change.Kind.DEL);
    assertThat(db.snapshot().changesSince(start))
        .as("what came and went is not told")
        .singleElement()
        .satisfies(c -> assertThat(c.kind()).isEqualTo(Change.Kind.ADD));
    assertThat(db.snapshot().changesSince(Long.MAX_VALUE))
        .as("a token of a lost future starts anew")
        .hasSize(1);
  }

  @Test
  void failuresLeaveNothing() throws XenApiException {
    Ref<VM> vm = vm("a");
    long before = db.snapshot().generation();
    assertThatThrownBy(() ->
            db.write(tx -> {
              tx.set(vm, VM.NAME_LABEL, "b");
              tx.delete("VM", "OpaqueRef:none");
              return null;
            }))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> {
              assertThat(e.code()).isEqualTo("HANDLE_INVALID");
              assertThat(e.params()).containsExactly("VM", "OpaqueRef:none");
            });
    assertThat(db.snapshot().get(vm, VM.NAME_LABEL)).isEqualTo("a");
    assertThat(db.snapshot().generation()).isEqualTo(before);
    assertThatThrownBy(
            () -> db.write(tx -> tx.create("VM", Map.of("power_state", Value.of("Sideways")))))
        .hasMessageContaining("INVALID_VALUE");
    assertThatThrownBy(
            () -> db.write(tx -> tx.create("VM", Map.of("memory_target", Value.of("1")))))
        .hasMessageContaining("INVALID_VALUE");
    String uuid = db.snapshot().get(vm, VM.UUID);
    assertThatThrownBy(() -> db.write(tx -> tx.create("VM", Map.of("uuid", Value.of(uuid)))))
        .hasMessageContaining("DB_UNIQUENESS_CONSTRAINT_VIOLATION");
    assertThatThrownBy(() -> db.snapshot().requireUuid("VM", "no"))
        .hasMessageContaining("UUID_INVALID");
  }

  @Test
  void listenersSeeEveryCommitInOrderAndATransactionDoesNotWaitForItself() throws XenApiException {
    List<Long> seen = new ArrayList<>();
    try (var registration = db.onCommit(s -> seen.add(s.generation()))) {
      vm("a");
      vm("b");
    }
    vm("c");
    assertThat(seen).containsExactly(1L, 2L);
    assertThatThrownBy(() -> db.write(tx -> db.write(inner -> null)))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void readersDuringWritesSeeWholeTransactions() throws Exception {
    Ref<VM> a = vm("0");
    Ref<VM> b = vm("0");
    AtomicBoolean stop = new AtomicBoolean();
    List<String> torn = new ArrayList<>();
    CountDownLatch reading = new CountDownLatch(1);
    Thread reader =
        Thread.ofPlatform()
            .start(() -> {
              try {
                while (!stop.get()) {
                  Snapshot s = db.snapshot();
                  String x = s.get(a, VM.NAME_LABEL);
                  String y = s.get(b, VM.NAME_LABEL);
                  if (!x.equals(y)) {
                    torn.add(x + " and " + y);
                  }
                  reading.countDown();
                }
              } catch (XenApiException e) {
                torn.add(e.toString());
              }
            });
    reading.await();
    for (int i = 1; i <= 2000; i++) {
      String name = String.valueOf(i);
      db.write(tx -> {
        tx.set(a, VM.NAME_LABEL, name);
        tx.set(b, VM.NAME_LABEL, name);
        return null;
      });
    }
    stop.set(true);
    reader.join();
    assertThat(torn).isEmpty();
  }

  @Test
  void nothingIsVisibleBeforeTheStoreHasItAndAFailureIsUndone() throws Exception {
    CountDownLatch storing = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    AtomicBoolean fail = new AtomicBoolean();
    Store slow =
        new Store() {
          @Override
          public State load() {
            return State.EMPTY;
          }

          @Override
          public void commit(List<Commit> commits, long generation) throws IOException {
            storing.countDown();
            try {
              go.await();
            } catch (InterruptedException e) {
              throw new IOException(e);
            }
            if (fail.get()) {
              throw new IOException("no space left");
            }
          }

          @Override
          public void close() {}
        };
    try (ObjectDatabase slowly = new Engine(slow)) {
      AtomicInteger told = new AtomicInteger();
      slowly.onCommit(s -> told.incrementAndGet());
      Thread writer =
          Thread.ofVirtual()
              .start(() -> {
                try {
                  slowly.write(tx -> tx.create("host", Map.of()));
                } catch (XenApiException e) {
                  throw new AssertionError(e);
                }
              });
      storing.await();
      assertThat(slowly.snapshot().rows("host")).isEmpty();
      assertThat(told).as("events").hasValue(0);
      assertThat(writer.isAlive()).as("no answer yet").isTrue();
      go.countDown();
      writer.join();
      assertThat(told).as("events").hasValue(1);
      assertThat(slowly.snapshot().rows("host")).hasSize(1);
      fail.set(true);
      Ref<Host> host = slowly.snapshot().<Host>refs(Host.CLASS).getFirst();
      assertThatThrownBy(() ->
              slowly.write(tx -> {
                tx.set(host, Host.NAME_LABEL, "never");
                return null;
              }))
          .isInstanceOf(XenApiException.class)
          .hasMessageContaining("no space left");
      assertThat(slowly.snapshot().get(host, Host.NAME_LABEL)).isEmpty();
      fail.set(false);
      slowly.write(tx -> {
        tx.set(host, Host.NAME_LABEL, "now");
        return null;
      });
      assertThat(slowly.snapshot().get(host, Host.NAME_LABEL)).isEqualTo("now");
    }
  }

  @Test
  void whatIsInsistedOnIsMadeOnceThereIsRoom() throws Exception {
    AtomicBoolean full = new AtomicBoolean(true);
    Store narrow =
        new Store() {
          @Override
          public State load() {
            return State.EMPTY;
          }

          @Override
          public void commit(List<Commit> commits, long generation) throws IOException {
            if (full.get()) {
              throw new IOException("no space left");
            }
          }

          @Override
          public void close() {}
        };
    CompletableFuture<Void> never;
    try (ObjectDatabase database = new Engine(narrow)) {
      CompletableFuture<Void> made = database.insist(tx -> tx.create("host", Map.of()));
      assertThat(made).isNotDone();
      full.set(false);
      assertThat(made).succeedsWithin(Duration.ofSeconds(30));
      assertThat(database.snapshot().rows("host")).hasSize(1);
      assertThat(database.insist(tx -> tx.create("host", Map.of()))).isCompleted();
      assertThat(database.insist(tx -> tx.delete("host", "gone"))).isCompletedExceptionally();
      full.set(true);
      never = database.insist(tx -> tx.create("host", Map.of()));
    }
    assertThat(never).as("a closed database is not waited for").failsWithin(Duration.ofSeconds(30));
  }

  /** Holds the first commit until it is let go, and notes how many changes each one had. */
  private static final class Gated implements Store {
    final CountDownLatch storing = new CountDownLatch(1);
    final CountDownLatch go = new CountDownLatch(1);
    final List<Integer> sizes = new CopyOnWriteArrayList<>();
    final AtomicBoolean outOfMemory = new AtomicBoolean();

    @Override
    public State load() {
      return State.EMPTY;
    }

    @Override
    public void commit(List<Commit> commits, long generation) throws IOException {
      sizes.add(commits.size());
      storing.countDown();
      try {
        go.await();
      } catch (InterruptedException e) {
        throw new IOException(e);
      }
      if (outOfMemory.get()) {
        throw new OutOfMemoryError("as if");
      }
    }

    @Override
    public void close() {}
  }

  /** Each on a thread of its own; complete with the reference, or with what went wrong. */
  private static List<CompletableFuture<String>> creations(ObjectDatabase database, int count) {
    List<CompletableFuture<String>> all = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      CompletableFuture<String> made = new CompletableFuture<>();
      all.add(made);
      Thread.ofVirtual()
          .start(() -> {
            try {
              made.complete(database.write(tx -> tx.create("VM", Map.of())));
            } catch (XenApiException e) {
              made.completeExceptionally(e);
            }
          });
    }
    return all;
  }

  @Test
  void whatQueuesDuringACommitGoesTogetherInTheNext() throws Exception {
    Gated store = new Gated();
    try (Engine database = new Engine(store)) {
      List<CompletableFuture<String>> first = creations(database, 1);
      store.storing.await();
      List<CompletableFuture<String>> more = creations(database, 40);
      await().until(() -> database.queued() == 40);
      store.go.countDown();
      for (CompletableFuture<String> each : first) {
        each.get();
      }
      for (CompletableFuture<String> each : more) {
        each.get();
      }
      assertThat(store.sizes).as("one sync for all that waited").containsExactly(1, 40);
      assertThat(database.snapshot().rows("VM")).hasSize(41);
    }
  }

  @Test
  void aWriterThatDiesLeavesNobodyWaiting() throws Exception {
    Gated store = new Gated();
    store.outOfMemory.set(true);
    try (Engine database = new Engine(store)) {
      List<CompletableFuture<String>> all = creations(database, 1);
      store.storing.await();
      all.addAll(creations(database, 5));
      await().until(() -> database.queued() == 5);
      store.go.countDown();
      for (CompletableFuture<String> each : all) {
        assertThat(each)
            .failsWithin(Duration.ofSeconds(60))
            .withThrowableOfType(ExecutionException.class)
            .withMessageContaining("OutOfMemoryError");
      }
      assertThatThrownBy(() -> database.write(tx -> tx.create("VM", Map.of())))
          .hasMessageContaining("closed");
      assertThat(database.snapshot().rows("VM")).as("not durable, so not visible").isEmpty();
    }
  }

  @Test
  void theCheckerFindsBrokenReferences() throws XenApiException {
    Ref<VM> vm = vm("a");
    Ref<VBD> disk = vbd(vm);
    db.write(tx -> {
      tx.set(disk, VBD.VDI, Ref.<VDI>of("OpaqueRef:lost"));
      return null;
    });
    assertThat(DatabaseChecker.check(db.snapshot()))
        .singleElement()
        .satisfies(f -> {
          assertThat(f.kind()).isEqualTo(DatabaseChecker.Kind.BROKEN_REFERENCE);
          assertThat(f.ref()).isEqualTo(disk.opaque());
          assertThat(f.field()).isEqualTo("VDI");
        });
  }

  /** Which no transaction can make: the row says that it has no disks. */
  @Test
  void theCheckerFindsAListThatDoesNotFollowFromItsReferences() throws XenApiException {
    Ref<VM> vm = vm("a");
    Ref<VBD> disk = vbd(vm);
    assertThat(DatabaseChecker.check(db.snapshot())).isEmpty();
    assertThat(DatabaseChecker.check(without(disk, db.snapshot())))
        .singleElement()
        .satisfies(f -> {
          assertThat(f.kind()).isEqualTo(DatabaseChecker.Kind.BROKEN_VIEW);
          assertThat(f.ref()).isEqualTo(vm.opaque());
          assertThat(f.field()).isEqualTo("VBDs");
        });
  }

  /** The snapshot, but for one object, of which only the lists of others tell. */
  private static Snapshot without(Ref<VBD> hidden, Snapshot whole) {
    return (Snapshot)
        java.lang.reflect.Proxy.newProxyInstance(
            Snapshot.class.getClassLoader(),
            new Class<?>[] {Snapshot.class},
            (proxy, method, arguments) ->
                method.getName().equals("rows") && "VBD".equals(arguments[0])
                    ? whole.rows("VBD").stream()
                        .filter(row -> !row.ref().equals(hidden.opaque()))
                        .toList()
                    : method.invoke(whole, arguments));
  }
}
