package io.xenferry.server.migration;

import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.vm.BootFiles;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.HostMemory;
import io.xenferry.server.vm.VmRecords;
import io.xenferry.spi.GuestSpec.Machine;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.function.BooleanSupplier;
import java.util.regex.Pattern;

/**
 * What stands against a VM's arrival at this host, its disks apart: looks, and changes nothing. The
 * order is the one in which the published server checks.
 */
final class ArrivalChecks {
  private final ObjectDatabase database;

  /** Models that are another processor on another host. */
  private static final Pattern WHATEVER_IS_THERE = Pattern.compile("(host|max)(,.*)?");

  private final Hypervisor hypervisor;
  private final Ref<Host> host;
  private final HostMemory memory;
  private final BootFiles bootFiles;

  ArrivalChecks(
      ObjectDatabase database,
      Hypervisor hypervisor,
      Ref<Host> host,
      HostMemory memory,
      BootFiles bootFiles) {
    this.hypervisor = hypervisor;
    this.database = database;
    this.host = host;
    this.memory = memory;
    this.bootFiles = bootFiles;
  }

  /** Tells all: HOST_DISABLED, HANDLE_INVALID for a network that is not here, and so on. */
  void check(Survey survey, Plan plan, VmDocument document) {
    check(survey, plan, document, () -> memory.check(plan.memoryBytes()));
  }

  /**
   * Tells the same, and promises a VM that runs its memory until it has a record here.
   *
   * @param receiving whether it may still get one
   */
  void admit(
      Survey survey,
      MigrationId migration,
      Plan plan,
      VmDocument document,
      BooleanSupplier receiving) {
    check(
        survey,
        plan,
        document,
        () ->
            memory.promise(
                migration.toString(), plan.vmAtDestination(), plan.memoryBytes(), receiving));
  }

  private void check(Survey survey, Plan plan, VmDocument document, Survey.Look room) {
    Snapshot db = database.snapshot();
    survey.look(() -> checkEnabled(db), ObstacleKind.HOST_DISABLED);
    survey.look(() -> checkProcessors(db, document), ObstacleKind.PROCESSORS);
    for (String network : document.missingNetworks(db)) {
      survey.raise(
          new XenApiException("HANDLE_INVALID", "network", network), ObstacleKind.NETWORK_UNKNOWN);
    }
    checkNotHere(survey, db, plan.vmAtDestination());
    for (VmDocument.Taken taken : document.past().snapshots()) {
      checkNotHere(survey, db, taken.uuid());
    }
    if (plan.power() != Plan.Power.HALTED) {
      if (!plan.warm() && !"true".equals(plan.options().get("force"))) {
        survey.look(() -> checkVendor(db, plan, document), ObstacleKind.PROCESSOR_FEATURES);
        survey.look(() -> checkMachine(db, plan, document), ObstacleKind.PROCESSOR_FEATURES);
      }
      if (plan.warm()) {
        survey.look(() -> checkNewMachine(document), ObstacleKind.BAD_OPTION);
      }
      if (document.tpm().isPresent() && !BootFiles.hasTpms()) {
        survey.raise(
            new XenApiException(
                "VM_INCOMPATIBLE_WITH_THIS_HOST",
                plan.vmAtDestination().toString(),
                host.opaque(),
                "the VM has a TPM, and swtpm is not installed on this host"),
            ObstacleKind.TPM);
      }
    }
    if (plan.running()) {
      survey.look(() -> checkBootFiles(plan, document), ObstacleKind.BOOT_FILES);
      survey.look(room, ObstacleKind.MEMORY);
    }
  }

  private void checkEnabled(Snapshot db) throws XenApiException {
    if (!db.get(host, Host.ENABLED)) {
      throw new XenApiException("HOST_DISABLED", host.opaque());
    }
  }

  /** The process that receives the guest is built from them. */
  private void checkBootFiles(Plan plan, VmDocument document) throws XenApiException {
    String kernel =
        text(document.vm(), "HVM_boot_policy").isEmpty() ? text(document.vm(), "PV_kernel") : "";
    bootFiles.requireFor(
        plan.vmAtDestination(),
        kernel,
        kernel.isEmpty() ? "" : text(document.vm(), "PV_ramdisk"),
        kernel.isEmpty() && text(document.vm(), "HVM_boot_params", "firmware").equals("uefi"));
  }

  private static void checkNotHere(Survey survey, Snapshot db, UUID vm) {
    if (db.byUuid("VM", vm.toString()).isPresent()) {
      survey.raise(
          new XenApiException("DUPLICATE_VM", vm.toString()), ObstacleKind.VM_THERE_ALREADY);
    }
  }

