package io.xenferry.server.migration;

import io.xenferry.copy.Strategy;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.Host;
import io.xenferry.model.Network;
import io.xenferry.model.PIF;
import io.xenferry.model.Pool;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * The messages that move VMs. {@code host.migrate_receive} with {@code VM.migrate_send} is the
 * published pair; {@code VM.receive} with {@code VM.migrate} is the same job with one SR for all
 * disks, and networks chosen by the destination's options.
 */
public final class MigrationMessages {
  /** The key of the token that XenFerry's servers understand; foreign ones pass it on unread. */
  static final String TOKEN = "xenferry";

  /** In the pool's {@code other_config}: the uuid of the network by which VMs come. */
  static final String NETWORK_KEY = "xenferry:network";

  /** In the token of VM.receive: the SR that all disks go to. */
  static final String SR_KEY = "sr";

  /** In the token of VM.receive, before the reference of a VIF at the source: its network here. */
  static final String VIF_PREFIX = "vif:";

  private static final String TEST = "MigrationTest.";

  private final Migrations migrations;
  private final PoolMoves poolMoves;

  MigrationMessages(Migrations migrations, PoolMoves poolMoves) {
    this.migrations = migrations;
    this.poolMoves = poolMoves;
  }

  public void register(Registry r) {
    r.implement(
        "host.migrate_receive", this::migrateReceive, "RefusedMoveTest.aTokenIssuedLeavesNothing");
    r.implement(
        "VM.assert_can_migrate", this::assertCanMigrate, "RefusedMoveTest.obstaclesAreNamed");
    r.implement("VM.migrate_send", this::migrateSend, TEST + "movesARunningVmWithItsDisks");
    r.implement("VM.pool_migrate", this::poolMigrate, "RefusedMoveTest.withinThePoolAVmStays");
    r.implement("VM.receive", this::receive, TEST + "movesByReceiveAndMigrate");
    r.cancellable("VM.migrate_send", "VM.migrate");
    r.implement("VM.migrate", this::migrate, TEST + "movesByReceiveAndMigrate");
  }

  private Value migrateReceive(Call call) throws XenApiException {
    Snapshot db = call.server().db().snapshot();
    return Value.ofTexts(token(db, call.ref(0), call.ref(1)));
  }

  /**
   * The published keys, then our own. The session in it is good for nothing, so it leaks nothing.
   */
  private Map<String, String> token(Snapshot db, Ref<Host> host, Ref<Network> network)
      throws XenApiException {
    db.get(host, Host.UUID);
    db.get(network, Network.UUID);
    Ref<PIF> pif = null;
    for (Row row : db.rows("PIF")) {
      Ref<PIF> candidate = new Ref<>(row.ref());
      if (db.get(candidate, PIF.HOST).equals(host)
          && db.get(candidate, PIF.NETWORK).equals(network)) {
        pif = candidate;
      }
    }
    if (pif == null) {
      throw new XenApiException("HOST_CANNOT_ATTACH_NETWORK", host.opaque(), network.opaque());
    }
    String ip = db.get(pif, PIF.IP);
    if (ip.isEmpty()) {
      throw new XenApiException("INTERFACE_HAS_NO_IP", pif.opaque());
    }
    String session = Ref.random().opaque();
    Map<String, String> token = new LinkedHashMap<>();
    token.put("SM", "http://" + ip + "/services/SM?session_id=" + session);
    token.put("xenops", "http://" + ip + "/services/xenops?session_id=" + session);
    token.put("host", host.opaque());
    token.put("session_id", session);
    token.put("master", "http://" + ip);
    token.put(TOKEN, migrations.issueToken(ip));
    return token;
  }

  private Value poolMigrate(Call call) throws XenApiException {
    poolMoves.toHost(call.ref(0), call.ref(1), call.textMap(2), task(call));
    return Value.VOID;
  }

  private Value receive(Call call) throws XenApiException {
    Snapshot db = call.server().db().snapshot();
    Ref<Host> host = call.ref(0);
    Ref<SR> sr = call.ref(1);
    db.get(sr, SR.UUID);
    Ref<Network> network = arrivalNetwork(db, host);
    Map<String, String> token = token(db, host, network);
    token.put(SR_KEY, sr.opaque());
    for (Map.Entry<String, String> option : call.textMap(2).entrySet()) {
      if (option.getKey().startsWith(VIF_PREFIX)) {
        db.get(new Ref<Network>(option.getValue()), Network.UUID);
        token.put(option.getKey(), option.getValue());
      }
    }
    token.put(VIF_PREFIX + "*", network.opaque());
    return Value.ofTexts(token);
  }

