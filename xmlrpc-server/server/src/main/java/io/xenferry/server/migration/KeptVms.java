package io.xenferry.server.migration;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VbdType;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.OptionValues;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.vm.VmLifecycle;
import io.xenferry.server.vm.VmRecords;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The VMs that moves with {@code keep-source} leave at the source, locked. They stay until somebody
 * destroys them, or, where the move was told for how long, until that time has passed; {@link
 * #UNTIL_KEY} says when, and who removes it or changes it is obeyed. One that somebody has begun to
 * use, by letting it start, is left alone.
 */
final class KeptVms {
  private static final Logger log = LoggerFactory.getLogger(KeptVms.class);

  static final String OPTION = "keep-source";

  /** A flag, or for how long in hours or days. */
  static final OptionValues VALUES =
      new OptionValues(
          value -> value.matches("(?i)true|false|" + Retention.PATTERN),
          "true, false, or hours or days to keep it, as 12h or 7d");

  /** In other_config of a kept VM: the instant after which it goes, with its disks. */
  static final String UNTIL_KEY = "xenferry:keep-until";

  /** Beside it, and the server's own: the migration that has left it. */
  private static final String MIGRATION_KEY = VmRecords.MIGRATION_KEY + "-kept-by";

  private final ObjectDatabase database;
  private final MigrationDisks disks;
  private final VmLifecycle lifecycle;
  private final Gate gate;

  KeptVms(ObjectDatabase database, MigrationDisks disks, VmLifecycle lifecycle, Gate gate) {
    this.database = database;
    this.disks = disks;
    this.lifecycle = lifecycle;
    this.gate = gate;
  }

  static boolean asked(Map<String, String> options) {
    return !options.getOrDefault(OPTION, "false").equalsIgnoreCase("false");
  }

  /** What the other_config of the VM that a move leaves is to say. */
  static Map<String, String> note(
      Map<String, String> otherConfig,
      MigrationId migration,
      Map<String, String> options,
      Instant now) {
    Map<String, String> config = new LinkedHashMap<>(otherConfig);
    Retention.of(options.getOrDefault(OPTION, ""))
        .ifPresent(time -> {
          config.put(UNTIL_KEY, now.plus(time).truncatedTo(ChronoUnit.SECONDS).toString());
          config.put(MIGRATION_KEY, migration.toString());
        });
    return config;
  }

  /** Destroys those whose time has passed; what cannot be is tried again the next time. */
  void sweep(Instant now) throws XenApiException {
    for (Row row : List.copyOf(database.snapshot().rows("VM"))) {
      Ref<VM> vm = new Ref<>(row.ref());
      try {
        if (isOver(database.snapshot(), vm, now)) {
          remove(vm, now);
        }
      } catch (XenApiException e) {
        log.warn("a kept VM, {}, cannot be destroyed yet", vm, e);
      }
    }
  }

  /** A clone or a snapshot of a kept VM says the same in its other_config, but is another VM. */
  private static boolean isOver(Snapshot db, Ref<VM> vm, Instant now) throws XenApiException {
    Map<String, String> config = db.get(vm, VM.OTHER_CONFIG);
    String until = config.get(UNTIL_KEY);
    String migration = config.get(MIGRATION_KEY);
    if (until == null || migration == null) {
      return false;
    }
    try {
      return !Instant.parse(until).isAfter(now)
          && db.get(vm, VM.UUID).equals(MigrationId.parse(migration).keptVm().toString())
          && db.get(vm, VM.POWER_STATE) == VmPowerState.HALTED
          && db.get(vm, VM.BLOCKED_OPERATIONS).containsKey(VmOperations.START);
    } catch (DateTimeException | IllegalArgumentException e) {
      log.warn("VM {} is kept: {} says {}", db.get(vm, VM.UUID), UNTIL_KEY, until);
      return false;
    }
  }

  private void remove(Ref<VM> vm, Instant now) throws XenApiException {
    UUID uuid = UUID.fromString(database.snapshot().get(vm, VM.UUID));
    try (Gate.Permit permit = gate.enter(uuid, Operation.DESTROY_VM)) {
      Snapshot db = database.snapshot();
      if (!isOver(db, vm, now)) {
        return;
      }
      log.info("destroying VM {} with its disks: it was to be kept until now", uuid);
      Set<Ref<VM>> own = new LinkedHashSet<>(List.of(vm));
      own.addAll(db.get(vm, VM.SNAPSHOTS));
      for (Ref<VDI> disk : disksOf(db, own)) {
        disks.destroy(UUID.fromString(db.get(disk, VDI.UUID)), uuid);
      }
      database.change(tx -> {
        for (Ref<VM> each : own) {
          if (tx.row("VM", each.opaque()).isPresent()) {
            VmRecords.delete(tx, each);
          }
        }
      });
      lifecycle.firmware().discardOrWarn(uuid);
    }
  }

  /** The disks that only these VMs have. */
  private static List<Ref<VDI>> disksOf(Snapshot db, Set<Ref<VM>> own) throws XenApiException {
    List<Ref<VDI>> disks = new ArrayList<>();
    for (Ref<VM> vm : own) {
      List<Ref<VDI>> all = new ArrayList<>(List.of(db.get(vm, VM.SUSPEND_VDI)));
      for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
        if (db.get(vbd, VBD.TYPE) == VbdType.DISK) {
          all.add(db.get(vbd, VBD.VDI));
        }
      }
      for (Ref<VDI> vdi : all) {
        if (db.row("VDI", vdi.opaque()).isPresent() && !disks.contains(vdi)) {
          boolean others = false;
          for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
            others |= !own.contains(db.get(vbd, VBD.VM));
          }
          if (!others) {
            disks.add(vdi);
          }
        }
      }
    }
    return disks;
  }
}
