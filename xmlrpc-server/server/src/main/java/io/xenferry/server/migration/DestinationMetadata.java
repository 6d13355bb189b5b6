package io.xenferry.server.migration;

import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.Value;
import io.xenferry.model.VdiType;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.MacAddress;
import io.xenferry.server.vm.VmLifecycle;
import io.xenferry.server.vm.VmRecords;
import io.xenferry.server.vm.Vtpms;
import io.xenferry.sr.VdiInfo;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiConsumer;
import java.util.function.Predicate;

/**
 * The record of a VM that arrives. Until it is this host's it carries the migration's id in
 * other_config, which locks it, and the key by which clients know to hide it.
 */
final class DestinationMetadata implements DestinationPorts.Metadata {
  private final ObjectDatabase database;
  private final VmLifecycle lifecycle;
  private final MigrationDisks disks;
  private final ArrivalChecks arrivals;
  private final Alerts alerts;
  private final Predicate<MigrationId> receiving;

  /**
   * @param receiving whether what a migration brings may still come
   */
  DestinationMetadata(
      ObjectDatabase database,
      VmLifecycle lifecycle,
      MigrationDisks disks,
      ArrivalChecks arrivals,
      Alerts alerts,
      Predicate<MigrationId> receiving) {
    this.receiving = receiving;
    this.arrivals = arrivals;
    this.alerts = alerts;
    this.database = database;
    this.lifecycle = lifecycle;
    this.disks = disks;
  }

  @Override
  public CompletableFuture<List<Obstacle>> check(Plan plan, String metadata) {
    return look(plan, metadata, (survey, document) -> arrivals.check(survey, plan, document));
  }

  @Override
  public CompletableFuture<List<Obstacle>> admit(
      MigrationId migration, Plan plan, String metadata) {
    return look(
        plan,
        metadata,
        (survey, document) ->
            arrivals.admit(survey, migration, plan, document, () -> receiving.test(migration)));
  }

  private static CompletableFuture<List<Obstacle>> look(
      Plan plan, String metadata, BiConsumer<Survey, VmDocument> arrival) {
    return Effects.call(
        "check metadata of " + plan.vm(),
        () -> {
          Survey survey = new Survey(Role.DESTINATION);
          if (plan.power() == Plan.Power.SUSPENDED && plan.suspendImage().isEmpty()) {
            String words = "a suspended VM without its memory";
            survey.raise(
                new MigrationException("IMPORT_ERROR_GENERIC", List.of(words), words),
                ObstacleKind.DOCUMENT);
          }
          Optional<VmDocument> document =
              survey.attempt(() -> parse(metadata), ObstacleKind.DOCUMENT);
          if (document.isPresent()) {
            arrival.accept(survey, document.get());
          }
          return survey.found();
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
          if (database.snapshot().byUuid("VM", plan.vmAtDestination().toString()).isPresent()) {
            return;
          }
          Map<UUID, UUID> here = new LinkedHashMap<>();
          Map<UUID, Long> sizes = new LinkedHashMap<>();
          for (int i = 0; i < plan.disks().size(); i++) {
            here.put(plan.disks().get(i).vdi(), vdis.get(i));
            sizes.put(plan.disks().get(i).vdi(), plan.disks().get(i).size());
          }
          Layers layers = Layers.of(plan);
          for (UUID upper : layers.inOrder()) {
            disks.layer(made(here, upper), made(here, layers.below(upper).orElseThrow()));
          }
          // Of a VM of this uuid that was here before.
          lifecycle.firmware().discard(plan.vmAtDestination());
          here.putAll(document.tracking().make(disks, migration));
          document.tracking().emptied().forEach(each -> sizes.put(each.vdi(), each.size()));
          document.tracking().apply(disks, migration, here, sizes);
          // Noted before they are kept: a server after this one may have to undo it.
          Set<String> brings = document.messages().absent(objects(plan, document), alerts);
          database.change(tx -> create(tx, migration, plan, document, here, brings));
          noteSnapshots(document, here);
          document.messages().keep(brings, alerts);
        });
  }

