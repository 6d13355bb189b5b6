package io.xenferry.server.migration;

import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.vm.GuestRecords;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.GuestSpecs.VmDisk;
import io.xenferry.server.vm.VmDisks;
import io.xenferry.server.vm.VmLifecycle;
import io.xenferry.server.vm.VmRecords;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** What the source still has of a VM that it has given away. */
final class SourceObjects implements SourcePorts.Objects {
  private final ObjectDatabase database;
  private final VmDisks vmDisks;
  private final MigrationDisks disks;
  private final VmLifecycle lifecycle;

  SourceObjects(
      ObjectDatabase database, VmDisks vmDisks, MigrationDisks disks, VmLifecycle lifecycle) {
    this.lifecycle = lifecycle;
    this.database = database;
    this.vmDisks = vmDisks;
    this.disks = disks;
  }

  private Optional<Ref<VM>> find(UUID vm) {
    return database.snapshot().byUuid("VM", vm.toString()).map(Row::ref).map(Ref::new);
  }

  @Override
  public CompletableFuture<Void> removeVm(MigrationId migration, Plan plan) {
    return Effects.run(
        "remove record of " + plan.vm(),
        () -> {
          Optional<Ref<VM>> vm = find(plan.vm());
          if (vm.isPresent()) {
            giveBack(vm.get(), plan.vm());
            destroyEmptied(plan);
            database.change(tx -> {
              if (tx.row("VM", vm.get().opaque()).isPresent()) {
                for (Ref<VM> snapshot : List.copyOf(tx.get(vm.get(), VM.SNAPSHOTS))) {
                  VmRecords.delete(tx, snapshot);
                }
                VmRecords.delete(tx, vm.get());
              }
            });
          }
          lifecycle.firmware().discardOrWarn(plan.vm());
        });
  }

  /** They went with the disks, and say nothing without them. */
  private void destroyEmptied(Plan plan) throws XenApiException {
    Snapshot db = database.snapshot();
    for (Plan.Disk disk : plan.disks()) {
      Optional<Row> row = db.byUuid("VDI", disk.vdi().toString());
      for (Ref<VDI> left :
          row.isPresent()
              ? Tracking.emptied(db, new Ref<>(row.get().ref()))
              : List.<Ref<VDI>>of()) {
        disks.destroy(UUID.fromString(db.get(left, VDI.UUID)), plan.vm());
      }
    }
  }

  private void giveBack(Ref<VM> vm, UUID uuid) throws Exception {
    for (VmDisk disk : GuestSpecs.disks(database.snapshot(), vm)) {
      vmDisks.detach(disk.vdi(), uuid);
    }
  }

  @Override
  public CompletableFuture<Void> destroyDisk(MigrationId migration, UUID vm, Plan.Disk disk) {
    return Effects.run("destroy " + disk.vdi(), () -> disks.destroy(disk.vdi(), vm));
  }

  @Override
  public CompletableFuture<Void> keep(MigrationId migration, Plan plan, UUID keptVm) {
    return Effects.run(
        "keep " + plan.vm(),
        () -> {
          Optional<Ref<VM>> vm = find(plan.vm());
          if (vm.isPresent()) {
            giveBack(vm.get(), plan.vm());
            lifecycle.firmware().note(vm.get());
            database.change(tx -> {
              tx.set(vm.get(), VM.UUID, keptVm.toString());
              for (Ref<VM> snapshot : List.copyOf(tx.get(vm.get(), VM.SNAPSHOTS))) {
                // Theirs went with the VM, and shall be free here when it comes back.
                tx.set(snapshot, VM.UUID, UUID.randomUUID().toString());
              }
              GuestRecords.ended(tx, vm.get(), VmPowerState.HALTED);
              tx.set(
                  vm.get(),
                  VM.NAME_DESCRIPTION,
                  "Kept after VM " + plan.vm() + " moved away with migration " + migration);
              tx.set(
                  vm.get(),
                  VM.BLOCKED_OPERATIONS,
                  Map.of(
                      VmOperations.START, "the VM has moved to another host",
                      VmOperations.START_ON, "the VM has moved to another host"));
              tx.set(
                  vm.get(),
                  VM.OTHER_CONFIG,
                  KeptVms.note(
                      tx.get(vm.get(), VM.OTHER_CONFIG), migration, plan.options(), Instant.now()));
              EjectedCds.putBack(tx, vm.get());
              // Nobody is to start it, nor to take snapshots of it.
              tx.set(vm.get(), VM.APPLIANCE, Ref.nullRef());
              tx.set(vm.get(), VM.SNAPSHOT_SCHEDULE, Ref.nullRef());
              tx.set(vm.get(), VM.ALLOWED_OPERATIONS, List.of());
            });
          }
          lifecycle.firmware().discardOrWarn(plan.vm());
        });
  }
}
