package io.xenferry.server.messages;

import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.event.Alerts;
import io.xenferry.wire.Content;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What this server itself tells of VMs in objects of the class {@code message}: that they were
 * started, shut down and so on because somebody asked for it, and that they have crashed. Names,
 * priorities and words are those of published servers.
 */
public final class VmAlerts {
  private static final Logger LOG = LoggerFactory.getLogger(VmAlerts.class);

  /** Of what somebody has asked for; the larger, the less it matters. */
  private static final int INFORMATIONAL = 5;

  private static final int ALARMING = 2;

  private final ObjectDatabase database;
  private final Alerts alerts;

  public VmAlerts(ObjectDatabase database, Alerts alerts) {
    this.database = database;
    this.alerts = alerts;
  }

  /** Once all of these are implemented. */
  public void register(Registry r) {
    for (String start : new String[] {"VM.start", "VM.start_on"}) {
      after(r, start, "VM_STARTED", "started on host: HOST");
    }
    for (String resume : new String[] {"VM.resume", "VM.resume_on"}) {
      after(r, resume, "VM_RESUMED", "resumed on host: HOST");
    }
    after(r, "VM.clean_shutdown", "VM_SHUTDOWN", "shutdown cleanly");
    after(r, "VM.hard_shutdown", "VM_SHUTDOWN", "shutdown forcibly");
    after(r, "VM.shutdown", "VM_SHUTDOWN", "shutdown");
    after(r, "VM.clean_reboot", "VM_REBOOTED", "rebooted cleanly");
    after(r, "VM.hard_reboot", "VM_REBOOTED", "rebooted forcibly");
    after(r, "VM.suspend", "VM_SUSPENDED", "suspended");
    after(r, "VM.pause", "VM_PAUSED", "paused");
    after(r, "VM.unpause", "VM_UNPAUSED", "unpaused");
    after(r, "VM.clone", "VM_CLONED", "cloned (new uuid: NEW)");
    after(r, "VM.snapshot", "VM_SNAPSHOTTED", "snapshotted (new uuid: NEW)");
    after(r, "VM.checkpoint", "VM_CHECKPOINTED", "checkpointed (new uuid: NEW)");
    r.afterwards(
        "VM.revert",
        (call, answer) ->
            tell(
                snapshotOf(call),
                "VM_SNAPSHOT_REVERTED",
                INFORMATIONAL,
                "reverted to a snapshot",
                answer));
  }

  private void after(Registry r, String message, String name, String what) {
    r.afterwards(message, (call, answer) -> tell(call.ref(0), name, INFORMATIONAL, what, answer));
  }

  private Ref<VM> snapshotOf(Call call) {
    try {
      return database.snapshot().get(call.<VM>ref(0), VM.SNAPSHOT_OF);
    } catch (XenApiException e) { // gone with what it was of
      return Ref.nullRef();
    }
  }

  /** Told of a guest that panicked, or whose process died. */
  public void crashed(Ref<VM> vm) {
    tell(vm, "VM_CRASHED", ALARMING, "crashed", Content.VOID);
  }

  /** What has been done has been done, whether or not it can be told. */
  private void tell(Ref<VM> vm, String name, int priority, String what, Content answer) {
    try {
      Snapshot now = database.snapshot();
      if (now.row("VM", vm.opaque()).isEmpty()) {
        return;
      }
      String words = what;
      if (what.endsWith("HOST")) {
        Ref<Host> host = new Ref<>(now.rows("host").iterator().next().ref());
        words =
            what.replace(
                "HOST",
                "%s (uuid: %s)"
                    .formatted(now.get(host, Host.NAME_LABEL), now.get(host, Host.UUID)));
      } else if (answer.toValue() instanceof Value.Text(String made)
          && now.row("VM", made).isPresent()) {
        words = what.replace("NEW", now.get(new Ref<VM>(made), VM.UUID));
      }
      alerts.create(
          name,
          priority,
          "VM",
          now.get(vm, VM.UUID),
          "VM '%s' %s".formatted(now.get(vm, VM.NAME_LABEL), words));
    } catch (XenApiException e) {
      LOG.warn("{} of {} cannot be told", name, vm, e);
    }
  }
}
