package io.xenferry.server.vm;

import io.xenferry.model.Field;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMAppliance;
import io.xenferry.model.VmApplianceOperation;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Starts and stops the VMs of an appliance: those with the same {@code order} at once, one order
 * after another, the lowest first to start and last to stop. Before the next order begins the
 * longest {@code start_delay}, or {@code shutdown_delay}, of the last one passes. A VM that fails
 * keeps no other from its turn. Blocking.
 */
public final class Appliances {
  private static final Logger log = LoggerFactory.getLogger(Appliances.class);

  /** Guests that begin or end at once; more would only wait for the same disks. */
  private static final int AT_ONCE = 8;

  /** What a longer delay counts as. */
  static final Duration LONGEST_DELAY = Duration.ofHours(1);

  /** What is done with one VM. */
  @FunctionalInterface
  interface Step {
    void on(Ref<VM> vm, Task task) throws XenApiException;
  }

  /** Lets time pass between two orders. */
  @FunctionalInterface
  interface Delay {
    /** Returns early when the task is cancelled. */
    void pass(Duration time, Task task) throws InterruptedException;
  }

  /**
   * One operation.
   *
   * @param wanted the power state in which a VM has nothing to do any more
   * @param delay of a VM, in seconds
   */
  private record Work(
      VmApplianceOperation operation, VmPowerState wanted, Field<VM, Long> delay, Step step) {
    boolean starts() {
      return operation == VmApplianceOperation.START;
    }

    /** As clients call it. */
    String name() {
      return "VM_appliance." + operation.wire();
    }
  }

  private final ObjectDatabase database;
  private final Step start;
  private final Step startPaused;
  private final Map<VmApplianceOperation, Step> stops;
  private final Delay delay;

  public Appliances(ObjectDatabase database, VmLifecycle lifecycle, VmLifecycleMessages power) {
    this(
        database,
        (vm, task) -> lifecycle.start(vm, false, task.ref()),
        (vm, task) -> lifecycle.start(vm, true, task.ref()),
        Map.of(
            VmApplianceOperation.CLEAN_SHUTDOWN,
            lifecycle::cleanShutdown,
            VmApplianceOperation.HARD_SHUTDOWN,
            (vm, task) -> power.hardShutdown(vm, task.ref()),
            VmApplianceOperation.SHUTDOWN,
            (vm, task) -> shutDown(database, power, vm, task)),
        Appliances::await);
  }

  Appliances(
      ObjectDatabase database,
      Step start,
      Step startPaused,
      Map<VmApplianceOperation, Step> stops,
      Delay delay) {
    this.database = database;
    this.start = start;
    this.startPaused = startPaused;
    this.stops = stops;
    this.delay = delay;
  }

  /** Nobody can be asked in a VM that does not run. */
  private static void shutDown(
      ObjectDatabase database, VmLifecycleMessages power, Ref<VM> vm, Task task)
      throws XenApiException {
    if (database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.RUNNING) {
      power.shutdown(vm, task);
    } else {
      power.hardShutdown(vm, task.ref());
    }
  }

  private static void await(Duration time, Task task) throws InterruptedException {
    CountDownLatch cancelled = new CountDownLatch(1);
    task.onCancel(cancelled::countDown);
    boolean unused = cancelled.await(time.toMillis(), TimeUnit.MILLISECONDS);
  }

  /**
   * @throws XenApiException as {@link #stop}
   */
  void start(Ref<VMAppliance> appliance, boolean paused, Task task)
      throws XenApiException, InterruptedException {
    run(
        appliance,
        new Work(
            VmApplianceOperation.START,
            paused ? VmPowerState.PAUSED : VmPowerState.RUNNING,
            VM.START_DELAY,
            paused ? startPaused : start),
        task);
  }

  /**
   * @param how anything but START
   * @throws XenApiException OTHER_OPERATION_IN_PROGRESS, OPERATION_NOT_ALLOWED when no VM is in a
   *     state for it, OPERATION_PARTIALLY_FAILED with the VMs that did not get there,
   *     TASK_CANCELLED
   */
  void stop(Ref<VMAppliance> appliance, VmApplianceOperation how, Task task)
      throws XenApiException, InterruptedException {
    Step step = stops.get(how);
    if (step == null) {
      throw new IllegalArgumentException(how.wire());
    }
    run(appliance, new Work(how, VmPowerState.HALTED, VM.SHUTDOWN_DELAY, step), task);
  }

  private void run(Ref<VMAppliance> appliance, Work work, Task task)
      throws XenApiException, InterruptedException {
    begin(appliance, work.operation(), task.ref());
    try {
      List<Ref<VM>> members = left(work, database.snapshot().get(appliance, VMAppliance.VMS));
      int done = 0;
      Duration before = Duration.ZERO;
      for (List<Ref<VM>> order : orders(work, members)) {
        if (before.isPositive()) {
          delay.pass(before, task);
        }
        task.throwIfCancelled();
        before = longestDelay(work, order);
        together(work, order, task);
        done += order.size();
        task.progress((double) done / members.size());
      }
      task.pastCancelling();
      List<Ref<VM>> failed = left(work, members);
      if (!failed.isEmpty()) {
        List<String> words = new ArrayList<>(List.of(work.name()));
        failed.forEach(vm -> words.add(vm.opaque()));
        throw new XenApiException("OPERATION_PARTIALLY_FAILED", words);
      }
    } finally {
      end(appliance, task.ref());
    }
  }

