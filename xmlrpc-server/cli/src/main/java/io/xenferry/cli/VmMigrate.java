package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
          "strategy", "max-downtime", "bandwidth", "cutover", "transport", "keep-source", "verify");

  private static final List<String> MAPS = List.of("vif", "vdi", "vgpu", "image-format");

  /** Asks what stands against the move, and does not begin it. */
  private static final String DRY_RUN = "dry-run";

  /**
   * API version and originator of the login at the destination, as the published command has them.
   */
  private static final String LOGIN_VERSION = "1.3";

  private static final Duration LOGOUT_PATIENCE = Duration.ofSeconds(2);

  private VmMigrate() {}

  static void run(Run run) throws XenApiException, CliException, IOException {
    Run renamed =
        run.with(run.arguments().renamed(Map.of("host-uuid", "host", "host-name", "host")));
    checkOnce(renamed);
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
  private static void checkOnce(Run run) throws CliException {
    Set<String> own = own(run);
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

  private static SequencedMap<String, String> options(Arguments a) throws CliException {
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
    Arguments a = run.arguments();
    for (String name : List.of("remote-master", "remote-username", "remote-password")) {
      if (!a.has(name)) {
        throw CliException.required(name);
      }
    }
    Here here = Here.of(run);
    run.printer().say("Performing a storage live migration: the VM's disks move with it.");
    String master = a.need("remote-master");
    try (RemoteServers.Remote remote =
        run.environment().remoteServers().connect(master, a.get("remote-fingerprint"))) {
      Optional<String> accepted = remote.acceptedAtFirstContact();
      if (accepted.isPresent()) {
        run.client()
            .stderr(
                "First contact with %s: its certificate is trusted from now on, SHA-256 %s\n"
                    .formatted(master, accepted.get()));
      }
      String session =
          Calls.text(
              remote.call(
                  "session.login_with_password",
                  Value.of(a.need("remote-username")),
                  Value.of(a.need("remote-password")),
                  Value.of(LOGIN_VERSION),
                  Value.of("xenferry xe")));
      try {
        send(run, here, new Calls(remote, session));
      } finally {
        logout(remote, session);
      }
    } catch (UnexpectedAnswerException e) {
      throw new XenApiException("CANNOT_CONTACT_HOST", master)
          .withCause(new IOException("its answers make no sense: " + e.getMessage()));
    }
  }

  /** Waited for a moment only: what was asked is over, and the other server may not answer. */
  private static void logout(RemoteServers.Remote remote, String session) {
    Thread asking =
        Thread.ofVirtual()
            .start(() -> {
              try {
                remote.call("session.logout", Value.of(session));
              } catch (XenApiException e) {
                // What became of the migration matters, not of a session that ends by itself.
              }
            });
    try {
      asking.join(LOGOUT_PATIENCE);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
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

  private static void send(Run run, Here here, Calls remote)
      throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    String host = host(a, remote);
    String network = network(a, remote, host);
    SequencedMap<String, Value> vifs = there(remote, here.vifs(), "network");
    SequencedMap<String, Value> vgpus = there(remote, here.vgpus(), "GPU_group");
    List<MovingDrive> drives = MovingDrive.of(run, here.vms());
    SequencedMap<String, Value> vdis =
        completed(run, remote, host, drives, there(remote, here.vdis(), "SR"));
    announce(run, remote, host, network, vdis);
    MovingDrive.announceCds(run, drives, remote.uuid("host", host));
    Value options = Value.ofTexts(options(a));
    Value formats = Value.ofTexts(here.formats());
    Value vdiMap = new Value.Struct(vdis);
    VmCommands.each(
        run,
        here.vms(),
        "VMs",
        vm -> {
          // Each is good for one move.
          Value token =
              remote.call("host.migrate_receive", Value.of(host), Value.of(network), options);
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
            run.printer().line(remote.uuid("VM", moved));
          }
        });
  }

  private static Set<String> own(Run run) {
    Set<String> own = run.command().own();
    own.addAll(List.of("host", "vgpu"));
    return own;
  }

  private static String host(Arguments a, Calls remote) throws XenApiException, CliException {
    Optional<String> name = a.get("host");
    String query =
        name.isEmpty() ? "true" : Calls.anyEquals(name.get(), "hostname", "name__label", "uuid");
    SequencedMap<String, Map<String, Value>> hosts = remote.records("host", query);
    if (hosts.isEmpty()) {
      throw CliException.failed("No host '%s' at the destination".formatted(name.orElse("")));
    }
    return hosts.firstEntry().getKey();
  }

  private static String network(Arguments a, Calls remote, String host)
      throws XenApiException, CliException {
    Optional<String> name = a.get("remote-network");
    if (name.isPresent()) {
      return remote
          .first("network", name.get(), "bridge", "name__label", "uuid")
          .orElseThrow(() ->
              CliException.failed("No network '%s' at the destination".formatted(name.get())));
    }
    String query =
        "((field \"host\" = \"%s\") and (field \"management\" = \"true\"))".formatted(host);
    SequencedMap<String, Map<String, Value>> pifs = remote.records("PIF", query);
    if (pifs.isEmpty()) {
      throw CliException.failed("The destination host has no management interface");
    }
    return Calls.field(pifs.firstEntry().getValue(), "network");
  }

  private static String there(Calls remote, String className, String uuid)
      throws XenApiException, CliException {
    try {
      return remote.byUuid(className, uuid);
    } catch (XenApiException e) {
      if (!e.code().equals("UUID_INVALID")) {
        throw e;
      }
      throw CliException.failed("No %s '%s' at the destination".formatted(className, uuid));
    }
  }

  /** With the objects there, which are named by uuid, by reference. */
  private static SequencedMap<String, Value> there(
      Calls remote, Map<String, String> uuids, String className)
      throws XenApiException, CliException {
    SequencedMap<String, Value> map = new LinkedHashMap<>();
    for (Map.Entry<String, String> e : uuids.entrySet()) {
      map.put(e.getKey(), Value.of(there(remote, className, e.getValue())));
    }
    return map;
  }

  /**
   * The user's map, and for the VMs' other disks the SR the user named or the best there is. What
   * lies in a CD drive goes nowhere.
   */
  private static SequencedMap<String, Value> completed(
      Run run,
      Calls remote,
      String host,
      List<MovingDrive> drives,
      SequencedMap<String, Value> users)
      throws XenApiException, CliException, IOException {
    List<String> disks =
        drives.stream().filter(drive -> !drive.isCd()).map(MovingDrive::vdi).toList();
    List<String> open = disks.stream().filter(vdi -> !users.containsKey(vdi)).toList();
    SequencedMap<String, Value> places = new LinkedHashMap<>();
    Optional<String> named = run.arguments().get("destination-sr-uuid");
    if (named.isPresent()) {
      Value sr = Value.of(there(remote, "SR", named.get()));
      open.forEach(vdi -> places.put(vdi, sr));
    } else if (!open.isEmpty()) {
      places.putAll(best(run, remote, host, open));
    }
    places.putAll(users);
    SequencedMap<String, Value> all = new LinkedHashMap<>();
    for (String vdi : disks) {
      if (places.containsKey(vdi)) {
        all.put(vdi, places.get(vdi));
      }
    }
    users.forEach(all::putIfAbsent);
    drives.stream().filter(MovingDrive::isCd).map(MovingDrive::vdi).forEach(all::remove);
    return all;
  }

  /** The best SR for each of the disks. */
  private static SequencedMap<String, Value> best(
      Run run, Calls remote, String host, List<String> disks) throws XenApiException, IOException {
    SequencedMap<String, Map<String, Value>> vdis = new LinkedHashMap<>();
    long bytes = 0;
    for (String disk : disks) {
      Map<String, Value> vdi = run.calls().record("VDI", disk);
      vdis.put(disk, vdi);
      bytes += DestinationSrs.number(vdi, "virtual_size");
    }
    Map<String, String> formats = run.arguments().map("image-format");
    SequencedMap<String, Value> places = new LinkedHashMap<>();
    try {
      DestinationSrs srs = DestinationSrs.of(remote, host);
      for (Map.Entry<String, Map<String, Value>> vdi : vdis.entrySet()) {
        String asked = formats.get(Calls.field(vdi.getValue(), "uuid"));
        srs.choose(asked == null ? DestinationSrs.formatOf(vdi.getValue()) : asked, bytes)
            .ifPresent(sr -> places.put(vdi.getKey(), Value.of(sr)));
      }
    } catch (XenApiException | IllegalArgumentException e) {
      run.printer().say("The destination's SRs cannot be compared; only the given map is used.");
    }
    return places;
  }

  private static void announce(
      Run run, Calls remote, String host, String network, Map<String, Value> vdis)
      throws XenApiException, IOException {
    List<String> lines = new ArrayList<>();
    lines.add(
        "To host %s, over network %s. Disks go to these SRs:"
            .formatted(
                remote.of(host, "host.get_name_label"),
                remote.of(network, "network.get_name_label")));
    for (Map.Entry<String, Value> e : vdis.entrySet()) {
      lines.add(
          "VDI %s -> SR %s"
              .formatted(
                  run.calls().uuid("VDI", e.getKey()),
                  remote.uuid("SR", Calls.text(e.getValue()))));
    }
    for (String line : lines) {
      run.printer().say(line);
    }
  }
}