  /** The uuids of the VM and its snapshots. */
  private static Set<UUID> objects(Plan plan, VmDocument document) {
    Set<UUID> objects = new HashSet<>();
    objects.add(plan.vmAtDestination());
    document.past().snapshots().forEach(taken -> objects.add(taken.uuid()));
    return objects;
  }

  /** The disk that was made for one of the plan; a peer may name what the plan has not. */
  private static UUID made(Map<UUID, UUID> here, UUID vdi) throws XenApiException {
    UUID disk = here.get(vdi);
    if (disk == null) {
      throw new XenApiException("INVALID_VALUE", "layers", vdi.toString());
    }
    return disk;
  }

  private static void create(
      Transaction tx,
      MigrationId migration,
      Plan plan,
      VmDocument document,
      Map<UUID, UUID> here,
      Set<String> messages)
      throws XenApiException {
    Ref<VM> ref = document.ref();
    createVm(tx, migration, plan, ref, plan.vmAtDestination(), document.vm());
    Map<String, String> config = new LinkedHashMap<>(tx.get(ref, VM.OTHER_CONFIG));
    if (!messages.isEmpty()) {
      config.put(VmRecords.MESSAGES_KEY, String.join(" ", messages));
    }
    if (plan.running() && !plan.warm() && document.machine().isPresent()) {
      config.put(VmRecords.MACHINE_KEY, document.machine().get().json().toString());
    }
    tx.set(ref, VM.OTHER_CONFIG, config);
    tx.set(tx.get(ref, VM.METRICS), VMMetrics.VCPUS_NUMBER, document.vcpus());
    createTpm(tx, plan, ref, document.tpm());
    createDevices(tx, plan, ref, document, document.drives(), document.nics(), here);
    Optional<Row> image =
        plan.suspendImage().isPresent()
            ? row(tx, here, plan.suspendImage().get().vdi())
            : Optional.empty();
    if (image.isPresent()) {
      Ref<VDI> vdi = new Ref<>(image.get().ref());
      tx.set(ref, VM.SUSPEND_VDI, vdi);
      describe(tx, vdi, document.vdis().get(plan.suspendImage().orElseThrow().vdi()));
    }
    for (Tracking.Emptied each : document.tracking().emptied()) {
      Optional<Row> vdi = row(tx, here, each.vdi());
      if (vdi.isPresent()) {
        describe(tx, new Ref<>(vdi.get().ref()), document.vdis().get(each.vdi()));
      }
    }
    Map<UUID, Ref<VM>> snapshots = new LinkedHashMap<>();
    for (VmDocument.Taken taken : document.past().snapshots()) {
      Ref<VM> snapshot = Ref.random();
      createVm(tx, migration, plan, snapshot, taken.uuid(), taken.vm());
      createDevices(tx, plan, snapshot, document, taken.drives(), taken.nics(), here);
      createTpm(tx, plan, snapshot, taken.tpm());
      tx.set(snapshot, VM.SNAPSHOT_OF, ref);
      snapshots.put(taken.uuid(), snapshot);
    }
    for (VmDocument.Taken taken : document.past().snapshots()) {
      setParent(tx, Objects.requireNonNull(snapshots.get(taken.uuid())), taken.parent(), snapshots);
    }
    setParent(tx, ref, document.past().parent(), snapshots);
    for (Map.Entry<UUID, UUID> origin : document.past().snapshotOf().entrySet()) {
      Optional<Row> vdi = row(tx, here, origin.getKey());
      Optional<Row> of = row(tx, here, origin.getValue());
      if (vdi.isPresent() && of.isPresent()) {
        tx.set(new Ref<VDI>(vdi.get().ref()), VDI.SNAPSHOT_OF, new Ref<VDI>(of.get().ref()));
      }
    }
  }

  private static Optional<Row> row(Transaction tx, Map<UUID, UUID> here, UUID vdi) {
    UUID known = here.get(vdi);
    return known == null ? Optional.empty() : tx.byUuid("VDI", known.toString());
  }

  private static void setParent(
      Transaction tx, Ref<VM> vm, Optional<UUID> parent, Map<UUID, Ref<VM>> snapshots)
      throws XenApiException {
    Ref<VM> ref = parent.map(snapshots::get).orElse(null);
    if (ref != null) {
      tx.set(vm, VM.PARENT, ref);
    }
  }

