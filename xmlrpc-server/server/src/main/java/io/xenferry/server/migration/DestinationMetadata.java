package io.xenferry.server.migration;

import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.VmLifecycle;
import io.xenferry.server.vm.VmRecords;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * The record of a VM that arrives. Until it is this host's it carries the migration's id in
 * other_config, which locks it, and the key by which clients know to hide it.
 */
final class DestinationMetadata implements DestinationPorts.Metadata {
  private final ObjectDatabase database;
  private final VmLifecycle lifecycle;
  private final MigrationDisks disks;
  private final Obstacles obstacles;

  DestinationMetadata(
      ObjectDatabase database, VmLifecycle lifecycle, MigrationDisks disks, Obstacles obstacles) {
    this.obstacles = obstacles;
    this.database = database;
    this.lifecycle = lifecycle;
    this.disks = disks;
  }

  @Override
  public CompletableFuture<Void> check(Plan plan, String metadata) {
    return Effects.run(
        "check metadata of " + plan.vm(),
        () -> {
          VmDocument document = parse(metadata);
          try {
            obstacles.check(plan, document);
          } catch (XenApiException e) {
            throw new MigrationException(e.code(), e.params(), String.valueOf(e.getMessage()), e);
          }
        });
  }

  private static VmDocument parse(String metadata) {
    try {
      return VmDocument.parse(metadata);
    } catch (IllegalArgumentException e) {
      throw new MigrationException(
          "IMPORT_ERROR_GENERIC",
          List.of(String.valueOf(e.getMessage())),
          String.valueOf(e.getMessage()),
          e);
    }
  }

  @Override
  public CompletableFuture<Void> importHidden(
      MigrationId migration, Plan plan, String metadata, List<UUID> vdis) {
    return Effects.run(
        "import " + plan.vmAtDestination(),
        () -> {
          VmDocument document = parse(metadata);
          database.change(tx -> {
            if (tx.byUuid("VM", plan.vmAtDestination().toString()).isEmpty()) {
              create(tx, migration, plan, document, vdis);
            }
          });
        });
  }

  private static void create(
      Transaction tx, MigrationId migration, Plan plan, VmDocument document, List<UUID> vdis)
      throws XenApiException {
    Map<String, Value> vm = new LinkedHashMap<>(document.vm());
    vm.put("uuid", Value.of(plan.vmAtDestination().toString()));
    vm.put("power_state", Value.of(VmPowerState.HALTED.wire()));
    vm.put("domid", Value.of(-1));
    Map<String, Value> config =
        new LinkedHashMap<>(
            vm.get("other_config") instanceof Value.Struct s ? s.members() : Map.of());
    config.put(VmRecords.MIGRATION_KEY, Value.of(migration.toString()));
    config.put(VmRecords.HIDDEN_KEY, Value.of("true"));
    vm.put("other_config", Value.Struct.of(config));
    Ref<VM> ref = document.ref();
    tx.create("VM", ref.opaque(), vm);
    VmRecords.addMetrics(tx, ref);
    Map<UUID, UUID> here = new LinkedHashMap<>();
    for (int i = 0; i < plan.disks().size(); i++) {
      here.put(plan.disks().get(i).vdi(), vdis.get(i));
    }
    for (VmDocument.Drive drive : document.drives()) {
      Map<String, Value> vbd = new LinkedHashMap<>(drive.fields());
      vbd.put("VM", Value.of(ref));
      UUID vdi = drive.vdi().map(here::get).orElse(null);
      Row row = vdi == null ? null : tx.byUuid("VDI", vdi.toString()).orElse(null);
      vbd.put("VDI", row == null ? Value.of(Ref.nullRef()) : Value.of(row.ref()));
      vbd.put("empty", Value.of(row == null));
      tx.create("VBD", vbd);
      if (row != null) {
        describe(tx, new Ref<>(row.ref()), document.vdis().get(drive.vdi().orElseThrow()));
      }
    }
    for (VmDocument.Nic nic : document.nics()) {
      Map<String, Value> vif = new LinkedHashMap<>(nic.fields());
      vif.put("VM", Value.of(ref));
      vif.put("network", Value.of(nic.network()));
      tx.create("VIF", vif);
    }
  }

  private static void describe(
      Transaction tx, Ref<VDI> vdi, @org.jspecify.annotations.Nullable Map<String, Value> fields)
      throws XenApiException {
    if (fields == null) {
      return;
    }
    for (var field : io.xenferry.model.DataModel.classDef("VDI").fields()) {
      Value value = fields.get(field.name());
      if (value != null) {
        tx.set("VDI", vdi.opaque(), field, value);
      }
    }
  }

  @Override
  public CompletableFuture<Void> reveal(MigrationId migration, Plan plan) {
    return Effects.run(
        "reveal " + plan.vmAtDestination(),
        () -> {
          Row row =
              database
                  .snapshot()
                  .byUuid("VM", plan.vmAtDestination().toString())
                  .orElseThrow(() ->
                      new IllegalStateException(
                          "the record of VM " + plan.vmAtDestination() + " is gone"));
          Ref<VM> vm = new Ref<>(row.ref());
          database.change(tx -> {
            Map<String, String> config = new LinkedHashMap<>(tx.get(vm, VM.OTHER_CONFIG));
            config.remove(VmRecords.MIGRATION_KEY);
            config.remove(VmRecords.HIDDEN_KEY);
            tx.set(vm, VM.OTHER_CONFIG, config);
          });
          Snapshot db = database.snapshot();
          for (GuestSpecs.VmDisk disk : GuestSpecs.disks(db, vm)) {
            disks.adopt(UUID.fromString(db.get(disk.vdi(), VDI.UUID)));
          }
          lifecycle.arrived(vm);
        });
  }

  @Override
  public CompletableFuture<Void> remove(MigrationId migration, UUID vm) {
    return Effects.run(
        "remove record of " + vm,
        () ->
            database.change(tx -> {
              Row row = tx.byUuid("VM", vm.toString()).orElse(null);
              if (row != null) {
                Ref<VM> ref = new Ref<>(row.ref());
                if (migration
                    .toString()
                    .equals(tx.get(ref, VM.OTHER_CONFIG).get(VmRecords.MIGRATION_KEY))) {
                  VmRecords.delete(tx, ref);
                }
              }
            }));
  }
}
