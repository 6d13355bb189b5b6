package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/**
 * {@code vm-migrate}: inside the pool by VM.pool_migrate, else with its disks by
 * host.migrate_receive at the destination and VM.migrate_send here.
 */
final class VmMigrate {
  private static final List<String> STORAGE_PREFIXES =
      List.of(
          "remote-master",
          "remote-username",
          "remote-password",
          "remote-network",
          "vif",
          "vdi",
          "vgpu",
          "image-format",
          "destination-sr-uuid");

  /** Options that go into the call's options as they are. */
  private static final List<String> PASSED_ON =
      List.of(
          "strategy",
          "max-downtime",
          "bandwidth",
          "disk-bandwidth",
          "cutover",
          "transport",
          "keep-source",
          "verify",
          "base",
          "keep-attempt",
          "mode",
          "shutdown-timeout",
          "hard-shutdown");

  private static final List<String> MAPS = List.of("vif", "vdi", "vgpu", "image-format");

  /** Asks what stands against the move, and does not begin it. */
  static final String DRY_RUN = "dry-run";

  private VmMigrate() {}

  static void run(Run run) throws XenApiException, CliException, IOException {
    Run renamed =
        run.with(run.arguments().renamed(Map.of("host-uuid", "host", "host-name", "host")));
    checkOnce(renamed, own(renamed));
    checkMaps(renamed.arguments());
    renamed.arguments().flag(DRY_RUN);
    run.environment().migrations().checkOptions(options(renamed.arguments()));
    boolean storage =
        renamed.arguments().all().stream()
            .anyMatch(e -> STORAGE_PREFIXES.stream().anyMatch(e.getKey()::startsWith));
    if (storage) {
      withStorage(renamed);
    } else {
      insidePool(renamed);
    }
  }

  /** Of two values one would be obeyed, and nobody would know which. */
  static void checkOnce(Run run, Set<String> own) throws CliException {
    Map<String, String> values = new HashMap<>();
    for (Map.Entry<String, String> e : run.arguments().all()) {
      String before = values.putIfAbsent(e.getKey(), e.getValue());
      boolean ours = own.contains(e.getKey()) || !Selection.STANDARD.contains(e.getKey());
      if (ours && before != null && !before.equals(e.getValue())) {
        throw CliException.failed(
            "Parameter '%s' is given twice, with different values".formatted(e.getKey()));
      }
    }
  }

  /** What is not of the form that a map has would be left unread. */
  private static void checkMaps(Arguments a) throws CliException {
    for (String map : MAPS) {
      if (a.has(map)) {
        throw CliException.failed("Parameter '%s' takes pairs: %s:UUID=VALUE".formatted(map, map));
      }
      for (Map.Entry<String, String> e : a.map(map).entrySet()) {
        if (e.getValue().isEmpty()) {
          throw CliException.failed("Parameter '%s:%s' has no value".formatted(map, e.getKey()));
        }
      }
    }
  }

  /** What goes into the call's options. */
  static SequencedMap<String, String> options(Arguments a) throws CliException {
    SequencedMap<String, String> options = new LinkedHashMap<>();
    a.get("compress").ifPresent(c -> options.put("compress", c));
    for (String name : List.of("force", "live", "copy")) {
      options.put(name, Boolean.toString(a.flag(name)));
    }
    for (String name : PASSED_ON) {
      a.get(name).ifPresent(value -> options.put(name, value));
    }
    return options;
  }

  private static void insidePool(Run run) throws XenApiException, CliException, IOException {
    String host =
        VmCommands.host(run, "host")
            .orElseThrow(() -> CliException.failed("No destination host specified"));
    Value options = Value.ofTexts(options(run.arguments()));
    Set<String> own = new HashSet<>(List.of("host", "live", "compress", DRY_RUN));
    own.addAll(PASSED_ON);
    List<Selection.Chosen> vms =
        run.selection().vms(Selection.filters(run.arguments(), own), true, false);
    VmCommands.each(
        run,
        vms,
        "VMs",
        vm -> {
          if (run.arguments().flag(DRY_RUN)) {
            DryRun.show(
                run,
                run.environment()
                    .migrations()
                    .dryRun(run.calls().session(), vm.ref(), host, options(run.arguments())));
          } else {
            run.calls().call("VM.pool_migrate", Value.of(vm.ref()), Value.of(host), options);
          }
        });
  }

  private static void withStorage(Run run) throws XenApiException, CliException, IOException {
    Destination.requireNamed(run.arguments());
    Here here = Here.of(run);
    run.printer().say("Performing a storage live migration: the VM's disks move with it.");
    Destination.visit(run, "host", there -> send(run, here, there));
  }

  /**
   * What the command line names at this side, looked up before anybody else is asked: the VMs, and
   * disks, cards and so on by reference, with what belongs to each there.
   */
  private record Here(
      List<Selection.Chosen> vms,
      SequencedMap<String, String> vifs,
      SequencedMap<String, String> vdis,
      SequencedMap<String, String> vgpus,
      SequencedMap<String, String> formats) {

    static Here of(Run run) throws XenApiException, CliException {
      List<Selection.Chosen> vms =
          run.selection().vms(Selection.filters(run.arguments(), own(run)), false, true);
      VmCommands.checkNumber(run, vms, "VMs");
      return new Here(
          vms,
          byReference(run, "vif", "VIF"),
          byReference(run, "vdi", "VDI"),
          byReference(run, "vgpu", "VGPU"),
          byReference(run, "image-format", "VDI"));
    }

    private static SequencedMap<String, String> byReference(
        Run run, String parameter, String className) throws XenApiException {
      SequencedMap<String, String> map = new LinkedHashMap<>();
      for (Map.Entry<String, String> e : run.arguments().map(parameter).entrySet()) {
        map.put(run.calls().byUuid(className, e.getKey()), e.getValue());
      }
      return map;
    }
  }

  private static void send(Run run, Here here, Destination there)
      throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    SequencedMap<String, Value> vifs = there.named(here.vifs(), "network");
    SequencedMap<String, Value> vgpus = there.named(here.vgpus(), "GPU_group");
    List<MovingDrive> drives = MovingDrive.of(run, here.vms());
    SequencedMap<String, Value> vdis = there.places(run, drives, there.named(here.vdis(), "SR"));
    there.announce(run, vdis);
    MovingDrive.announceCds(run, drives, there);
    Value options = Value.ofTexts(options(a));
    Value formats = Value.ofTexts(here.formats());
    Value vdiMap = new Value.Struct(vdis);
    VmCommands.each(
        run,
        here.vms(),
        "VMs",
        vm -> {
          // Each is good for one move.
          Value token = there.token(options);
          if (a.flag(DRY_RUN)) {
            DryRun.show(
                run,
                run.environment()
                    .migrations()
                    .dryRun(
                        run.calls().session(),
                        new Migrations.Move(
                            vm.ref(),
                            Calls.textMap(token),
                            Calls.textMap(vdiMap),
                            Calls.textMap(new Value.Struct(vifs)),
                            options(a),
                            Calls.textMap(formats))));
            return;
          }
          String moved =
              run.calls()
                  .text(
                      "VM.migrate_send",
                      Value.of(vm.ref()),
                      token,
                      Value.of(true),
                      vdiMap,
                      new Value.Struct(vifs),
                      options,
                      new Value.Struct(vgpus),
                      formats);
          if (a.flag("copy")) {
            run.printer().line(there.calls().uuid("VM", moved));
          }
        });
  }

  private static Set<String> own(Run run) {
    Set<String> own = run.command().own();
    own.addAll(List.of("host", "vgpu"));
    return own;
  }
}