  private void begin(Ref<VMAppliance> appliance, VmApplianceOperation operation, String task)
      throws XenApiException {
    database.change(tx -> {
      requireIdle(tx, appliance);
      if (!allowed(tx, appliance).contains(operation)) {
        throw new XenApiException(
            "OPERATION_NOT_ALLOWED",
            "no VM of the appliance is in a state for " + operation.wire());
      }
      tx.set(appliance, VMAppliance.CURRENT_OPERATIONS, Map.of(task, operation));
    });
  }

  /**
   * @throws XenApiException OTHER_OPERATION_IN_PROGRESS
   */
  static void requireIdle(Snapshot db, Ref<VMAppliance> appliance) throws XenApiException {
    for (var other : db.get(appliance, VMAppliance.CURRENT_OPERATIONS).entrySet()) {
      throw new XenApiException(
          "OTHER_OPERATION_IN_PROGRESS",
          "VM_appliance",
          appliance.opaque(),
          other.getValue().wire(),
          other.getKey());
    }
  }

  /** Also when the database is on a full disk: until then nothing else may be done with it. */
  private void end(Ref<VMAppliance> appliance, String task) {
    DeviceOperations.record(
        database,
        appliance,
        tx -> {
          if (tx.row("VM_appliance", appliance.opaque()).isPresent()) {
            Map<String, VmApplianceOperation> current =
                new LinkedHashMap<>(tx.get(appliance, VMAppliance.CURRENT_OPERATIONS));
            current.remove(task);
            tx.set(appliance, VMAppliance.CURRENT_OPERATIONS, current);
          }
        });
  }

  /** What may be done with an appliance: one thing at a time, and only what some VM needs. */
  public static List<VmApplianceOperation> allowed(Snapshot db, Ref<VMAppliance> appliance)
      throws XenApiException {
    if (!db.get(appliance, VMAppliance.CURRENT_OPERATIONS).isEmpty()) {
      return List.of();
    }
    boolean halted = false;
    boolean running = false;
    boolean up = false;
    for (Ref<VM> vm : db.get(appliance, VMAppliance.VMS)) {
      VmPowerState state = db.get(vm, VM.POWER_STATE);
      halted |= state == VmPowerState.HALTED;
      running |= state == VmPowerState.RUNNING;
      up |= state != VmPowerState.HALTED;
    }
    List<VmApplianceOperation> allowed = new ArrayList<>();
    if (halted) {
      allowed.add(VmApplianceOperation.START);
    }
    if (running) {
      allowed.add(VmApplianceOperation.CLEAN_SHUTDOWN);
    }
    if (up) {
      allowed.add(VmApplianceOperation.HARD_SHUTDOWN);
      allowed.add(VmApplianceOperation.SHUTDOWN);
    }
    return allowed;
  }

  /** Those that are not yet as they shall be; VMs that are gone have nothing to do any more. */
  private List<Ref<VM>> left(Work work, List<Ref<VM>> members) throws XenApiException {
    Snapshot db = database.snapshot();
    List<Ref<VM>> left = new ArrayList<>();
    for (Ref<VM> vm : members) {
      if (db.row("VM", vm.opaque()).isPresent() && db.get(vm, VM.POWER_STATE) != work.wanted()) {
        left.add(vm);
      }
    }
    return left;
  }

  private Collection<List<Ref<VM>>> orders(Work work, List<Ref<VM>> members)
      throws XenApiException {
    Snapshot db = database.snapshot();
    NavigableMap<Long, List<Ref<VM>>> orders = new TreeMap<>();
    for (Ref<VM> vm : members) {
      orders.computeIfAbsent(db.get(vm, VM.ORDER), any -> new ArrayList<>()).add(vm);
    }
    return (work.starts() ? orders : orders.descendingMap()).values();
  }

  private Duration longestDelay(Work work, List<Ref<VM>> order) throws XenApiException {
    Snapshot db = database.snapshot();
    long seconds = 0;
    for (Ref<VM> vm : order) {
      if (db.row("VM", vm.opaque()).isPresent()) {
        seconds = Math.max(seconds, db.get(vm, work.delay()));
      }
    }
    return Duration.ofSeconds(Math.min(seconds, LONGEST_DELAY.toSeconds()));
  }

  /** Returns when each has got there or has failed. */
  private static void together(Work work, List<Ref<VM>> order, Task task)
      throws InterruptedException {
    Semaphore places = new Semaphore(AT_ONCE);
    Task shared = task.shared();
    ExecutorService threads =
        Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("appliance-", 0).factory());
    try {
      List<Future<?>> running = new ArrayList<>();
      for (Ref<VM> vm : order) {
        running.add(
            threads.submit(() -> {
              places.acquire();
              try {
                work.step().on(vm, shared);
              } finally {
                places.release();
              }
              return vm;
            }));
      }
      for (int i = 0; i < running.size(); i++) {
        try {
          running.get(i).get();
        } catch (java.util.concurrent.ExecutionException e) {
          log.warn("{} has failed for {}", work.name(), order.get(i), e.getCause());
        }
      }
    } finally {
      threads.shutdownNow();
    }
  }
}
