package io.xenferry.server.schedule;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMSS;
import io.xenferry.model.Value;
import io.xenferry.model.VmssType;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.Tasks;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.XmlRpcCodec;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Takes snapshots when schedules are due, and destroys what a VM then has too many of: the oldest
 * among those that a schedule took. A time that passes while no server runs, or while the clock
 * jumps over it, is not made up for; a clock that is put back brings none twice. What becomes of a
 * schedule is told in messages of it. Thread-safe.
 */
public final class SnapshotSchedules implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(SnapshotSchedules.class);

  /** Schedules are due at quarters of an hour; nobody minds some seconds. */
  private static final Duration LOOK = Duration.ofSeconds(10);

  /** Schedules whose VMs get their snapshots at once; each takes one VM after another. */
  private static final int AT_ONCE = 2;

  /** For those under way to end when the server does. */
  private static final Duration LAST_MOMENT = Duration.ofSeconds(10);

  /** Of the messages, as published servers have them. */
  private static final long SUCCEEDED = 5;

  private static final long FAILED = 3;

  private static final DateTimeFormatter STAMP =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);

  /** Takes a snapshot. */
  @FunctionalInterface
  public interface Taking {
    /**
     * @param memory with the memory of a guest that runs
     */
    Ref<VM> take(Ref<VM> vm, String name, boolean memory, Task task) throws XenApiException;
  }

  /** Destroys one with its disks. */
  @FunctionalInterface
  public interface Destroying {
    void destroy(Ref<VM> snapshot, Task task) throws XenApiException;
  }

  private final ObjectDatabase database;
  private final Tasks tasks;
  private final Alerts alerts;
  private final Clock clock;
  private final ZoneId zone;
  private final Taking taking;
  private final Destroying destroying;
  private final Set<Ref<VMSS>> running = ConcurrentHashMap.newKeySet();
  private final ScheduledThreadPoolExecutor scheduler;
  private final ExecutorService runs =
      Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("schedule-", 0).factory());
  private final Semaphore places = new Semaphore(AT_ONCE);

  /** Up to when it is known what was due; only {@link #look} uses it. */
  private Instant seen;

  /**
   * @param zone of the times in schedules
   */
  public SnapshotSchedules(
      ObjectDatabase database,
      Tasks tasks,
      Alerts alerts,
      Clock clock,
      ZoneId zone,
      Taking taking,
      Destroying destroying) {
    this.database = database;
    this.tasks = tasks;
    this.alerts = alerts;
    this.clock = clock;
    this.zone = zone;
    this.taking = taking;
    this.destroying = destroying;
    this.seen = clock.instant();
    this.scheduler =
        new ScheduledThreadPoolExecutor(1, Thread.ofVirtual().name("schedules").factory());
  }

  /** Begins to follow the clock. */
  public void start() {
    var unused =
        scheduler.scheduleWithFixedDelay(
            () -> {
              for (Ref<VMSS> due : look()) {
                runs.execute(() -> inTurn(due));
              }
            },
            0,
            LOOK.toMillis(),
            TimeUnit.MILLISECONDS);
  }

  /** Which schedules have become due since this was last asked. */
  synchronized List<Ref<VMSS>> look() {
    List<Ref<VMSS>> due = new ArrayList<>();
    try {
      Instant now = clock.instant();
      Snapshot db = database.snapshot();
      for (Row row : db.rows("VMSS")) {
        Ref<VMSS> schedule = new Ref<>(row.ref());
        Instant latest =
            SnapshotTimes.of(db.get(schedule, VMSS.FREQUENCY), db.get(schedule, VMSS.SCHEDULE))
                .latest(now.atZone(zone))
                .toInstant();
        if (db.get(schedule, VMSS.ENABLED)
            && latest.isAfter(seen)
            && latest.isAfter(db.get(schedule, VMSS.LAST_RUN_TIME))) {
          due.add(schedule);
        }
      }
      seen = now;
    } catch (XenApiException | RuntimeException e) {
      log.error("what is due by the schedules is not known", e);
    }
    return due;
  }

  private void inTurn(Ref<VMSS> due) {
    try {
      places.acquire();
      try {
        runDue(due);
      } finally {
        places.release();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** What is due, by itself: nobody waits for the outcome. */
  void runDue(Ref<VMSS> schedule) {
    try {
      run(schedule);
    } catch (XenApiException | RuntimeException e) {
      log.warn("schedule {} has failed", schedule, e);
      if (e instanceof XenApiException known
          && known.code().equals("OTHER_OPERATION_IN_PROGRESS")) {
        tell(schedule, "VMSS_SNAPSHOT_LOCK_FAILED", FAILED, "it is still under way");
      }
    }
  }

  /**
   * Takes a snapshot of each VM of the schedule, one after another.
   *
   * @return the snapshots
   * @throws XenApiException OTHER_OPERATION_IN_PROGRESS, or OPERATION_PARTIALLY_FAILED with the VMs
   *     that have got none
   */
  List<Ref<VM>> run(Ref<VMSS> schedule) throws XenApiException {
    if (!running.add(schedule)) {
      throw new XenApiException(
          "OTHER_OPERATION_IN_PROGRESS", "VMSS", schedule.opaque(), "snapshot_now", "");
    }
    try {
      Instant now = clock.instant();
      database.change(tx -> tx.set(schedule, VMSS.LAST_RUN_TIME, now));
      List<Ref<VM>> taken = new ArrayList<>();
      Map<Ref<VM>, String> failures = new LinkedHashMap<>();
      for (Ref<VM> vm : List.copyOf(database.snapshot().get(schedule, VMSS.VMS))) {
        try {
          taken.add(take(schedule, vm, now));
        } catch (XenApiException e) {
          log.warn("schedule {}: no snapshot of {}", schedule, vm, e);
          failures.put(vm, String.valueOf(e.getMessage()));
        }
      }
      if (!failures.isEmpty()) {
        tell(schedule, "VMSS_SNAPSHOT_FAILED", FAILED, String.join("\n", failures.values()));
        List<String> words = new ArrayList<>(List.of("VMSS.snapshot_now"));
        failures.keySet().forEach(vm -> words.add(vm.opaque()));
        throw new XenApiException("OPERATION_PARTIALLY_FAILED", words);
      }
      tell(schedule, "VMSS_SNAPSHOT_SUCCEEDED", SUCCEEDED, taken.size() + " snapshots");
      return taken;
    } finally {
      running.remove(schedule);
    }
  }

  private Ref<VM> take(Ref<VMSS> schedule, Ref<VM> vm, Instant now) throws XenApiException {
    Snapshot db = database.snapshot();
    boolean memory = db.get(schedule, VMSS.TYPE) == VmssType.CHECKPOINT;
    String name =
        db.get(vm, VM.NAME_LABEL)
            + " "
            + db.get(schedule, VMSS.NAME_LABEL)
            + " "
            + STAMP.format(now);
    Task task =
        tasks.start(
            memory ? "VM.checkpoint" : "VM.snapshot", name, Ref.nullRef(), "", Ref.nullRef());
    task.tell(Map.of("ShowInXenCenter", "", "applies_to", vm.opaque()));
    Ref<VM> snapshot;
    try {
      snapshot = taking.take(vm, name, memory, task);
    } catch (XenApiException e) {
      tasks.fail(task.ref(), e);
      throw e;
    }
    destroyOld(schedule, vm, task);
    tasks.succeed(
        task.ref(), new XmlRpcCodec(Dialect.XENAPI).valueElement(Content.of(Value.of(snapshot))));
    return snapshot;
  }

  /** The oldest go, once there is a new one; what cannot be destroyed is tried again next time. */
  private void destroyOld(Ref<VMSS> schedule, Ref<VM> vm, Task task) throws XenApiException {
    Snapshot db = database.snapshot();
    Map<Ref<VM>, Instant> times = new LinkedHashMap<>();
    for (Ref<VM> snapshot : db.get(vm, VM.SNAPSHOTS)) {
      if (db.get(snapshot, VM.IS_VMSS_SNAPSHOT)) {
        times.put(snapshot, db.get(snapshot, VM.SNAPSHOT_TIME));
      }
    }
    List<Ref<VM>> oldest =
        times.entrySet().stream()
            .sorted(Map.Entry.comparingByValue())
            .map(Map.Entry::getKey)
            .toList();
    long surplus = oldest.size() - db.get(schedule, VMSS.RETAINED_SNAPSHOTS);
    for (int i = 0; i < surplus; i++) {
      try {
        destroying.destroy(oldest.get(i), task);
      } catch (XenApiException e) {
        log.warn("schedule {}: an old snapshot of {} stays", schedule, vm, e);
      }
    }
  }

  private void tell(Ref<VMSS> schedule, String name, long priority, String body) {
    try {
      String uuid = database.snapshot().get(schedule, VMSS.UUID);
      alerts.create(name, priority, "VMSS", uuid, body);
    } catch (XenApiException e) {
      log.warn("{} of schedule {} is not told", name, schedule, e);
    }
  }

  @Override
  public void close() {
    scheduler.shutdownNow();
    runs.shutdownNow();
    try {
      if (!runs.awaitTermination(LAST_MOMENT.toMillis(), TimeUnit.MILLISECONDS)) {
        log.warn("snapshots by schedules are still being taken");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
