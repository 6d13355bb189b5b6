package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** VMs that stay at the source after a move, for a time that was given. */
class KeptVmsTest {
  private static final long SIZE = 1 << 20;
  private static final String UNTIL = "xenferry:keep-until";

  private TwoHosts hosts;
  private TestServer.Calls source;
  private TestServer.Calls destination;

  @BeforeEach
  void start() throws Exception {
    hosts = TwoHosts.startDurable();
    source = hosts.source;
    destination = hosts.destination;
  }

  @AfterEach
  void stop() throws Exception {
    hosts.close();
  }

  /** A server looks for what has had its time when it starts, and every few minutes. */
  private void restart() throws Exception {
    hosts.restartSource();
    source = hosts.source;
  }

  private record Kept(String vm, String vdi) {}

  private Kept keep(String howLong) throws Exception {
    String vm = source.vm("kept", Map.of());
    String vdi = source.vdi(hosts.from, "disk", SIZE);
    source.vbd(vm, vdi, 0);
    String appliance =
        source.text("VM_appliance.create", Map.of("name_label", "a", "name_description", ""));
    source.call("VM.set_appliance", vm, appliance);
    Map<String, String> options = Map.of("keep-source", howLong);
    source.call(
        "VM.migrate_send", vm, hosts.token(), true, Map.of(vdi, hosts.to), Map.of(), options);
    assertThat(TestServer.texts(source.call("VM_appliance.get_VMs", appliance)))
        .as("nobody is to start the VM that is kept")
        .isEmpty();
    return new Kept(vm, vdi);
  }

  private void keepUntil(Kept kept, Instant time) throws Exception {
    source.call("VM.remove_from_other_config", kept.vm(), UNTIL);
    source.call("VM.add_to_other_config", kept.vm(), UNTIL, time.toString());
  }

  @Test
  void goesWithItsDisksWhenItsTimeHasPassed() throws Exception {
    Instant before = Instant.now();
    Kept kept = keep("12h");
    Value config = source.call("VM.get_other_config", kept.vm());
    Value until = ((Value.Struct) config).members().get(UNTIL);
    assertThat(Instant.parse(((Value.Text) until).text()))
        .isBetween(before.plus(Duration.ofHours(11)), before.plus(Duration.ofHours(13)));
    String clone = source.text("VM.clone", kept.vm(), "clone");
    restart();
    assertThat(source.all("VM")).contains(kept.vm(), clone);

    keepUntil(kept, Instant.now().minusSeconds(1));
    source.call("VM.remove_from_other_config", clone, UNTIL);
    source.call("VM.add_to_other_config", clone, UNTIL, "2001-01-01T00:00:00Z");
    Path image =
        StorageTest.image(
            hosts.here.directory.resolve("sr"), source.text("VDI.get_uuid", kept.vdi()));
    assertThat(image).exists();
    restart();
    assertThat(source.all("VM")).doesNotContain(kept.vm()).contains(clone);
    assertThat(source.all("VDI")).doesNotContain(kept.vdi()).hasSize(1);
    assertThat(image).doesNotExist();
  }

  @Test
  void staysForWhomeverItIsNotToGo() throws Exception {
    Kept used = keep("1d");
    Kept forgotten = keep("1d");
    Kept unreadable = keep("1d");
    keepUntil(used, Instant.now().minusSeconds(1));
    source.call("VM.remove_from_blocked_operations", used.vm(), "start");
    source.call("VM.remove_from_other_config", forgotten.vm(), UNTIL);
    source.call("VM.remove_from_other_config", unreadable.vm(), UNTIL);
    source.call("VM.add_to_other_config", unreadable.vm(), UNTIL, "yesterday");
    restart();
    assertThat(source.all("VM")).contains(used.vm(), forgotten.vm(), unreadable.vm());
    assertThat(source.all("VDI")).contains(used.vdi(), forgotten.vdi(), unreadable.vdi());
  }

  /** Nothing that the VM takes along leaves its uuid behind, so that it may return. */
  @Test
  void isNotInTheWayOfTheVmThatComesBack() throws Exception {
    String vm = source.vm("traveller", Map.of());
    String first = source.text("VM.snapshot", vm, "first", List.of());
    String second = source.text("VM.snapshot", vm, "second", List.of());
    List<String> uuids = new ArrayList<>();
    for (String each : List.of(vm, first, second)) {
      uuids.add(source.text("VM.get_uuid", each));
    }

    send(source, destination, vm, Map.of("keep-source", "1h"));

    await().until(() -> !source.text("VM.get_uuid", vm).equals(uuids.getFirst()));
    for (String each : List.of(first, second)) {
      assertThat(source.text("VM.get_uuid", each)).isNotIn(uuids);
      assertThat(source.text("VM.get_snapshot_of", each)).isEqualTo(vm);
    }
    assertThat(source.text("VM.get_parent", vm)).isEqualTo(second);
    assertThat(source.text("VM.get_parent", second)).isEqualTo(first);
    assertThat(TestServer.texts(source.call("VM.get_children", first))).containsExactly(second);

    String there = destination.text("VM.get_by_uuid", uuids.getFirst());
    send(destination, source, there, Map.of());

    String back = source.text("VM.get_by_uuid", uuids.getFirst());
    assertThat(TestServer.texts(source.call("VM.get_snapshots", back)))
        .containsExactlyInAnyOrder(
            source.text("VM.get_by_uuid", uuids.get(1)),
            source.text("VM.get_by_uuid", uuids.get(2)))
        .doesNotContain(first, second);
    keepUntil(new Kept(vm, ""), Instant.now().minusSeconds(1));
    restart();
    assertThat(source.all("VM")).doesNotContain(vm, first, second).contains(back);
    for (String uuid : uuids) {
      assertThat(source.text("VM.get_by_uuid", uuid)).isNotEmpty();
    }
  }

  private static void send(
      TestServer.Calls from, TestServer.Calls to, String vm, Map<String, String> options)
      throws Exception {
    from.call("VM.migrate_send", vm, to.token(), true, Map.of(), Map.of(), options);
  }

  @Test
  void isToldForHowLong() {
    for (String nonsense : List.of("soon", "0d", "-1h", "1.5d", "100000d", "7", "")) {
      assertThat(assertCode("INVALID_VALUE", () -> keep(nonsense)).params())
          .containsExactly(
              "keep-source",
              (nonsense.isEmpty() ? "''" : nonsense)
                  + " (allowed: true, false, or hours or days to keep it, as 12h or 7d)");
    }
  }
}