  /** The SR's own records, so that a later scan knows it as well. */
  private void noteSnapshots(VmDocument document, Map<UUID, UUID> here) throws XenApiException {
    Snapshot db = database.snapshot();
    for (Map.Entry<UUID, UUID> origin : document.past().snapshotOf().entrySet()) {
      UUID vdi = here.get(origin.getKey());
      UUID of = here.get(origin.getValue());
      if (vdi == null || of == null) {
        continue;
      }
      Optional<Row> row = db.byUuid("VDI", vdi.toString());
      if (row.isPresent()) {
        disks.noteSnapshot(vdi, of, db.get(new Ref<VDI>(row.get().ref()), VDI.SNAPSHOT_TIME));
      }
    }
  }

  private static void createVm(
      Transaction tx,
      MigrationId migration,
      Plan plan,
      Ref<VM> ref,
      UUID uuid,
      Map<String, Value> fields)
      throws XenApiException {
    Map<String, Value> vm = new LinkedHashMap<>(fields);
    vm.put("uuid", Value.of(uuid.toString()));
    vm.put("power_state", Value.of(VmPowerState.HALTED.wire()));
    vm.put("domid", Value.of(-1));
    Map<String, Value> config =
        new LinkedHashMap<>(
            vm.get("other_config") instanceof Value.Struct s ? s.members() : Map.of());
    config.put(VmRecords.MIGRATION_KEY, Value.of(migration.toString()));
    // What it says is destroyed when the move comes to nothing, whoever put it there.
    config.remove(VmRecords.MESSAGES_KEY);
    config.remove(VmRecords.MACHINE_KEY);
    Value hidden = config.put(VmRecords.HIDDEN_KEY, Value.of("true"));
    if (hidden != null) {
      config.put(VmRecords.HIDDEN_BEFORE_KEY, hidden);
    }
    if (plan.copy()) {
      config.put("mac_seed", Value.of(UUID.randomUUID().toString()));
    }
    vm.put("other_config", Value.Struct.of(config));
    tx.create("VM", ref.opaque(), vm);
    VmRecords.addMetrics(tx, ref);
  }

  private static void createTpm(Transaction tx, Plan plan, Ref<VM> vm, Optional<Vtpms.Tpm> tpm)
      throws XenApiException {
    if (tpm.isPresent()) {
      Vtpms.create(tx, vm, plan.copy() ? tpm.get().forCopy() : tpm.get());
    }
  }

