package io.xenferry.server.migration;

import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.state.State;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VbdType;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.vm.VmDevices;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * CDs of guests that move: what is in a drive here is not at the destination, so the guest is asked
 * to give it back before it goes, and gets it again when it stays after all. Until then its drive
 * remembers which CD that is, in case this server dies.
 */
final class EjectedCds {
  private static final Logger log = LoggerFactory.getLogger(EjectedCds.class);

  /** In other_config of a VBD: uuid of the VDI. It stays at the source. */
  static final String KEY = "xenferry:ejected";

  private final ObjectDatabase database;
  private final Ledger ledger;
  private final VmDevices devices;

  EjectedCds(ObjectDatabase database, Ledger ledger, VmDevices devices) {
    this.database = database;
    this.ledger = ledger;
    this.devices = devices;
  }

  /**
   * Empties the drives of a VM if it runs.
   *
   * @param task of the move
   * @throws XenApiException VBD_TRAY_LOCKED when the guest holds on to one; then all are as before
   */
  void eject(Ref<VM> vm, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    if (db.get(vm, VM.POWER_STATE) != VmPowerState.RUNNING) {
      return;
    }
    try {
      for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
        if (db.get(vbd, VBD.TYPE) == VbdType.CD && !db.get(vbd, VBD.EMPTY)) {
          remember(vbd, Optional.of(db.get(db.get(vbd, VBD.VDI), VDI.UUID)));
          devices.eject(vbd, task);
        }
      }
    } catch (XenApiException e) {
      putBack(vm, task);
      throw e;
    }
  }

  private void remember(Ref<VBD> vbd, Optional<String> vdi) throws XenApiException {
    database.change(tx -> {
      Map<String, String> config = new LinkedHashMap<>(tx.get(vbd, VBD.OTHER_CONFIG));
      config.remove(KEY);
      vdi.ifPresent(uuid -> config.put(KEY, uuid));
      tx.set(vbd, VBD.OTHER_CONFIG, config);
    });
  }

  /**
   * Puts them in again, if the VM is still, or again, this host's. What cannot be put in is logged,
   * and stays out.
   *
   * @param task of the move, if it is still in progress
   */
  void putBack(Ref<VM> vm, String task) {
    Snapshot db = database.snapshot();
    try {
      if (db.row("VM", vm.opaque()).isEmpty() || inDoubt(UUID.fromString(db.get(vm, VM.UUID)))) {
        return;
      }
      for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
        String uuid = db.get(vbd, VBD.OTHER_CONFIG).get(KEY);
        if (uuid != null) {
          putBack(db, vbd, uuid, task);
        }
      }
    } catch (XenApiException e) {
      log.warn("the CDs of {} stay out of its drives", vm, e);
    }
  }

  private void putBack(Snapshot db, Ref<VBD> vbd, String uuid, String task) throws XenApiException {
    Optional<Row> vdi = db.byUuid("VDI", uuid);
    try {
      if (vdi.isPresent() && db.get(vbd, VBD.EMPTY)) {
        devices.insert(vbd, new Ref<>(vdi.get().ref()), task);
      }
    } catch (XenApiException e) {
      log.warn("CD {} stays out of drive {}", uuid, vbd, e);
    }
    remember(vbd, Optional.empty());
  }

  /** In the record alone, of a VM that is kept here after it has moved. */
  static void putBack(Transaction tx, Ref<VM> vm) throws XenApiException {
    for (Ref<VBD> vbd : tx.get(vm, VM.VBDS)) {
      Map<String, String> config = new LinkedHashMap<>(tx.get(vbd, VBD.OTHER_CONFIG));
      String uuid = config.remove(KEY);
      if (uuid != null) {
        Optional<Row> vdi = tx.byUuid("VDI", uuid);
        if (vdi.isPresent()) {
          tx.set(vbd, VBD.VDI, new Ref<VDI>(vdi.get().ref()));
          tx.set(vbd, VBD.EMPTY, false);
        }
        tx.set(vbd, VBD.OTHER_CONFIG, config);
      }
    }
  }

  private boolean inDoubt(UUID vm) {
    return ledger.unended(vm).stream()
        .anyMatch(row -> row.state() != State.OWNED && row.state() != State.RUNNING);
  }

  /** After the ledger was taken up: those of moves that a server before this one did not begin. */
  void putBackAll() {
    for (Row row : List.copyOf(database.snapshot().rows("VBD"))) {
      Ref<VBD> vbd = new Ref<>(row.ref());
      try {
        Snapshot db = database.snapshot();
        Ref<VM> vm = db.get(vbd, VBD.VM);
        if (db.get(vbd, VBD.OTHER_CONFIG).containsKey(KEY)
            && db.get(vm, VM.CURRENT_OPERATIONS).isEmpty()) {
          putBack(vm, Ref.random().opaque());
        }
      } catch (XenApiException e) {
        log.debug("{} is gone", vbd, e);
      }
    }
  }
}
