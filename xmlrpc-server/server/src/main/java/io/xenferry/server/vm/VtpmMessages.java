package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VTPM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.task.Task;
import java.util.UUID;

/** TPMs of VMs that are halted: given, taken away, read and written. */
public final class VtpmMessages {
  private static final String TEST = "VtpmTest.aHaltedVmIsGivenATpm";

  private final FirmwareRecords firmware;
  private final VmAdmission admission;
  private final Gate gate;

  public VtpmMessages(VmLifecycle lifecycle, VmAdmission admission, Gate gate) {
    this.firmware = lifecycle.firmware();
    this.admission = admission;
    this.gate = gate;
  }

  public void register(Registry r) {
    r.implement("VTPM.create", this::create, TEST);
    r.implement("VTPM.destroy", this::destroy, TEST);
    r.implement("VTPM.get_contents", this::contents, TEST);
    r.implement("VTPM.set_contents", this::setContents, TEST);
  }

  /** Something done to a VM's TPM. */
  @FunctionalInterface
  private interface Change {
    Value run() throws XenApiException;
  }

  private Value change(Call c, Ref<VM> vm, Change change) throws XenApiException {
    UUID uuid = UUID.fromString(c.server().db().snapshot().get(vm, VM.UUID));
    String task = c.task().map(Task::ref).orElseGet(() -> Ref.random().opaque());
    try (var operation = admission.begin(vm, VmOperations.CREATE_VTPM, task);
        Gate.Permit permit = gate.enter(uuid, Operation.CHANGE_DEVICE)) {
      firmware.take(vm);
      return change.run();
    }
  }

  private Value create(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    return change(
        c,
        vm,
        () ->
            c.server()
                .db()
                .write(tx -> {
                  if (!tx.get(vm, VM.VTPMS).isEmpty()) {
                    throw new XenApiException("VTPM_MAX_AMOUNT_REACHED", "1");
                  }
                  return Value.of(Vtpms.create(tx, vm, new Vtpms.Tpm(c.bool(1), "")).opaque());
                }));
  }

  private Value destroy(Call c) throws XenApiException {
    Ref<VM> vm = c.server().db().snapshot().get(c.<VTPM>ref(0), VTPM.VM);
    return change(
        c,
        vm,
        () -> {
          c.server().db().change(tx -> Vtpms.delete(tx, vm));
          return Value.VOID;
        });
  }

  private Value contents(Call c) throws XenApiException {
    Ref<VTPM> vtpm = c.ref(0);
    firmware.note(c.server().db().snapshot().get(vtpm, VTPM.VM));
    return Value.of(Vtpms.contents(c.server().db().snapshot(), vtpm));
  }

  private Value setContents(Call c) throws XenApiException {
    Ref<VTPM> vtpm = c.ref(0);
    if (!TpmStates.valid(c.text(1))) {
      throw new XenApiException(
          "INVALID_VALUE", "contents", "no base64 of at most " + TpmStates.LIMIT + " characters");
    }
    return change(
        c,
        c.server().db().snapshot().get(vtpm, VTPM.VM),
        () -> {
          c.server().db().change(tx -> Vtpms.setContents(tx, vtpm, c.text(1)));
          return Value.VOID;
        });
  }
}
