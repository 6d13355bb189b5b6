package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.Scheduling;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;

/** Processors and memory of running guests. */
public final class VmTuning {
  /** As the published server waits for a balloon. */
  private static final Duration TARGET_DEADLINE = Duration.ofSeconds(256);

  private static final Duration LOOK = Duration.ofMillis(200);

  /** Bytes that a balloon may be off its target. */
  private static final long TOLERANCE = 1 << 20;

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final Gate gate;
  private final VmAdmission admission;

  public VmTuning(
      ObjectDatabase database, Hypervisor hypervisor, Gate gate, VmAdmission admission) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.gate = gate;
    this.admission = admission;
  }

  /**
   * @throws XenApiException VM_TOO_MANY_VCPUS, INVALID_VALUE, OPERATION_NOT_ALLOWED when the guest
   *     does not let processors go
   */
  public void setVcpus(Ref<VM> vm, long count, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    if (count < 1) {
      throw new XenApiException("INVALID_VALUE", "nvcpu", Long.toString(count));
    }
    if (count > db.get(vm, VM.VCPUS_MAX)) {
      throw new XenApiException("VM_TOO_MANY_VCPUS", vm.opaque());
    }
    try (var operation = admission.begin(vm, VmOperations.CHANGING_VCPUS_LIVE, task);
        Gate.Permit permit = gate.enter(uuid(db, vm), Operation.CHANGE_DEVICE)) {
      Guest guest = guest(db, vm);
      try {
        guest.hardware().setVcpus(Math.toIntExact(count));
        // Strange as it is, the published server takes it for the next start, too.
        database.change(tx -> tx.set(vm, VM.VCPUS_AT_STARTUP, count));
      } finally {
        int now = guest.hardware().vcpus();
        database.change(tx -> {
          Ref<VMMetrics> metrics = tx.get(vm, VM.METRICS);
          tx.set(metrics, VMMetrics.VCPUS_NUMBER, (long) now);
          tx.set(metrics, VMMetrics.LAST_UPDATED, Instant.now());
        });
      }
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, vm);
    }
  }

  /**
   * Lets the processors of a running guest share the host as a parameter says, now and from then
   * on.
   *
   * @param key of VCPUs_params
   * @throws XenApiException INVALID_VALUE; OPERATION_NOT_ALLOWED where this host cannot
   */
  public void setVcpuParam(Ref<VM> vm, String key, String value, String task)
      throws XenApiException {
    Snapshot before = database.snapshot();
    params(before, vm, key, value);
    try (var operation = admission.begin(vm, VmOperations.CHANGING_VCPUS_LIVE, task);
        Gate.Permit permit = gate.enter(uuid(before, vm), Operation.CHANGE_DEVICE)) {
      // Another such change may have ended in between.
      Snapshot db = database.snapshot();
      Scheduling wanted = VcpuParams.scheduling(db, params(db, vm, key, value));
      guest(db, vm).hardware().setScheduling(wanted);
      database.change(tx -> {
        Map<String, String> now = new LinkedHashMap<>(tx.get(vm, VM.VCPUS_PARAMS));
        now.put(key, value);
        tx.set(vm, VM.VCPUS_PARAMS, now);
      });
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, vm);
    }
  }

  /** Those that the VM has, and one more. */
  private static Map<String, String> params(Snapshot db, Ref<VM> vm, String key, String value)
      throws XenApiException {
    Map<String, String> before = db.get(vm, VM.VCPUS_PARAMS);
    Map<String, String> params = new LinkedHashMap<>(before);
    params.put(key, value);
    VcpuParams.require("VCPUs_params", before, params);
    return params;
  }

  /**
   * Lets a running guest have as much of its memory as the upper bound says.
   *
   * @throws XenApiException MEMORY_CONSTRAINT_VIOLATION_ORDER
   */
  public void setDynamicRange(Ref<VM> vm, long min, long max, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    if (min > max
        || min < db.get(vm, VM.MEMORY_STATIC_MIN)
        || max > db.get(vm, VM.MEMORY_STATIC_MAX)) {
      throw new XenApiException("MEMORY_CONSTRAINT_VIOLATION_ORDER");
    }
    try (var operation = admission.begin(vm, VmOperations.CHANGING_DYNAMIC_RANGE, task);
        Gate.Permit permit = gate.enter(uuid(db, vm), Operation.CHANGE_DEVICE)) {
      guest(db, vm).hardware().setMemoryTarget(max);
      database.change(tx -> {
        tx.set(vm, VM.MEMORY_DYNAMIC_MIN, min);
        tx.set(vm, VM.MEMORY_DYNAMIC_MAX, max);
        tx.set(vm, VM.MEMORY_TARGET, max);
      });
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, vm);
    }
  }

  /**
   * Waits until the guest's memory is what it was asked for.
   *
   * @throws XenApiException OPERATION_NOT_ALLOWED when that does not happen in time
   */
  public void awaitTarget(Ref<VM> vm, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    try (var operation = admission.begin(vm, VmOperations.AWAITING_MEMORY_LIVE, task)) {
      Guest guest = guest(db, vm);
      long end = System.nanoTime() + TARGET_DEADLINE.toNanos();
      long actual = guest.hardware().memory();
      while (Math.abs(actual - guest.hardware().spec().memory().target()) > TOLERANCE) {
        if (System.nanoTime() - end > 0) {
          throw new XenApiException(
              "OPERATION_NOT_ALLOWED",
              "The guest's memory is still " + actual + " bytes after " + TARGET_DEADLINE);
        }
        Thread.sleep(LOOK);
        actual = guest.hardware().memory();
      }
      long now = actual;
      database.change(tx -> {
        Ref<VMMetrics> metrics = tx.get(vm, VM.METRICS);
        tx.set(metrics, VMMetrics.MEMORY_ACTUAL, now);
        tx.set(metrics, VMMetrics.LAST_UPDATED, Instant.now());
      });
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, vm);
    }
  }

  /** Whether the VM's guest is to be asked, and not only its record. */
  boolean isLive(Ref<VM> vm) throws XenApiException {
    VmPowerState state = database.snapshot().get(vm, VM.POWER_STATE);
    return state == VmPowerState.RUNNING || state == VmPowerState.PAUSED;
  }

  private Guest guest(Snapshot db, Ref<VM> vm)
      throws XenApiException, HypervisorException, InterruptedException {
    return hypervisor
        .find(uuid(db, vm))
        .orElseThrow(
            () -> new XenApiException("VM_BAD_POWER_STATE", vm.opaque(), "running", "halted"));
  }

  private static UUID uuid(Snapshot db, Ref<VM> vm) throws XenApiException {
    return UUID.fromString(db.get(vm, VM.UUID));
  }

  private static XenApiException failed(Exception e, Ref<VM> vm) {
    if (e instanceof HypervisorException h) {
      return switch (h.kind()) {
        case GONE ->
            new XenApiException("VM_BAD_POWER_STATE", vm.opaque(), "running", "halted")
                .withCause(e);
        case REFUSED, TIMEOUT ->
            new XenApiException("OPERATION_NOT_ALLOWED", String.valueOf(e.getMessage()))
                .withCause(e);
        case PROTOCOL ->
            new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
      };
    }
    Thread.currentThread().interrupt();
    return new XenApiException("INTERNAL_ERROR", "interrupted").withCause(e);
  }
}