  private void checkProcessors(Snapshot db, VmDocument document) throws XenApiException {
    long here = number(db.get(host, Host.CPU_INFO).getOrDefault("cpu_count", ""));
    int wanted = count(document, "VCPUs_max");
    boolean unrestricted = "true".equals(text(document.vm(), "platform", "vcpu-unrestricted"));
    if (here > 0 && wanted > here && !unrestricted) {
      throw new XenApiException(
          "HOST_NOT_ENOUGH_PCPUS", Integer.toString(wanted), Long.toString(here));
    }
  }

  /** A guest that runs has looked at its processor, and must go on finding the same. */
  private void checkVendor(Snapshot db, Plan plan, VmDocument document) throws XenApiException {
    String booted = text(document.vm(), "last_boot_CPU_flags", VmRecords.CPU_VENDOR);
    String here = db.get(host, Host.CPU_INFO).getOrDefault(VmRecords.CPU_VENDOR, "");
    if (!booted.isEmpty() && !here.isEmpty() && !booted.equals(here)) {
      throw new XenApiException(
          "VM_INCOMPATIBLE_WITH_THIS_HOST",
          plan.vmAtDestination().toString(),
          host.opaque(),
          "the VM was booted on a CPU of " + booted + ", this host's is of " + here);
    }
  }

  /** Is tried: the machine, and each feature of its processor, must be had here. */
  private void checkMachine(Snapshot db, Plan plan, VmDocument document) throws XenApiException {
    String words;
    try {
      Map<String, String> platform = texts(document.vm(), "platform");
      Machine machine =
          document.machine().isPresent()
              ? document.machine().get().withAccelerator(GuestSpecs.accelerator(platform))
              : Machine.of(platform);
      String booted = text(document.vm(), "last_boot_CPU_flags", VmRecords.CPU_MODEL);
      String here = db.get(host, Host.CPU_INFO).getOrDefault(VmRecords.CPU_MODEL, "");
      words =
          WHATEVER_IS_THERE.matcher(machine.cpu()).matches()
                  && !booted.isEmpty()
                  && !booted.equals(here)
              ? "the VM's processor is the one that its host has, "
                  + booted
                  + "; here that is "
                  + here
              : hypervisor.refusal(machine).orElse("");
    } catch (HypervisorException | IllegalArgumentException e) {
      words = String.valueOf(e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return;
    }
    if (!words.isEmpty()) {
      throw new XenApiException(
          "VM_INCOMPATIBLE_WITH_THIS_HOST",
          plan.vmAtDestination().toString(),
          host.opaque(),
          words);
    }
  }

  /** Of a VM that boots here: its guest will have shut down for that. */
  private void checkNewMachine(VmDocument document) throws XenApiException {
    int processors =
        Math.max(1, Math.max(count(document, "VCPUs_max"), count(document, "VCPUs_at_startup")));
    Machine machine = GuestSpecs.newMachine(texts(document.vm(), "platform"), processors);
    try {
      Optional<String> refusal = hypervisor.refusal(machine);
      if (refusal.isPresent()) {
        throw new XenApiException("INVALID_VALUE", "platform", refusal.get());
      }
    } catch (HypervisorException e) {
      throw new XenApiException(
              "INVALID_VALUE",
              e.field().isEmpty() ? "platform" : e.field(),
              e.field().isEmpty() ? String.valueOf(e.getMessage()) : e.value())
          .withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static int count(VmDocument document, String field) {
    return document.vm().get(field) instanceof Value.Int(long count)
        ? (int) Math.clamp(count, 0, Integer.MAX_VALUE)
        : 0;
  }

  private static Map<String, String> texts(Map<String, Value> vm, String map) {
    Map<String, String> texts = new HashMap<>();
    if (vm.get(map) instanceof Value.Struct members) {
      members
          .members()
          .forEach((key, value) -> {
            if (value instanceof Value.Text(String text)) {
              texts.put(key, text);
            }
          });
    }
    return texts;
  }

  private static String text(Map<String, Value> vm, String field) {
    return vm.get(field) instanceof Value.Text(String text) ? text : "";
  }

  private static String text(Map<String, Value> vm, String map, String key) {
    return vm.get(map) instanceof Value.Struct members
            && members.members().get(key) instanceof Value.Text(String text)
        ? text
        : "";
  }

  private static long number(String digits) {
    return digits.matches("[0-9]{1,9}") ? Long.parseLong(digits) : 0;
  }
}
