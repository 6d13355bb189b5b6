package io.xenferry.server.schedule;

import io.xenferry.model.DataModel;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMSS;
import io.xenferry.model.Value;
import io.xenferry.model.VmssFrequency;
import io.xenferry.model.VmssType;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.event.Alert;
import io.xenferry.server.schema.Schema;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Schedules of snapshots, and which VMs belong to them. */
public final class ScheduleMessages {
  private static final String TEST = "ScheduleTest.";

  /** As many as published servers let one VM keep. */
  private static final int MOST_RETAINED = 10;

  private final SnapshotSchedules schedules;

  public ScheduleMessages(SnapshotSchedules schedules) {
    this.schedules = schedules;
  }

  public void register(Registry r) {
    r.implement("VMSS.create", this::create, TEST + "aScheduleIsChecked");
    r.implement("VMSS.destroy", this::destroy, TEST + "aScheduleWithVmsStays");
    r.implement("VMSS.snapshot_now", this::snapshotNow, TEST + "theOldestSnapshotsGo");
    r.implement("VMSS.set_frequency", this::setFrequency, TEST + "aScheduleIsChecked");
    r.implement("VMSS.set_schedule", this::setSchedule, TEST + "aScheduleIsChecked");
    r.implement("VMSS.add_to_schedule", this::addToSchedule, TEST + "aScheduleIsChecked");
    r.implement("VMSS.set_type", this::setType, TEST + "aScheduleIsChecked");
    r.implement("VMSS.set_retained_snapshots", this::setRetained, TEST + "aScheduleIsChecked");
    r.implement("VM.set_snapshot_schedule", this::setOfVm, TEST + "aScheduleWithVmsStays");
    r.generic("VMSS.remove_from_schedule", "VMSS.set_last_run_time");
  }

  private Value create(Call c) throws XenApiException {
    Map<String, Value> f = Accessors.constructorFields(DataModel.classDef("VMSS"), c.members(0));
    requireType(text(f, "type"));
    if (f.get("retained_snapshots") instanceof Value.Int(long retained)) {
      requireRetained(retained);
    }
    VmssFrequency frequency = VmssFrequency.ofWire(text(f, "frequency"));
    Map<String, String> schedule = new LinkedHashMap<>();
    if (f.get("schedule") instanceof Value.Struct given) {
      given.members().forEach((k, v) -> schedule.put(k, ((Value.Text) v).text()));
    }
    SnapshotTimes.check(frequency, schedule);
    f.put("schedule", Value.ofTexts(SnapshotTimes.completed(frequency, schedule)));
    return c.server().db().write(tx -> Value.of(tx.create("VMSS", f)));
  }

  private static String text(Map<String, Value> fields, String name) {
    return fields.get(name) instanceof Value.Text(String text) ? text : "";
  }

  /** There is nobody in a guest whom a server could ask to hold its writes back. */
  private static void requireType(String type) throws XenApiException {
    if (type.equals(VmssType.SNAPSHOT_WITH_QUIESCE.wire())) {
      throw new XenApiException("LICENCE_RESTRICTION", "VSS");
    }
  }

  private static void requireRetained(long retained) throws XenApiException {
    if (retained < 1 || retained > MOST_RETAINED) {
      throw new XenApiException("INVALID_VALUE", "retained_snapshots", Long.toString(retained));
    }
  }

  private Value destroy(Call c) throws XenApiException {
    Ref<VMSS> schedule = c.ref(0);
    String uuid = c.server().db().snapshot().get(schedule, VMSS.UUID);
    c.server()
        .db()
        .change(tx -> {
          if (!tx.get(schedule, VMSS.VMS).isEmpty()) {
            throw new XenApiException("VMSS_HAS_VM");
          }
          tx.delete("VMSS", schedule.opaque());
        });
    c.server()
        .alerts()
        .destroy(
            c.server().alerts().all().stream()
                .filter(alert -> alert.object().equals(uuid))
                .map(Alert::ref)
                .toList());
    return Value.VOID;
  }

  /** Tells the snapshots, by their uuids. */
  private Value snapshotNow(Call c) throws XenApiException {
    Ref<VMSS> schedule = c.ref(0);
    c.server().db().snapshot().get(schedule, VMSS.UUID);
    List<String> uuids = new java.util.ArrayList<>();
    for (Ref<VM> snapshot : schedules.run(schedule)) {
      uuids.add(c.server().db().snapshot().get(snapshot, VM.UUID));
    }
    return Value.of(String.join(",", uuids));
  }

  /** The keys of its times follow. */
  private Value setFrequency(Call c) throws XenApiException {
    Ref<VMSS> schedule = c.ref(0);
    VmssFrequency frequency = VmssFrequency.ofWire(c.text(1));
    c.server()
        .db()
        .change(tx -> {
          tx.set(schedule, VMSS.FREQUENCY, frequency);
          tx.set(
              schedule,
              VMSS.SCHEDULE,
              SnapshotTimes.completed(frequency, tx.get(schedule, VMSS.SCHEDULE)));
        });
    return Value.VOID;
  }

  private Value setSchedule(Call c) throws XenApiException {
    SnapshotTimes.check(c.textMap(1));
    Accessors.change(c, tx -> {});
    return Value.VOID;
  }

  private Value addToSchedule(Call c) throws XenApiException {
    SnapshotTimes.check(Map.of(c.text(1), c.text(2)));
    Accessors.change(c, tx -> {});
    return Value.VOID;
  }

  private Value setType(Call c) throws XenApiException {
    requireType(c.text(1));
    Accessors.change(c, tx -> {});
    return Value.VOID;
  }

  private Value setRetained(Call c) throws XenApiException {
    requireRetained(c.integer(1));
    Accessors.change(c, tx -> {});
    return Value.VOID;
  }

  private Value setOfVm(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    Ref<VMSS> schedule = c.ref(1);
    c.server()
        .db()
        .change(tx -> {
          tx.get(vm, VM.UUID);
          if (!schedule.isNull()) {
            Schema.row(tx, "VMSS", schedule.opaque());
            if (tx.get(vm, VM.IS_CONTROL_DOMAIN)) {
              throw new XenApiException("INVALID_VALUE", "snapshot_schedule", schedule.opaque());
            }
            if (tx.get(vm, VM.IS_A_TEMPLATE)) {
              throw new XenApiException("VM_IS_TEMPLATE", vm.opaque(), "set_snapshot_schedule");
            }
          }
          tx.set(vm, VM.SNAPSHOT_SCHEDULE, schedule.isNull() ? Ref.nullRef() : schedule);
        });
    return Value.VOID;
  }
}
