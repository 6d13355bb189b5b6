package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VTPM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Transaction;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings what machines keep of themselves, UEFI variables and TPM, from beside their guests into
 * the records of their VMs.
 */
public final class FirmwareRecords {
  private static final Logger log = LoggerFactory.getLogger(FirmwareRecords.class);

  private final ObjectDatabase database;
  private final FirmwareVariables variables;
  private final TpmStates tpms;

  FirmwareRecords(ObjectDatabase database, FirmwareVariables variables, TpmStates tpms) {
    this.database = database;
    this.variables = variables;
    this.tpms = tpms;
  }

  /** What is beside the guest of a VM, and not, or not surely, in its record. */
  record Kept(Optional<String> variables, Optional<String> tpm) {
    boolean any() {
      return variables.isPresent() || tpm.isPresent();
    }

    void store(Transaction tx, Ref<VM> vm) throws XenApiException {
      if (variables.isPresent()) {
        Map<String, String> nvram = new LinkedHashMap<>(tx.get(vm, VM.NVRAM));
        if (!variables.get().equals(nvram.put(FirmwareVariables.KEY, variables.get()))) {
          tx.set(vm, VM.NVRAM, nvram);
        }
      }
      if (tpm.isPresent()) {
        for (Ref<VTPM> vtpm : tx.get(vm, VM.VTPMS)) {
          Vtpms.setContents(tx, vtpm, tpm.get());
        }
      }
    }
  }

  /** What cannot be read now stays where it is, and the next start or server takes it. */
  Kept readOrWarn(UUID vm) {
    return new Kept(
        orWarn(vm, "UEFI variables", () -> variables.current(vm)),
        orWarn(vm, "TPM's state", () -> tpms.current(vm)));
  }

  /** A look at a file. */
  private interface Reading {
    Optional<String> read() throws IOException;
  }

  private static Optional<String> orWarn(UUID vm, String what, Reading reading) {
    try {
      return reading.read();
    } catch (IOException e) {
      log.error("the {} of VM {} cannot be read; its record has an older one", what, vm, e);
      return Optional.empty();
    }
  }

  /**
   * Puts what is there just now into the record of a VM, for whoever is about to make something of
   * it. One that runs goes on with its own.
   */
  public void note(Ref<VM> vm) throws XenApiException {
    UUID uuid = uuid(vm);
    try {
      Kept kept = new Kept(variables.current(uuid), tpms.current(uuid));
      if (kept.any()) {
        database.change(tx -> kept.store(tx, vm));
      }
    } catch (IOException e) {
      throw new XenApiException(
              "INTERNAL_ERROR", "what the firmware of VM " + uuid + " keeps cannot be read: " + e)
          .withCause(e);
    }
  }

  /**
   * The same for one that does not run: the record alone has them from now on.
   *
   * @throws XenApiException when that is not so
   */
  void take(Ref<VM> vm) throws XenApiException {
    note(vm);
    UUID uuid = uuid(vm);
    try {
      discard(uuid);
    } catch (IOException e) {
      throw new XenApiException(
              "INTERNAL_ERROR", "what the firmware of VM " + uuid + " kept stays: " + e)
          .withCause(e);
    }
  }

  /** The record has it all, or the VM is gone: what is beside its guest is not needed any more. */
  public void discard(UUID vm) throws IOException {
    variables.discard(vm);
    tpms.discard(vm);
  }

  /** The same where nothing is lost when it fails: the next start of the server repeats it. */
  public void discardOrWarn(UUID vm) {
    try {
      discard(vm);
    } catch (IOException e) {
      log.warn("what the firmware of VM {} kept, no longer needed, stays", vm, e);
    }
  }

  /** The VMs that have something beside their guests. */
  Set<UUID> present() {
    Set<UUID> vms = new TreeSet<>(variables.present());
    vms.addAll(tpms.present());
    return vms;
  }

  private UUID uuid(Ref<VM> vm) throws XenApiException {
    return UUID.fromString(database.snapshot().get(vm, VM.UUID));
  }
}
