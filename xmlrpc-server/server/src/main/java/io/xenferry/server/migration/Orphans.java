package io.xenferry.server.migration;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.storage.DiskMoves;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.vm.VmRecords;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import io.xenferry.sr.VdiInfo;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What migrations have left on this host without a word in the ledger: intent is journaled before
 * every effect, so whatever is tagged as a migration's, is not in the journal, and whose migration
 * has no unended row here, is nobody's. It comes from effects that a killed server had begun and
 * that came about after its successor had cleaned up.
 *
 * <p>The objects are listed first and the ledger is asked then, so that what is just being made is
 * known by then. A ledger that was lost or put back knows too little: nothing is removed before an
 * operator has accepted it, and of migrations without a row nothing is afterwards, since it may
 * have arrived, and not be shown yet. Nothing untagged is ever touched, nor a disk that a VM of
 * this host has.
 */
final class Orphans {
  private static final Logger log = LoggerFactory.getLogger(Orphans.class);

  private final Ledger ledger;
  private final ObjectDatabase database;
  private final MigrationDisks disks;
  private final Hypervisor hypervisor;
  private final Alerts alerts;

  Orphans(
      Ledger ledger,
      ObjectDatabase database,
      MigrationDisks disks,
      Hypervisor hypervisor,
      Alerts alerts) {
    this.ledger = ledger;
    this.database = database;
    this.disks = disks;
    this.hypervisor = hypervisor;
    this.alerts = alerts;
  }

  /**
   * Removes them; what cannot be removed now is logged, and tried again the next time. Blocking.
   */
  void sweep() throws InterruptedException {
    if (ledger.restored()) {
      log.warn("the ledger was lost or put back: what migrations may have left is kept");
      return;
    }
    guests();
    exports();
    records();
    volumes();
  }

  private boolean journaled(JournalEntry.Kind kind, String name) {
    return ledger.journal().stream().anyMatch(e -> e.kind() == kind && e.name().equals(name));
  }

  /** Whether a tag names a migration that has nothing more to do here; false for what is no id. */
  private boolean over(String tag) {
    if (DiskMoves.isTag(tag)) {
      return false;
    }
    try {
      Optional<MigrationId> sent = MoveSnapshots.migrationOf(tag);
      return ledger
          .find(
              sent.isPresent() ? sent.get() : MigrationId.parse(tag),
              sent.isPresent() ? Role.SOURCE : Role.DESTINATION)
          .map(LedgerRow::ended)
          .orElse(ledger.whole());
    } catch (IllegalArgumentException e) {
      log.warn("the tag {} names no migration", tag);
      return false;
    }
  }

  private void guests() throws InterruptedException {
    try {
      for (Guest guest : hypervisor.guests()) {
        if ((guest.state() == Guest.State.INCOMING || isMachineOfNoVm(guest))
            && ledger.unended(guest.vm()).isEmpty()
            && !journaled(JournalEntry.Kind.GUEST, guest.vm().toString())) {
          log.warn("removing the process that waits for VM {}: no migration knows it", guest.vm());
          guest.destroy();
        }
      }
    } catch (HypervisorException e) {
      log.warn("orphaned guests could not be removed", e);
    }
  }

  /** Made for a guest that was to boot here, of a warm move that has come to nothing. */
  private boolean isMachineOfNoVm(Guest guest) throws HypervisorException, InterruptedException {
    return guest.state() == Guest.State.PAUSED
        && database.snapshot().byUuid("VM", guest.vm().toString()).isEmpty()
        && ledger.rows().stream()
            .anyMatch(row ->
                row.vm().equals(guest.vm())
                    && (row.state() == State.ABORTED || row.state() == State.RETURNED)
                    && StrictJson.read(row.plan(), Plan.class).warm());
  }

  private void exports() {
    try {
      disks.closeExportsIf(name -> {
        boolean orphaned = name.startsWith("xf-") && !journaled(JournalEntry.Kind.EXPORT, name);
        if (orphaned) {
          log.warn("closing export {}: no migration knows it", name);
        }
        return orphaned;
      });
    } catch (IOException e) {
      log.warn("orphaned exports could not be closed", e);
    }
  }

  private void records() {
    try {
      for (Row row : List.copyOf(database.snapshot().rows("VM"))) {
        Ref<VM> vm = new Ref<>(row.ref());
        Snapshot db = database.snapshot();
        Map<String, String> config = db.get(vm, VM.OTHER_CONFIG);
        String tag = config.get(VmRecords.MIGRATION_KEY);
        String uuid = db.get(vm, VM.UUID);
        if (tag != null
            && config.containsKey(VmRecords.HIDDEN_KEY)
            && over(tag)
            && !journaled(JournalEntry.Kind.VM, uuid)
            && ledger.unended(UUID.fromString(uuid)).isEmpty()
            && hasNothingOfItsOwn(db, vm, tag)) {
          log.warn("removing the hidden record of VM {}: no migration knows it", uuid);
          remove(vm, tag);
        }
      }
    } catch (XenApiException e) {
      log.warn("orphaned records could not be removed", e);
    }
  }

  /** A record that arrived has never run here, and has no disk but those made for it. */
  private static boolean hasNothingOfItsOwn(Snapshot db, Ref<VM> vm, String tag)
      throws XenApiException {
    if (db.get(vm, VM.POWER_STATE) != VmPowerState.HALTED) {
      return false;
    }
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      Ref<VDI> vdi = db.get(vbd, VBD.VDI);
      if (!vdi.isNull()
          && !tag.equals(db.get(vdi, VDI.SM_CONFIG).get(VdiInfo.SM_CONFIG_MIGRATION))) {
        return false;
      }
    }
    return true;
  }

  private void remove(Ref<VM> vm, String tag) throws XenApiException {
    VmMessages.discardNoted(database.snapshot(), vm, alerts);
    database.change(tx -> {
      if (tx.row("VM", vm.opaque()).isPresent()
          && tag.equals(tx.get(vm, VM.OTHER_CONFIG).get(VmRecords.MIGRATION_KEY))) {
        VmRecords.delete(tx, vm);
      }
    });
  }

  private void volumes() {
    disks
        .tagged()
        .forEach((vdi, tag) -> {
          try {
            if (over(tag) && !journaled(JournalEntry.Kind.VDI, vdi.toString()) && !inUse(vdi)) {
              log.warn("destroying VDI {} of migration {}: no migration knows it", vdi, tag);
              disks.destroyTagged(vdi, tag);
            }
          } catch (XenApiException e) {
            log.warn("VDI {} could not be removed", vdi, e);
          }
        });
  }

  private boolean inUse(UUID vdi) throws XenApiException {
    Snapshot db = database.snapshot();
    Optional<Row> row = db.byUuid("VDI", vdi.toString());
    if (row.isPresent()) {
      for (Ref<VBD> vbd : db.get(new Ref<VDI>(row.get().ref()), VDI.VBDS)) {
        log.warn(
            "VDI {} has a migration's tag, but {} has it: it is kept", vdi, db.get(vbd, VBD.VM));
        return true;
      }
    }
    return false;
  }
}