  /** The pool's, else that of the host's management interface. */
  private static Ref<Network> arrivalNetwork(Snapshot db, Ref<Host> host) throws XenApiException {
    for (Row row : db.rows("pool")) {
      String uuid =
          db.get(Ref.<Pool>of(row.ref()), Pool.OTHER_CONFIG).getOrDefault(NETWORK_KEY, "");
      if (!uuid.isEmpty()) {
        Optional<Row> network = db.byUuid("network", uuid);
        return new Ref<>(
            network
                .orElseThrow(() -> new XenApiException("INVALID_VALUE", NETWORK_KEY, uuid))
                .ref());
      }
    }
    for (Row row : db.rows("PIF")) {
      Ref<PIF> pif = new Ref<>(row.ref());
      if (db.get(pif, PIF.MANAGEMENT) && db.get(pif, PIF.HOST).equals(host)) {
        return db.get(pif, PIF.NETWORK);
      }
    }
    throw new XenApiException("HOST_HAS_NO_MANAGEMENT_IP");
  }

  private Value assertCanMigrate(Call call) throws XenApiException, InterruptedException {
    Ref<VM> vm = call.ref(0);
    Request request =
        new Request(
            vm, call.textMap(1), call.textMap(3), call.textMap(4), call.textMap(5), Map.of());
    migrations.check(request, call.origin().address());
    return Value.VOID;
  }

  private Value migrateSend(Call call) throws XenApiException, InterruptedException {
    Ref<VM> vm = call.ref(0);
    return Value.of(
        migrations.send(
            new Request(
                vm,
                call.textMap(1),
                call.textMap(3),
                call.textMap(4),
                call.textMap(5),
                call.textMap(7)),
            task(call)));
  }

