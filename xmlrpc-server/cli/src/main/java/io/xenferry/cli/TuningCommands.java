package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.Map;

/** Memory and processors of selected VMs. */
final class TuningCommands {
  private TuningCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("vm-memory-set", run -> sizes(run, "VM.set_memory", "memory"));
    commands.put(
        "vm-memory-static-range-set",
        run -> sizes(run, "VM.set_memory_static_range", "min", "max"));
    commands.put(
        "vm-memory-dynamic-range-set",
        run -> sizes(run, "VM.set_memory_dynamic_range", "min", "max"));
    commands.put(
        "vm-memory-target-set",
        run -> sizes(run, "VM.set_memory_dynamic_range", "target", "target"));
    commands.put(
        "vm-memory-limits-set",
        run ->
            sizes(
                run,
                "VM.set_memory_limits",
                "static-min",
                "static-max",
                "dynamic-min",
                "dynamic-max"));
    commands.put("vm-vcpu-hotplug", TuningCommands::vcpus);
  }

  private static void sizes(Run run, String method, String... parameters)
      throws XenApiException, CliException, IOException {
    Value[] arguments = new Value[parameters.length + 1];
    for (int i = 0; i < parameters.length; i++) {
      arguments[i + 1] =
          Value.of(Arguments.size(parameters[i], run.arguments().need(parameters[i])));
    }
    VmCommands.each(
        run,
        false,
        false,
        vm -> {
          arguments[0] = Value.of(vm.ref());
          run.calls().call(method, arguments);
        });
  }

  private static void vcpus(Run run) throws XenApiException, CliException, IOException {
    Value count = Value.of(Parameter.number("new-vcpus", run.arguments().need("new-vcpus")));
    VmCommands.each(
        run,
        false,
        false,
        vm -> run.calls().call("VM.set_VCPUs_number_live", Value.of(vm.ref()), count));
  }
}
