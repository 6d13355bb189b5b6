package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The life cycle of VMs. */
final class VmCommands {
  private static final long MESSAGE_PRIORITY = 5;

  private VmCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("vm-start", VmCommands::start);
    commands.put("vm-resume", VmCommands::resume);
    commands.put(
        "vm-suspend",
        run -> each(run, false, false, vm -> Tasks.run(run, "VM.suspend", Value.of(vm.ref()))));
    commands.put("vm-shutdown", VmCommands::shutdown);
    commands.put("vm-reboot", VmCommands::reboot);
    commands.put(
        "vm-pause",
        run -> each(run, false, false, vm -> run.calls().call("VM.pause", Value.of(vm.ref()))));
    commands.put(
        "vm-unpause",
        run -> each(run, false, false, vm -> run.calls().call("VM.unpause", Value.of(vm.ref()))));
    commands.put("vm-reset-powerstate", VmCommands::resetPowerState);
    commands.put("vm-compute-maximum-memory", VmCommands::maximumMemory);
    commands.put("vm-copy-bios-strings", VmCommands::copyBiosStrings);
    commands.put("vm-is-bios-customized", VmCommands::isBiosCustomized);
    commands.put("vm-clone", run -> copies(run, true, "VM.clone"));
    commands.put("vm-snapshot", run -> copies(run, false, "VM.snapshot"));
    commands.put("vm-checkpoint", run -> copies(run, false, "VM.checkpoint"));
    commands.put("vm-copy", VmCommands::copy);
    commands.put("vm-destroy", VmCommands::destroy);
    commands.put("vm-uninstall", VmUninstall::run);
  }

  /** What is done with one selected object. */
  interface Action {
    void on(Selection.Chosen object) throws XenApiException, CliException, IOException;
  }

  static void each(Run run, boolean controlDomains, boolean templates, Action action)
      throws XenApiException, CliException, IOException {
    List<Map.Entry<String, String>> filters =
        Selection.filters(run.arguments(), run.command().own());
    each(
        run,
        run.selection().vms(filters, controlDomains, templates),
        "VMs",
        vm -> {
          Instant start = Instant.now();
          action.on(vm);
          showMessages(run, vm, start);
        });
  }

  /**
   * One object, or with {@code --multiple} several; then each is tried, and failures are told at
   * the end.
   */
  static void each(Run run, List<Selection.Chosen> chosen, String what, Action action)
      throws XenApiException, CliException, IOException {
    checkNumber(run, chosen, what);
    if (chosen.size() == 1) {
      action.on(chosen.getFirst());
      return;
    }
    Map<Selection.Chosen, String> failures = new LinkedHashMap<>();
    for (Selection.Chosen one : chosen) {
      try {
        action.on(one);
      } catch (XenApiException e) {
        failures.put(one, ErrorText.lines(run.calls(), e));
      } catch (CliException e) {
        failures.put(one, e.text() + "\n");
      }
    }
    for (Map.Entry<Selection.Chosen, String> e : failures.entrySet()) {
      run.client()
          .print(
              "operation failed on %s: %s"
                  .formatted(e.getKey().uuid(), e.getValue().stripTrailing()));
    }
    if (!failures.isEmpty()) {
      throw new CliException(CliException.Kind.SHOWN, "");
    }
  }

  /** One object, or several where the user said so. */
  static void checkNumber(Run run, List<Selection.Chosen> chosen, String what) throws CliException {
    if (chosen.isEmpty()) {
      throw CliException.failed("No matching " + what + " found");
    }
    if (chosen.size() > 1 && !run.arguments().flag("multiple")) {
      throw CliException.failed(
          "%d %s match; --multiple does it with all of them".formatted(chosen.size(), what));
    }
  }

  /** Messages about the VM that the operation caused, if they are important enough. */
  private static void showMessages(Run run, Selection.Chosen vm, Instant since) throws IOException {
    try {
      long below =
          Parameter.number(
              "message-priority",
              run.arguments().get("message-priority", Long.toString(MESSAGE_PRIORITY)));
      Value messages =
          run.calls().call("message.get", Value.of("VM"), Value.of(vm.uuid()), Value.of(since));
      for (Value value : Calls.members(messages).values()) {
        Map<String, Value> m = Calls.members(value);
        if (Calls.number(m.getOrDefault("priority", Value.of(below))) < below) {
          run.printer()
              .sayOnStderr(
                  "Message: time=%s priority=%s name='%s'\n"
                      .formatted(
                          Display.plain(m.getOrDefault("timestamp", Value.VOID)),
                          Display.plain(m.getOrDefault("priority", Value.VOID)),
                          Calls.field(m, "name")));
        }
      }
    } catch (XenApiException | CliException | IllegalArgumentException e) {
      // The operation succeeded; that its messages cannot be read must not make it look otherwise.
    }
  }

  /** The host that {@code on=} names. */
  static Optional<String> host(Run run, String parameter) throws XenApiException, CliException {
    Optional<String> name = run.arguments().get(parameter);
    if (name.isEmpty()) {
      return Optional.empty();
    }
    for (Map.Entry<String, Map<String, Value>> e : run.calls().records("host", "true").entrySet()) {
      if (Calls.field(e.getValue(), "name_label").equals(name.get())
          || Calls.field(e.getValue(), "uuid").equals(name.get())) {
        return Optional.of(e.getKey());
      }
    }
    throw CliException.failed("No host '%s' in this pool".formatted(name.get()));
  }

  private static void start(Run run) throws XenApiException, CliException, IOException {
    Value force = Value.of(run.arguments().flag("force"));
    Value paused = Value.of(run.arguments().flag("paused"));
    Optional<String> host = host(run, "on");
    each(
        run,
        true,
        false,
        vm -> {
          Value self = Value.of(vm.ref());
          try {
            if (host.isPresent()) {
              Tasks.run(run, "VM.start_on", self, Value.of(host.get()), paused, force);
            } else {
              Tasks.run(run, "VM.start", self, paused, force);
            }
          } catch (XenApiException e) {
            if (e.code().equals("NO_HOSTS_AVAILABLE")) {
              showWhere(run, vm.ref());
            }
            throw e;
          }
        });
  }

  /** By host, whether the VM can start there, or why not. */
  static void showWhere(Run run, String vm) throws XenApiException, IOException {
    List<Map.Entry<String, String>> table = new ArrayList<>();
    for (Map.Entry<String, Map<String, Value>> host :
        run.calls().records("host", "true").entrySet()) {
      String verdict = "OK";
      try {
        run.calls().call("VM.assert_can_boot_here", Value.of(vm), Value.of(host.getKey()));
      } catch (XenApiException e) {
        verdict = ErrorText.sentence(e.code());
      }
      table.add(Map.entry(Calls.field(host.getValue(), "name_label"), verdict));
    }
    run.printer().tables(List.of(table));
  }

  private static void resume(Run run) throws XenApiException, CliException, IOException {
    Value force = Value.of(run.arguments().flag("force"));
    Optional<String> host = host(run, "on");
    each(
        run,
        false,
        false,
        vm -> {
          Value self = Value.of(vm.ref());
          if (host.isPresent()) {
            Tasks.run(run, "VM.resume_on", self, Value.of(host.get()), Value.of(false), force);
          } else {
            Tasks.run(run, "VM.resume", self, Value.of(false), force);
          }
        });
  }

  private static void shutdown(Run run) throws XenApiException, CliException, IOException {
    String method = run.arguments().flag("force") ? "VM.hard_shutdown" : "VM.clean_shutdown";
    each(run, false, false, vm -> Tasks.run(run, method, Value.of(vm.ref())));
  }

  private static void reboot(Run run) throws XenApiException, CliException, IOException {
    String method = run.arguments().flag("force") ? "VM.hard_reboot" : "VM.clean_reboot";
    each(run, false, false, vm -> run.calls().call(method, Value.of(vm.ref())));
  }

  private static void resetPowerState(Run run) throws XenApiException, CliException, IOException {
    requireForce(run);
    each(run, true, false, vm -> run.calls().call("VM.power_state_reset", Value.of(vm.ref())));
  }

  static void requireForce(Run run) throws CliException {
    if (!run.arguments().flag("force")) {
      throw CliException.failed(
          "This declares the VM halted whether it is or not; --force says that it is");
    }
  }

  private static void maximumMemory(Run run) throws XenApiException, CliException, IOException {
    Value total = Value.of(run.arguments().size("total").orElse(0L));
    Value approximate = Value.of(run.arguments().flag("approximate"));
    each(
        run,
        false,
        false,
        vm ->
            run.printer()
                .line(
                    run.calls()
                        .text("VM.maximise_memory", Value.of(vm.ref()), total, approximate)));
  }

  private static void copyBiosStrings(Run run) throws XenApiException, CliException, IOException {
    Value host = Value.of(run.calls().byUuid("host", run.arguments().need("host-uuid")));
    each(
        run,
        false,
        false,
        vm -> run.calls().call("VM.copy_bios_strings", Value.of(vm.ref()), host));
  }

  private static void isBiosCustomized(Run run) throws XenApiException, CliException, IOException {
    each(
        run,
        false,
        false,
        vm -> {
          Value strings = run.calls().call("VM.get_bios_strings", Value.of(vm.ref()));
          run.printer()
              .line(
                  Calls.members(strings).isEmpty()
                      ? "The BIOS strings of this VM have not been set."
                      : "This VM has BIOS strings of its own.");
        });
  }

  private static void copies(Run run, boolean templates, String method)
      throws XenApiException, CliException, IOException {
    Value name = Value.of(run.arguments().need("new-name-label"));
    List<Value> ignored = new ArrayList<>();
    for (String uuid : run.arguments().get("ignore-vdi-uuids", "").split(",")) {
      if (!uuid.isBlank()) {
        ignored.add(Value.of(run.calls().byUuid("VDI", uuid.strip())));
      }
    }
    List<String> made = new ArrayList<>();
    each(
        run,
        false,
        templates,
        vm -> {
          String ref =
              method.equals("VM.snapshot")
                  ? run.calls().text(method, Value.of(vm.ref()), name, new Value.Array(ignored))
                  : run.calls().text(method, Value.of(vm.ref()), name);
          if (made.isEmpty()) {
            describe(run, ref);
          }
          made.add(run.calls().uuid("VM", ref));
        });
    run.printer().list(made);
  }

  private static void describe(Run run, String vm) throws XenApiException {
    Optional<String> description = run.arguments().get("new-name-description");
    if (description.isPresent()) {
      run.calls().call("VM.set_name_description", Value.of(vm), Value.of(description.get()));
    }
  }

  private static void copy(Run run) throws XenApiException, CliException, IOException {
    List<Selection.Chosen> chosen =
        run.selection().vms(Selection.filters(run.arguments(), run.command().own()), false, true);
    if (chosen.size() != 1) {
      throw CliException.failed(
          chosen.isEmpty() ? "No matching VMs found" : "Only one VM can be copied at a time");
    }
    Optional<String> sr = run.arguments().get("sr-uuid");
    String ref =
        run.calls()
            .text(
                "VM.copy",
                Value.of(chosen.getFirst().ref()),
                Value.of(run.arguments().need("new-name-label")),
                Value.of(sr.isPresent() ? run.calls().byUuid("SR", sr.get()) : Calls.NULL));
    describe(run, ref);
    run.printer().line(run.calls().uuid("VM", ref));
  }

  private static void destroy(Run run) throws XenApiException, CliException {
    String ref = run.calls().byUuid("VM", run.arguments().need("uuid"));
    if (Calls.truth(run.calls().call("VM.get_is_control_domain", Value.of(ref)))) {
      throw CliException.failed("A control domain cannot be destroyed");
    }
    run.calls().call("VM.destroy", Value.of(ref));
  }
}