  private Value migrate(Call call) throws XenApiException, InterruptedException {
    Ref<VM> vm = call.ref(0);
    Map<String, String> token = call.textMap(1);
    Snapshot db = call.server().db().snapshot();
    String sr = token.getOrDefault(SR_KEY, "");
    Map<String, String> vdis = new LinkedHashMap<>();
    for (var disk : GuestSpecs.disks(db, vm)) {
      vdis.put(disk.vdi().opaque(), sr);
    }
    Map<String, String> vifs = new LinkedHashMap<>();
    for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
      String network =
          token.getOrDefault(VIF_PREFIX + vif.opaque(), token.getOrDefault(VIF_PREFIX + "*", ""));
      if (!network.isEmpty()) {
        vifs.put(vif.opaque(), network);
      }
    }
    return Value.of(
        migrations.send(new Request(vm, token, vdis, vifs, call.textMap(3), Map.of()), task(call)));
  }

  private static Task task(Call call) throws XenApiException {
    Optional<Task> task = call.task();
    return task.orElseThrow(
        () -> new XenApiException("INTERNAL_ERROR", call.message().wireName() + " has no task"));
  }

  /**
   * What a client asks for; maps keyed by references at the source, valued by references at the
   * destination.
   */
  public record Request(
      Ref<VM> vm,
      Map<String, String> dest,
      Map<String, String> vdis,
      Map<String, String> vifs,
      Map<String, String> options,
      Map<String, String> formats) {

    /** The same with these options. */
    Request with(Map<String, String> allOptions) {
      return new Request(vm, dest, vdis, vifs, allOptions, formats);
    }

    boolean copy() {
      return "true".equals(options.get("copy"));
    }

    /** The format that a disk shall have where it goes; empty where that is left open. */
    Optional<String> format(Ref<VDI> vdi) {
      return Optional.ofNullable(formats.get(vdi.opaque())).filter(format -> !format.isEmpty());
    }

    Optional<String> token() {
      return Optional.ofNullable(dest.get(TOKEN));
    }

    /** The host it is to go to: its uuid, or the reference by which a foreign pool names it. */
    String destination() {
      return token().map(MoveAnswers::destination).orElse(dest.getOrDefault("host", ""));
    }

    /** What is to be copied; a disk for which no SR is named is left out, and an obstacle. */
    List<Plan.Disk> disks(Survey survey, Snapshot db) throws XenApiException {
      List<Plan.Disk> disks = new ArrayList<>();
      Set<Ref<VDI>> seen = new HashSet<>();
      for (var disk : itsDisks(db)) {
        if (disk.cd() || !seen.add(disk.vdi())) { // an empty drive there; one disk of two VBDs
          continue;
        }
        String sr = vdis.get(disk.vdi().opaque());
        if (sr == null) {
          notInMap(survey, disk.vdi());
          continue;
        }
        disks.add(
            new Plan.Disk(
                UUID.fromString(db.get(disk.vdi(), VDI.UUID)),
                disk.device(),
                db.get(disk.vdi(), VDI.VIRTUAL_SIZE),
                sr,
                options.getOrDefault(MoveOptions.STRATEGY, Strategy.AUTO.word()),
                !disk.writable()));
      }
      if (db.get(vm, VM.POWER_STATE) == VmPowerState.SUSPENDED) {
        Ref<VDI> image = db.get(vm, VM.SUSPEND_VDI);
        if (db.row("VDI", image.opaque()).isPresent()) {
          addSuspendImage(survey, db, image, disks);
        }
      }
      if (!copy()) {
        addSnapshots(survey, db, disks);
      }
      return disks;
    }

    private static void notInMap(Survey survey, Ref<VDI> vdi) {
      survey.raise(
          new XenApiException("VDI_NOT_IN_MAP", vdi.opaque()), ObstacleKind.DISK_WITHOUT_SR);
    }

    /** A suspended VM's memory: as the client says, else to where the first disk goes. */
    private void addSuspendImage(Survey survey, Snapshot db, Ref<VDI> vdi, List<Plan.Disk> disks)
        throws XenApiException {
      String sr = vdis.get(vdi.opaque());
      if (sr == null && disks.isEmpty()) {
        notInMap(survey, vdi);
        return;
      }
      disks.add(
          new Plan.Disk(
              java.util.UUID.fromString(db.get(vdi, VDI.UUID)),
              Plan.SUSPEND,
              db.get(vdi, VDI.VIRTUAL_SIZE),
              sr == null ? disks.getFirst().sr() : sr,
              Strategy.LOG_DIRTY.word(),
              true));
    }

    /** Those that are plugged in come first: of two VBDs with one disk the guest's own counts. */
    private List<GuestSpecs.VmDisk> itsDisks(Snapshot db) throws XenApiException {
      List<GuestSpecs.VmDisk> plugged = new ArrayList<>();
      List<GuestSpecs.VmDisk> others = new ArrayList<>();
      for (GuestSpecs.VmDisk disk : GuestSpecs.disks(db, vm)) {
        (db.get(disk.vbd(), VBD.CURRENTLY_ATTACHED) ? plugged : others).add(disk);
      }
      plugged.addAll(others);
      return plugged;
    }

    /** The disks of the VM's snapshots, the oldest first. */
    private void addSnapshots(Survey survey, Snapshot db, List<Plan.Disk> disks)
        throws XenApiException {
      Set<Ref<VDI>> added = new HashSet<>();
      for (Ref<VM> snapshot : VmDocument.snapshots(db, vm)) {
        for (var disk : GuestSpecs.disks(db, snapshot)) {
          if (disk.cd() || !added.add(disk.vdi())) {
            continue;
          }
          Optional<String> sr = srOfSnapshot(db, disk.vdi());
          if (sr.isEmpty()) {
            notInMap(survey, disk.vdi());
            continue;
          }
          disks.add(
              new Plan.Disk(
                  UUID.fromString(db.get(disk.vdi(), VDI.UUID)),
                  Layers.device(added.size()),
                  db.get(disk.vdi(), VDI.VIRTUAL_SIZE),
                  sr.get(),
                  "log-dirty",
                  true));
        }
      }
    }

    /** As the client says, else where the disk goes of which it was taken, else with the others. */
    private Optional<String> srOfSnapshot(Snapshot db, Ref<VDI> vdi) throws XenApiException {
      String sr = vdis.get(vdi.opaque());
      if (sr == null) {
        sr = vdis.get(db.get(vdi, VDI.SNAPSHOT_OF).opaque());
      }
      if (sr == null && new HashSet<>(vdis.values()).size() == 1) {
        sr = vdis.values().iterator().next();
      }
      return Optional.ofNullable(sr);
    }
  }
}
