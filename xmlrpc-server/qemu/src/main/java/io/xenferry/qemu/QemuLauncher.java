package io.xenferry.qemu;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Starts {@code qemu-system-*} (tried with 7.2). Disks are virtio, in the spec's order; {@code
 * platform:xenferry:accel} chooses the accelerator (default {@code kvm:tcg}). Network cards are not
 * yet given to the guest.
 */
public final class QemuLauncher implements GuestLauncher {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path program;

  public QemuLauncher(Path program) {
    this.program = program;
  }

  @Override
  public String name() {
    return "qemu";
  }

  @Override
  public List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
      throws HypervisorException {
    List<String> command = new ArrayList<>();
    command.add(program.toString());
    // A comma ends an option's value unless doubled.
    add(command, "-name", "guest=" + spec.name().replace(",", ",,"));
    add(command, "-uuid", spec.vm().toString());
    add(command, "-pidfile", directory.pidFile().toString());
    add(command, "-qmp", "unix:" + doubled(directory.qmpSocket()) + ",server=on,wait=off");
    add(command, "-qmp", "unix:" + doubled(directory.watchdogSocket()) + ",server=on,wait=off");
    command.add("-no-user-config");
    command.add("-nodefaults");
    // The process stays after the guest has shut down, so that the server sees it and not a crash.
    command.add("-no-shutdown");
    add(command, "-display", "none");
    add(command, "-machine", "q35");
    for (String accel : spec.platform().getOrDefault("xenferry:accel", "kvm:tcg").split(":")) {
      add(command, "-accel", accel);
    }
    add(command, "-m", "size=" + (spec.memoryBytes() >> 10) + "k");
    add(command, "-smp", Integer.toString(spec.vcpus()));
    for (GuestSpec.Disk disk : spec.disks()) {
      add(command, "-blockdev", json(QemuDevices.blockNode(disk)));
      add(command, "-device", json(QemuDevices.disk(disk)));
    }
    switch (mode) {
      case RUNNING -> {}
      case PAUSED -> command.add("-S");
      case INCOMING -> {
        add(command, "-incoming", "defer");
        command.add("-S");
      }
    }
    return command;
  }

  private static void add(List<String> command, String option, String value) {
    command.add(option);
    command.add(value);
  }

  private static String doubled(Path path) {
    return path.toString().replace(",", ",,");
  }

  private static String json(Map<String, Object> options) {
    try {
      return JSON.writeValueAsString(options);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(options.toString(), e);
    }
  }
}
