package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A VM with filled disks and a network interface, and the ledger of its writes. */
record Traveller(
    TwoHosts hosts, String vm, String uuid, List<String> vdis, List<String> uuids, Path ledger) {

  Map<String, String> vdiMap(String sr) {
    Map<String, String> map = new LinkedHashMap<>();
    vdis.forEach(v -> map.put(v, sr));
    return map;
  }

  Map<String, String> vifMap() throws XenApiException {
    Map<String, String> map = new LinkedHashMap<>();
    for (String vif : TestServer.texts(hosts.source.call("VM.get_VIFs", vm))) {
      map.put(vif, hosts.destination.only("network"));
    }
    return map;
  }

  Object[] arguments(Value token, String sr, Map<String, String> options) throws XenApiException {
    return new Object[] {vm, token, true, vdiMap(sr), vifMap(), options};
  }

  Object[] arguments(String... options) throws XenApiException {
    return arguments(hosts.token(), hosts.to, TwoHosts.options(options));
  }

  /** It runs, at the source. */
  void start() throws XenApiException {
    hosts.source.call("VM.start", vm, false, false);
  }

  /** It ends at the source, the hard way. */
  void end() throws XenApiException {
    hosts.source.call("VM.hard_shutdown", vm);
  }

  String powerState() throws XenApiException {
    return hosts.source.text("VM.get_power_state", vm);
  }

  /** Asks whether it can move, with options by key and value. */
  void check(String... options) throws XenApiException {
    hosts.source.call("VM.assert_can_migrate", arguments(options));
  }

  /**
   * Moves it, with options by key and value.
   *
   * @return the VM at the destination
   */
  String move(String... options) throws XenApiException {
    return hosts.source.text("VM.migrate_send", arguments(options));
  }

  /** The same, which goes on in the task that is returned. */
  String moveAsync(String... options) throws XenApiException {
    return hosts.source.text("Async.VM.migrate_send", arguments(options));
  }

  /** Waits until its guest has written a good deal more, wherever it runs. */
  void awaitWrites() throws IOException {
    long written = Files.exists(ledger) ? Files.size(ledger) : 0;
    await().atMost(TwoHosts.LONG).until(() -> Files.size(ledger) > written + 64 * 50);
  }

  /** Ends it at the destination: nothing that its guest was told is written is lost. */
  Verdict endThere(String moved) throws Exception {
    List<Path> images = arrived(moved);
    hosts.destination.call("VM.hard_shutdown", moved);
    return assertNothingLost(images);
  }

  /** The same at the source, where it has ended. */
  Verdict assertNothingLostHere() throws Exception {
    List<Path> images = new ArrayList<>();
    for (String uuid : uuids) {
      images.add(hosts.image(uuid));
    }
    return assertNothingLost(images);
  }

  Verdict assertNothingLost(List<Path> images) throws Exception {
    Verdict verdict = Verifier.verify(ledger, images);
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
    return verdict;
  }

  /** Its disks as they are at the destination. */
  List<Path> arrived() throws Exception {
    return arrived(hosts.destination.text("VM.get_by_uuid", uuid));
  }

  List<Path> arrived(String moved) throws Exception {
    return TwoHosts.images(hosts.there, hosts.destination, moved);
  }

  /** Its disks as they are at the source after it has come back. */
  List<Path> returned() throws Exception {
    String vm = hosts.source.text("VM.get_by_uuid", uuid);
    return TwoHosts.images(hosts.here, hosts.source, vm);
  }
}
