package io.xenferry.qemu;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.io.File;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Starts the simulated guest: a small JVM that speaks the subset of QMP this driver uses, writes
 * numbered records to its disks and notes each in a ledger of its own.
 */
public final class SimulatedLauncher implements GuestLauncher {
  /** The guest's main class; named, not linked, because it is no part of the server. */
  public static final String MAIN_CLASS = "io.xenferry.guest.SimulatedGuest";

  private final Path java;
  private final String classPath;
  private final List<String> jvmOptions;

  /**
   * @param java the JVM's launcher
   * @param classPath where {@link #MAIN_CLASS} is found with what it needs
   * @param jvmOptions additional ones, for example an AOT cache
   */
  public SimulatedLauncher(Path java, String classPath, List<String> jvmOptions) {
    this.java = java;
    // The guest works in its own directory.
    this.classPath =
        Arrays.stream(classPath.split(File.pathSeparator))
            .map(entry -> Path.of(entry).toAbsolutePath().toString())
            .collect(Collectors.joining(File.pathSeparator));
    this.jvmOptions = List.copyOf(jvmOptions);
  }

  /** With the JVM and the class path of the calling process. */
  public static SimulatedLauncher ofThisJvm() {
    return new SimulatedLauncher(
        Path.of(System.getProperty("java.home", ""), "bin", "java"),
        System.getProperty("java.class.path", ""),
        List.of());
  }

  @Override
  public String name() {
    return "simulated";
  }

  @Override
  public boolean opens(String format) {
    return format.equals("raw");
  }

  @Override
  public List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
      throws HypervisorException {
    for (GuestSpec.Disk disk : spec.disks()) {
      if (!opens(disk.format())) {
        throw new HypervisorException(
            HypervisorException.Kind.REFUSED,
            disk.device() + " is " + disk.format() + ": simulated guests have raw disks only");
      }
    }
    List<String> command = new ArrayList<>();
    command.add(java.toString());
    // Quick to start and small; a guest writes some thousand records a second at most.
    command.addAll(
        List.of(
            "-Xshare:auto",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xms24m",
            "-Xmx96m",
            "-XX:MaxDirectMemorySize=256m",
            "-XX:-UsePerfData",
            "--enable-native-access=ALL-UNNAMED",
            // Another jar on the class path brings a logback.xml of its own.
            "-Dlogback.configurationFile=xenferry-logback.xml"));
    command.addAll(jvmOptions);
    command.addAll(List.of("-cp", classPath, MAIN_CLASS));
    command.addAll(List.of("--qmp", directory.qmpSocket().toString()));
    command.addAll(List.of("--monitor", directory.watchdogSocket().toString()));
    command.addAll(List.of("--serial", directory.serialSocket(0).toString()));
    command.addAll(List.of("--pidfile", directory.pidFile().toString()));
    command.addAll(List.of("--spec", directory.specFile().toString()));
    switch (mode) {
      case RUNNING -> {}
      case PAUSED -> command.add("--paused");
      case INCOMING -> command.add("--incoming");
    }
    return command;
  }
}