  private static void createDevices(
      Transaction tx,
      Plan plan,
      Ref<VM> ref,
      VmDocument document,
      List<VmDocument.Drive> drives,
      List<VmDocument.Nic> nics,
      Map<UUID, UUID> here)
      throws XenApiException {
    for (VmDocument.Drive drive : drives) {
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
    for (VmDocument.Nic nic : nics) {
      Map<String, Value> vif = new LinkedHashMap<>(nic.fields());
      vif.put("VM", Value.of(ref));
      vif.put("network", Value.of(nic.network()));
      if (plan.copy()) { // both may be on one network
        vif.put("MAC", Value.of(MacAddress.random()));
        vif.put("MAC_autogenerated", Value.of(true));
      }
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
  public CompletableFuture<Standing> standing(UUID vm) {
    return Effects.call(
        "look for " + vm,
        () -> {
          Snapshot db = database.snapshot();
          Optional<Row> row = db.byUuid("VM", vm.toString());
          if (row.isEmpty()) {
            return Standing.ABSENT;
          }
          return db.get(new Ref<VM>(row.get().ref()), VM.OTHER_CONFIG)
                  .containsKey(VmRecords.MIGRATION_KEY)
              ? Standing.HIDDEN
              : Standing.SHOWN;
        });
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
          List<Ref<VM>> all = new ArrayList<>(database.snapshot().get(vm, VM.SNAPSHOTS));
          all.add(vm);
          boolean boots = plan.warm() && isHidden(vm);
          database.change(tx -> {
            for (Ref<VM> each : all) {
              Map<String, String> config = new LinkedHashMap<>(tx.get(each, VM.OTHER_CONFIG));
              // Once: when this is repeated it may have been resumed.
              if (config.remove(VmRecords.MIGRATION_KEY) != null
                  && each.equals(vm)
                  && plan.suspendImage().isPresent()) {
                tx.set(each, VM.POWER_STATE, VmPowerState.SUSPENDED);
              }
              config.remove(VmRecords.MESSAGES_KEY);
              config.remove(VmRecords.MACHINE_KEY);
              String before = config.remove(VmRecords.HIDDEN_BEFORE_KEY);
              if (before == null) {
                config.remove(VmRecords.HIDDEN_KEY);
              } else {
                config.put(VmRecords.HIDDEN_KEY, before);
              }
              tx.set(each, VM.OTHER_CONFIG, config);
            }
          });
          Snapshot db = database.snapshot();
          for (Ref<VM> each : all) {
            for (GuestSpecs.VmDisk disk : GuestSpecs.disks(db, each)) {
              disks.adopt(UUID.fromString(db.get(disk.vdi(), VDI.UUID)));
            }
          }
          Ref<VDI> image = db.get(vm, VM.SUSPEND_VDI);
          if (db.row("VDI", image.opaque()).isPresent()) {
            disks.adopt(UUID.fromString(db.get(image, VDI.UUID)));
          }
          for (UUID emptied : emptied(migration)) {
            disks.adopt(emptied);
          }
          if (boots) {
            lifecycle.booted(vm);
          }
          lifecycle.arrived(vm);
        });
  }

  private boolean isHidden(Ref<VM> vm) throws XenApiException {
    return database.snapshot().get(vm, VM.OTHER_CONFIG).containsKey(VmRecords.MIGRATION_KEY);
  }

  /** Snapshots that came without their content: they are in no plan and no journal. */
  private List<UUID> emptied(MigrationId migration) throws XenApiException {
    Snapshot db = database.snapshot();
    List<UUID> emptied = new ArrayList<>();
    for (Row row : db.rows("VDI")) {
      Ref<VDI> vdi = new Ref<>(row.ref());
      if (db.get(vdi, VDI.TYPE) == VdiType.CBT_METADATA
          && migration
              .toString()
              .equals(db.get(vdi, VDI.SM_CONFIG).get(VdiInfo.SM_CONFIG_MIGRATION))) {
        emptied.add(UUID.fromString(db.get(vdi, VDI.UUID)));
      }
    }
    return emptied;
  }

  @Override
  public CompletableFuture<Void> remove(MigrationId migration, UUID vm) {
    return Effects.run(
        "remove record of " + vm,
        () -> {
          for (UUID emptied : emptied(migration)) {
            disks.destroyTagged(emptied, migration.toString());
          }
          // Before the record, which has them.
          Optional<Ref<VM>> hidden = hidden(database.snapshot(), migration, vm);
          if (hidden.isPresent()) {
            VmMessages.discardNoted(database.snapshot(), hidden.get(), alerts);
          }
          database.change(tx -> {
            Optional<Ref<VM>> ref = hidden(tx, migration, vm);
            if (ref.isPresent()) {
              for (Ref<VM> snapshot : List.copyOf(tx.get(ref.get(), VM.SNAPSHOTS))) {
                VmRecords.delete(tx, snapshot);
              }
              VmRecords.delete(tx, ref.get());
            }
          });
          if (database.snapshot().byUuid("VM", vm.toString()).isEmpty()) {
            lifecycle.firmware().discardOrWarn(vm);
          }
        });
  }

  /** The record of a VM, if it is still that migration's. */
  private static Optional<Ref<VM>> hidden(Snapshot db, MigrationId migration, UUID vm)
      throws XenApiException {
    Optional<Row> row = db.byUuid("VM", vm.toString());
    if (row.isEmpty()) {
      return Optional.empty();
    }
    Ref<VM> ref = new Ref<>(row.get().ref());
    String owner = db.get(ref, VM.OTHER_CONFIG).get(VmRecords.MIGRATION_KEY);
    return migration.toString().equals(owner) ? Optional.of(ref) : Optional.empty();
  }
}
