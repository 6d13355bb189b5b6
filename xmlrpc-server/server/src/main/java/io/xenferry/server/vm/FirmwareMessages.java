package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.task.Task;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;

/** What clients do with the firmware variables of VMs that are halted. */
public final class FirmwareMessages {
  private static final String TEST = "FirmwareTest.variablesAreSetOfHaltedVmsOnly";

  private final FirmwareRecords firmware;
  private final VmAdmission admission;
  private final Gate gate;

  public FirmwareMessages(VmLifecycle lifecycle, VmAdmission admission, Gate gate) {
    this.firmware = lifecycle.firmware();
    this.admission = admission;
    this.gate = gate;
  }

  public void register(Registry r) {
    for (String name : new String[] {"set_", "add_to_", "remove_from_"}) {
      r.implement(
          "VM." + name + "NVRAM",
          c -> change(c, () -> Accessors.change(c, tx -> check(tx, c.ref(0)))),
          TEST);
    }
    r.implement("VM.set_NVRAM_EFI_variables", c -> change(c, () -> setVariables(c)), TEST);
  }

  /** A change of VM.NVRAM. */
  @FunctionalInterface
  private interface Change {
    void run() throws XenApiException;
  }

  private Value change(Call c, Change change) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    UUID uuid = UUID.fromString(c.server().db().snapshot().get(vm, VM.UUID));
    String task = c.task().map(Task::ref).orElseGet(() -> Ref.random().opaque());
    try (var operation = admission.begin(vm, VmOperations.CHANGING_NVRAM, task);
        Gate.Permit permit = gate.enter(uuid, Operation.CHANGE_DEVICE)) {
      firmware.take(vm);
      change.run();
    }
    return Value.VOID;
  }

  private static void setVariables(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          Map<String, String> nvram = new LinkedHashMap<>(tx.get(vm, VM.NVRAM));
          nvram.put(FirmwareVariables.KEY, c.text(1));
          tx.set(vm, VM.NVRAM, nvram);
          check(tx, vm);
        });
  }

  private static void check(Transaction tx, Ref<VM> vm) throws XenApiException {
    long length = 0;
    for (Map.Entry<String, String> e : tx.get(vm, VM.NVRAM).entrySet()) {
      length += e.getKey().length() + e.getValue().length();
    }
    if (length > FirmwareVariables.LIMIT) {
      throw new XenApiException(
          "INVALID_VALUE", "NVRAM", "more than " + FirmwareVariables.LIMIT + " characters");
    }
  }
}
