package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** The server that VMs are to go to, while one is logged in there. */
final class Destination {
  /** What names it, and how to get in. */
  static final List<String> NEEDED = List.of("remote-master", "remote-username", "remote-password");

  /**
   * In the {@code other_config} of the pool that VMs go to: the uuid of the network they come by.
   */
  private static final String NETWORK = "xenferry:network";

  /**
   * API version and originator of the login at the destination, as the published command has them.
   */
  private static final String LOGIN_VERSION = "1.3";

  private static final Duration LOGOUT_PATIENCE = Duration.ofSeconds(2);

  private final Calls calls;
  private final String host;
  private final String network;

  private Destination(Calls calls, String host, String network) {
    this.calls = calls;
    this.host = host;
    this.network = network;
  }

  /** What is done there. */
  interface Visit {
    void at(Destination there) throws XenApiException, CliException, IOException;
  }

  static void requireNamed(Arguments a) throws CliException {
    for (String name : NEEDED) {
      if (!a.has(name)) {
        throw CliException.required(name);
      }
    }
  }

  /**
   * Logs in, and out again when all is done.
   *
   * @param host name of the parameter that chooses a host there
   */
  static void visit(Run run, String host, Visit visit)
      throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
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
        Calls calls = new Calls(remote, session);
        String chosen = host(calls, a.get(host));
        visit.at(new Destination(calls, chosen, network(calls, a.get("remote-network"), chosen)));
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

  private static String host(Calls calls, Optional<String> name)
      throws XenApiException, CliException {
    String query =
        name.isEmpty() ? "true" : Calls.anyEquals(name.get(), "hostname", "name__label", "uuid");
    SequencedMap<String, Map<String, Value>> hosts = calls.records("host", query);
    if (hosts.isEmpty()) {
      throw CliException.failed("No host '%s' at the destination".formatted(name.orElse("")));
    }
    return hosts.firstEntry().getKey();
  }

  /** The one that is named, else the pool's, else that of the host's management interface. */
  private static String network(Calls calls, Optional<String> named, String host)
      throws XenApiException, CliException {
    if (named.isPresent()) {
      return calls
          .first("network", named.get(), "bridge", "name__label", "uuid")
          .orElseThrow(() ->
              CliException.failed("No network '%s' at the destination".formatted(named.get())));
    }
    String uuid = chosenByPool(calls);
    if (!uuid.isEmpty()) {
      return calls
          .first("network", uuid, "uuid")
          .orElseThrow(() ->
              CliException.failed(
                  "The destination's pool has no network '%s', which its other-config:%s names"
                      .formatted(uuid, NETWORK)));
    }
    String query =
        "((field \"host\" = \"%s\") and (field \"management\" = \"true\"))".formatted(host);
    SequencedMap<String, Map<String, Value>> pifs = calls.records("PIF", query);
    if (pifs.isEmpty()) {
      throw CliException.failed("The destination host has no management interface");
    }
    return Calls.field(pifs.firstEntry().getValue(), "network");
  }

  /** The uuid of a network, or nothing; a server that cannot tell has chosen none. */
  private static String chosenByPool(Calls calls) {
    try {
      for (Map<String, Value> pool : calls.records("pool", "true").values()) {
        Value config = pool.getOrDefault("other_config", Value.Struct.of(Map.of()));
        return Calls.textMap(config).getOrDefault(NETWORK, "");
      }
    } catch (XenApiException e) {
      // As published servers, which do not know the key: by the management interface.
    }
    return "";
  }

  Calls calls() {
    return calls;
  }

  String uuid() throws XenApiException {
    return calls.uuid("host", host);
  }

  /** Room here for VMs that are to come together. */
  CommonRoom room() {
    return new CommonRoom(calls, host);
  }

  /** The right to send one VM here. */
  Value token(Value options) throws XenApiException {
    return calls.call("host.migrate_receive", Value.of(host), Value.of(network), options);
  }

  private String byUuid(String className, String uuid) throws XenApiException, CliException {
    try {
      return calls.byUuid(className, uuid);
    } catch (XenApiException e) {
      if (!e.code().equals("UUID_INVALID")) {
        throw e;
      }
      throw CliException.failed("No %s '%s' at the destination".formatted(className, uuid));
    }
  }

  /** With the objects here, which are named by uuid, by reference. */
  SequencedMap<String, Value> named(Map<String, String> uuids, String className)
      throws XenApiException, CliException {
    SequencedMap<String, Value> map = new LinkedHashMap<>();
    for (Map.Entry<String, String> e : uuids.entrySet()) {
      map.put(e.getKey(), Value.of(byUuid(className, e.getValue())));
    }
    return map;
  }

  /**
   * The user's map, and for the VMs' other disks the SR the user named or the best there is. What
   * lies in a CD drive goes nowhere.
   */
  SequencedMap<String, Value> places(
      Run run, List<MovingDrive> drives, SequencedMap<String, Value> users)
      throws XenApiException, CliException, IOException {
    List<String> disks =
        drives.stream().filter(drive -> !drive.isCd()).map(MovingDrive::vdi).toList();
    List<String> open = disks.stream().filter(vdi -> !users.containsKey(vdi)).toList();
    SequencedMap<String, Value> places = new LinkedHashMap<>();
    Optional<String> named = run.arguments().get("destination-sr-uuid");
    if (named.isPresent()) {
      Value sr = Value.of(byUuid("SR", named.get()));
      open.forEach(vdi -> places.put(vdi, sr));
    } else if (!open.isEmpty()) {
      places.putAll(best(run, open));
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
  private SequencedMap<String, Value> best(Run run, List<String> disks)
      throws XenApiException, IOException {
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
      DestinationSrs srs = DestinationSrs.of(calls, host);
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

  /** Tells where VMs go, and their disks. */
  void announce(Run run, Map<String, Value> vdis) throws XenApiException, IOException {
    List<String> lines = new ArrayList<>();
    lines.add(
        "To host %s, over network %s. Disks go to these SRs:"
            .formatted(
                calls.of(host, "host.get_name_label"),
                calls.of(network, "network.get_name_label")));
    for (Map.Entry<String, Value> e : vdis.entrySet()) {
      lines.add(
          "VDI %s -> SR %s"
              .formatted(
                  run.calls().uuid("VDI", e.getKey()), calls.uuid("SR", Calls.text(e.getValue()))));
    }
    for (String line : lines) {
      run.printer().say(line);
    }
  }
}
