package io.xenferry.simulation;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Registry;
import io.xenferry.server.messages.AllowedOperations;
import io.xenferry.time.SimulatedScheduler;
import io.xenferry.time.SimulatedThreads;
import java.io.IOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A host's database, which outlives its servers: what was committed stays. It has the host, an SR
 * and the VMs that the host shows, as they are there; tasks and operations are the product's.
 */
final class SimDatabase {
  /** What a client may do with a VM is worked out as in the product, of no message but its own. */
  static final AllowedOperations ALLOWED = new AllowedOperations(new Registry());

  /** In the pool's {@code other_config}: how many moves may leave a host at once. */
  private static final String PLACES_KEY = "xenferry:moves-out";

  /** How many that is. */
  static final int PLACES = 1;

  /** As the product has it for changes that it insists on. */
  private static final Duration AGAIN = Duration.ofSeconds(1);

  /** Of two commits one in so many is as dangerous for a server as a record of its ledger. */
  private static final int SAFER = 4;

  private static final Pattern REF = Pattern.compile("\"ref\":\"(OpaqueRef:[0-9a-f-]{36})\"");

  private final World world;
  private final SimHost host;
  private final ObjectDatabase records;
  private final Ref<Host> hostRef;
  private final String sr;

  /** As the records say: of the VMs that they have, whether they run. */
  private final Map<UUID, Boolean> shown = new HashMap<>();

  /** What clients have been promised here. */
  final ApiPromises promises;

  SimDatabase(World world, SimHost host) {
    this.world = world;
    this.host = host;
    this.records = MemoryDatabase.onCallersThread(world::uuid);
    this.promises = new ApiPromises(world, host);
    int places = world.variant == Variant.ONE_PLACE_TOO_MANY ? PLACES + 1 : PLACES;
    Value pool = Value.ofTexts(Map.of(PLACES_KEY, Integer.toString(places)));
    try {
      hostRef = Ref.of(records.write(tx -> tx.create("host", Map.of("name_label", name()))));
      records.write(tx -> tx.create("pool", Map.of("other_config", pool)));
      sr = records.write(tx -> tx.create("SR", Map.of("name_label", name())));
    } catch (XenApiException e) {
      throw new IllegalStateException(e);
    }
  }

  private Value name() {
    return Value.of(host.name);
  }

  Ref<Host> hostRef() {
    return hostRef;
  }

  /** As it is, for whoever looks from outside. */
  Snapshot snapshot() {
    follow();
    return records.snapshot();
  }

  /** As a server uses it. */
  ObjectDatabase of(SimulatedScheduler.Process server, SimulatedThreads threads) {
    return new ServersDatabase(server, threads);
  }

  /** Brings the records of VMs up to date with what there is. */
  private void follow() {
    for (SimVm vm : world.vms) {
      Boolean before = shown.get(vm.uuid);
      boolean now = host.shows(vm.uuid);
      boolean runs = host.guests.containsKey(vm.uuid);
      if (now ? before == null || before != runs : before != null) {
        try {
          records.change(tx -> follow(tx, vm.uuid, now, runs));
        } catch (XenApiException e) {
          throw new IllegalStateException(e);
        }
        if (now) {
          shown.put(vm.uuid, runs);
        } else {
          shown.remove(vm.uuid);
        }
      }
    }
  }

  private void follow(Transaction tx, UUID vm, boolean shows, boolean runs) throws XenApiException {
    Optional<Row> row = tx.byUuid("VM", vm.toString());
    if (!shows) {
      remove(tx, row.orElseThrow().ref());
      return;
    }
    Ref<VM> ref = row.isPresent() ? new Ref<>(row.get().ref()) : create(tx, vm);
    tx.set(ref, VM.POWER_STATE, runs ? VmPowerState.RUNNING : VmPowerState.HALTED);
    ALLOWED.refresh(tx, ref.opaque());
  }

