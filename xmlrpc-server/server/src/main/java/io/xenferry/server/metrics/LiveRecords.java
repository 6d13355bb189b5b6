package io.xenferry.server.metrics;

import io.xenferry.model.Host;
import io.xenferry.model.HostCpu;
import io.xenferry.model.HostMetrics;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.metrics.Figures.Listed;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Brings the records that tell of use up to date: VM_metrics, host_metrics and host_cpu. What has
 * hardly changed stays as it is, since every change is an event for every client.
 */
final class LiveRecords {
  /** Of memory, bytes. */
  private static final long MUCH_MEMORY = 4 << 20;

  /** Of a processor's time. */
  private static final double MUCH_TIME = 0.02;

  private final ObjectDatabase database;
  private final Figures figures;
  private final Clock clock;
  private final Ref<Host> host;

  LiveRecords(ObjectDatabase database, Figures figures, Clock clock, Ref<Host> host) {
    this.database = database;
    this.figures = figures;
    this.clock = clock;
    this.host = host;
  }

  /** A change to a record, decided on before the transaction. */
  private interface Change {
    void apply(Transaction tx) throws XenApiException;
  }

  /**
   * @param guests of this host
   */
  void update(Collection<Owner> guests) throws XenApiException {
    Snapshot db = database.snapshot();
    List<Change> changes = new ArrayList<>();
    for (Owner guest : guests) {
      Optional<Row> vm = db.byUuid("VM", guest.uuid());
      if (vm.isPresent()) {
        Ref<VMMetrics> metrics = db.get(new Ref<VM>(vm.get().ref()), VM.METRICS);
        if (!metrics.isNull()) {
          guest(db, metrics, values(guest), changes);
        }
      }
    }
    host(db, values(new Owner(Owner.Kind.HOST, db.get(host, Host.UUID))), changes);
    if (!changes.isEmpty()) {
      database.change(tx -> {
        for (Change change : changes) {
          change.apply(tx);
        }
      });
    }
  }

  private Map<String, Double> values(Owner owner) {
    Map<String, Double> values = new HashMap<>();
    for (Listed one : figures.list(owner)) {
      one.value().ifPresent(value -> values.put(one.name(), value));
    }
    return values;
  }

  /** Shares of processors by number, to a hundredth. */
  private static Map<Long, Double> processors(Map<String, Double> values) {
    Map<Long, Double> shares = new TreeMap<>();
    values.forEach((name, value) -> {
      if (name.matches("cpu\\d+")) {
        shares.put(Long.parseLong(name.substring(3)), Math.rint(value * 100) / 100);
      }
    });
    return shares;
  }

  private void guest(
      Snapshot db, Ref<VMMetrics> metrics, Map<String, Double> values, List<Change> changes)
      throws XenApiException {
    Map<Long, Double> shares = processors(values);
    Map<Long, Double> known = db.get(metrics, VMMetrics.VCPUS_UTILISATION);
    Double memory = values.get("memory");
    boolean moreOrLess =
        memory != null && differ(db.get(metrics, VMMetrics.MEMORY_ACTUAL), memory.longValue());
    if (moreOrLess || differ(known, shares)) {
      changes.add(tx -> {
        if (tx.row("VM_metrics", metrics.opaque()).isPresent()) {
          tx.set(metrics, VMMetrics.VCPUS_UTILISATION, shares);
          if (memory != null) {
            tx.set(metrics, VMMetrics.MEMORY_ACTUAL, memory.longValue());
          }
          tx.set(metrics, VMMetrics.LAST_UPDATED, clock.instant());
        }
      });
    }
  }

  private void host(Snapshot db, Map<String, Double> values, List<Change> changes)
      throws XenApiException {
    Ref<HostMetrics> metrics = db.get(host, Host.METRICS);
    Double total = values.get("memory_total_kib");
    Double free = values.get("memory_free_kib");
    if (total != null
        && free != null
        && (differ(db.get(metrics, HostMetrics.MEMORY_FREE), (long) (free * 1024))
            || differ(db.get(metrics, HostMetrics.MEMORY_TOTAL), (long) (total * 1024)))) {
      changes.add(tx -> {
        tx.set(metrics, HostMetrics.MEMORY_TOTAL, (long) (total * 1024));
        tx.set(metrics, HostMetrics.MEMORY_FREE, (long) (free * 1024));
        tx.set(metrics, HostMetrics.LAST_UPDATED, clock.instant());
      });
    }
    Map<Long, Double> shares = processors(values);
    for (Ref<HostCpu> cpu : db.<HostCpu, Ref<Host>>where(HostCpu.HOST, host)) {
      Double share = shares.get(db.get(cpu, HostCpu.NUMBER));
      if (share != null && Math.abs(share - db.get(cpu, HostCpu.UTILISATION)) > MUCH_TIME) {
        changes.add(tx -> tx.set(cpu, HostCpu.UTILISATION, share));
      }
    }
  }

  private static boolean differ(long known, long now) {
    return Math.abs(known - now) >= MUCH_MEMORY;
  }

  private static boolean differ(Map<Long, Double> known, Map<Long, Double> now) {
    return !known.keySet().equals(now.keySet())
        || now.entrySet().stream()
            .anyMatch(
                e -> Math.abs(e.getValue() - known.getOrDefault(e.getKey(), 0.0)) > MUCH_TIME);
  }
}