  /** With the reference that its source has told whoever moved it. */
  private Ref<VM> create(Transaction tx, UUID vm) throws XenApiException {
    String ref = arrivedAs(vm).orElseGet(() -> Ref.withUuid(world.uuid()).opaque());
    tx.create("VM", ref, Map.of("uuid", Value.of(vm.toString()), "name_label", Value.of("vm")));
    SimHost.VmRecord record = Objects.requireNonNull(host.vms.get(vm));
    for (UUID disk : record.vdis) {
      String vdi = tx.create("VDI", Map.of("uuid", Value.of(disk.toString()), "SR", Value.of(sr)));
      tx.create("VBD", Map.of("VM", Value.of(ref), "VDI", Value.of(vdi)));
    }
    return new Ref<>(ref);
  }

  private Optional<String> arrivedAs(UUID vm) {
    return host.ledgerDisk.rows().stream()
        .filter(row -> row.role() == Role.DESTINATION && row.vm().equals(vm))
        .reduce((before, later) -> later)
        .map(LedgerRow::metadata)
        .map(REF::matcher)
        .filter(Matcher::find)
        .map(found -> found.group(1))
        .filter(ref -> records.snapshot().row("VM", ref).isEmpty());
  }

  private static void remove(Transaction tx, String vm) throws XenApiException {
    for (Ref<VBD> vbd : tx.get(new Ref<VM>(vm), VM.VBDS)) {
      String vdi = tx.get(vbd, VBD.VDI).opaque();
      tx.delete("VBD", vbd.opaque());
      tx.delete("VDI", vdi);
    }
    tx.delete("VM", vm);
  }

  /** Ends with its server, is full at times, and servers die at its commits. */
  private final class ServersDatabase implements ObjectDatabase {
    private final SimulatedScheduler.Process server;
    private final SimulatedThreads threads;

    ServersDatabase(SimulatedScheduler.Process server, SimulatedThreads threads) {
      this.server = server;
      this.threads = threads;
    }

    @Override
    public Snapshot snapshot() {
      endWithTheServer();
      return SimDatabase.this.snapshot();
    }

    @Override
    public <R> R write(Work<R> work) throws XenApiException {
      endWithTheServer();
      if (threads.mayWait()) {
        takeTime();
      }
      mayDie("before");
      follow();
      if (isFull()) {
        world.trace(host.name + ": the database cannot be written");
        throw new XenApiException("INTERNAL_ERROR", "The database could not store the change")
            .withCause(new IOException("the disk is full"));
      }
      long before = records.snapshot().generation();
      R result = records.write(work);
      if (records.snapshot().generation() != before) {
        promises.committed(records.snapshot());
        mayDie("after");
      }
      return result;
    }

    private void endWithTheServer() {
      if (!server.alive()) {
        throw new SimulatedCrash(host.name);
      }
    }

    /** Others get in between. */
    private void takeTime() {
      try {
        threads.await(new CompletableFuture<>(), world.latency(2));
      } catch (TimeoutException e) {
        endWithTheServer();
      } catch (InterruptedException | ExecutionException e) {
        throw new IllegalStateException("nothing does that", e);
      }
    }

    private void mayDie(String when) {
      if (world.chance(Fault.SOURCE_KILLED) && world.random.nextInt(SAFER) == 0) {
        host.crash(when + " a commit of its database");
        throw new SimulatedCrash(host.name);
      }
    }

    private boolean isFull() {
      return !world.quiet && world.scheduler.nanoTime() < host.ledgerFailsUntil;
    }

    @Override
    public CompletableFuture<Void> insist(Change change) {
      CompletableFuture<Void> made = new CompletableFuture<>();
      insist(change, made);
      return made;
    }

    private void insist(Change change, CompletableFuture<Void> made) {
      try {
        change(change);
        made.complete(null);
      } catch (XenApiException e) {
        if (e.getCause() instanceof IOException) {
          server.schedule(AGAIN, () -> insist(change, made));
        } else {
          made.completeExceptionally(e);
        }
      }
    }

    @Override
    public Registration onCommit(Consumer<Snapshot> listener) {
      return records.onCommit(listener);
    }

    @Override
    public void close() {}
  }
}
