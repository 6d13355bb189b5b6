package io.xenferry.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The calls that host-evacuate makes on either side. */
class HostEvacuateTest {
  private final Terminal terminal = new Terminal();
  private final FakeXenApi here = terminal.api;
  private final FakeXenApi there = terminal.remote;
  private int tokens;
  private int begun;

  @BeforeEach
  void twoPools() {
    here.add("host", "h1", "name_label", "one", "enabled", true);
    vm("web", "OpaqueRef:host-h1");
    vm("db", "OpaqueRef:host-h1");
    vm("halted", Calls.NULL);
    here.answer(
        "Async.VM.migrate_send",
        p -> {
          String vm = Display.plain(p.get(1)).replace("OpaqueRef:VM-", "");
          begun++;
          return Value.of(here.add("task", vm, "status", "pending"));
        });
    String host = there.add("host", "h2", "name_label", "two", "hostname", "two.example");
    there.add("PIF", "p", "host", host, "management", true, "network", "OpaqueRef:network-n");
    there.add("network", "n", "name_label", "management");
    there.add("network", "fast", "name_label", "fast");
    String sr =
        there.add(
            "SR",
            "large",
            "shared",
            false,
            "content_type",
            "user",
            "physical_size",
            100,
            "physical_utilisation",
            5);
    there.add("PBD", "large", "host", host, "SR", sr, "currently_attached", true);
    there.answer(
        "host.migrate_receive", p -> Value.ofTexts(Map.of("session_id", "token" + ++tokens)));
  }

  private void vm(String name, String host) {
    vm(name, host, List.of(), List.of());
  }

  private void vm(String name, String host, List<String> vifs, List<String> snapshots) {
    here.add(
        "VM",
        name,
        "name_label",
        name,
        "is_a_template",
        false,
        "is_control_domain",
        false,
        "resident_on",
        host,
        "VBDs",
        List.of("OpaqueRef:VBD-" + name),
        "VIFs",
        vifs,
        "snapshots",
        snapshots);
    here.add("VBD", name, "empty", false, "VDI", "OpaqueRef:VDI-" + name);
    here.add("VDI", name, "virtual_size", 10);
  }

  private Terminal.Result evacuate(String... more) throws IOException {
    String[] all =
        java.util.stream.Stream.concat(
                java.util.stream.Stream.of(
                    "host-evacuate",
                    "remote-master=10.0.0.2",
                    "remote-username=root",
                    "remote-password=secret"),
                java.util.stream.Stream.of(more))
            .toArray(String[]::new);
    return terminal.xe(all);
  }

  /** All moves end at the next look, these with an error. */
  private void ends(List<String> failing) {
    here.answer(
        "event.from",
        p -> {
          for (String vm : List.of("web", "db")) {
            if (failing.contains(vm)) {
              here.add(
                  "task", vm, "status", "failure", "error_info", List.of("VM_MIGRATE_FAILED", vm));
            } else {
              here.add("task", vm, "status", "success");
            }
          }
          return Value.ofTexts(Map.of("token", "1"));
        });
  }

  @Test
  void interfacesGoToTheNetworkOfTheSameNameUnlessOneIsNamed() throws IOException {
    ends(List.of());
    here.add("network", "lan", "name_label", "fast");
    here.add("network", "odd", "name_label", "nowhere else");
    here.add("VIF", "same", "network", "OpaqueRef:network-lan");
    here.add("VIF", "snapped", "network", "OpaqueRef:network-lan");
    here.add("VIF", "odd", "network", "OpaqueRef:network-odd");
    here.add("VM", "web-1", "VIFs", List.of("OpaqueRef:VIF-snapped"));
    vm(
        "web",
        "OpaqueRef:host-h1",
        List.of("OpaqueRef:VIF-same", "OpaqueRef:VIF-odd"),
        List.of("OpaqueRef:VM-web-1"));
    evacuate();
    String fast = "OpaqueRef:VIF-same: OpaqueRef:network-fast";
    String snapped = "OpaqueRef:VIF-snapped: OpaqueRef:network-fast";
    assertThat(here.changes()).anyMatch(call -> call.contains(", " + fast + "; " + snapped + ", "));
    evacuate("vif:odd=n");
    assertThat(here.changes())
        .anyMatch(call -> call.contains(fast + "; OpaqueRef:VIF-odd: OpaqueRef:network-n; "));
    there.add("network", "fast2", "name_label", "fast");
    int before = here.changes().size();
    evacuate();
    assertThat(here.changes().subList(before, here.changes().size()))
        .noneMatch(call -> call.contains("OpaqueRef:VIF-same"));
  }

  private static Migrations.Obstacle obstacle(boolean blocks) {
    return new Migrations.Obstacle(
        blocks, "SR_FULL", List.of("20", "10"), "destination", "too small", "make room");
  }

  @Test
  void allThatRunHereGoEachWithATokenOfItsOwn() throws IOException {
    ends(List.of());
    Terminal.Result result = evacuate("strategy=mirror");
    assertThat(result.err()).isEmpty();
    assertThat(result.status()).isZero();
    assertThat(result.out())
        .contains("web (web): can move\n", "db (db): moved (", "moved (2 of 2)\n", "host-enable");
    assertThat(here.changes())
        .contains("host.disable(OpaqueRef:host-h1)", "task.destroy(OpaqueRef:task-web)")
        .anyMatch(call ->
            call.startsWith(
                    "Async.VM.migrate_send(OpaqueRef:VM-web, session_id: token3, true, "
                        + "OpaqueRef:VDI-web: OpaqueRef:SR-large, , ")
                && call.contains("strategy: mirror"))
        .anyMatch(call ->
            call.startsWith("Async.VM.migrate_send(OpaqueRef:VM-db, session_id: token4, true, "))
        .noneMatch(call -> call.contains("halted"));
  }

  @Test
  void whatFailsIsToldAndTheOthersGo() throws IOException {
    ends(List.of("web"));
    Terminal.Result result = evacuate();
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.err()).contains("web (web): not moved (", "1 of 2 VMs are still here");
    assertThat(result.out()).contains("db (db): moved (");
    assertThat(here.changes())
        .contains("task.destroy(OpaqueRef:task-web)", "task.destroy(OpaqueRef:task-db)");
  }

  @Test
  void nothingBeginsWhileOneCannotMove() throws IOException {
    terminal.obstacles.add(obstacle(true));
    terminal.obstructed = "OpaqueRef:VM-db";
    Terminal.Result result = evacuate();
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.out())
        .contains("web (web): can move\n", "db (db): cannot move\n", "make room");
    assertThat(result.err()).contains("1 of 2 VMs cannot move, and nothing has begun");
    assertThat(here.changes()).isEmpty();

    ends(List.of());
    Terminal.Result forced = evacuate("force=true");
    assertThat(forced.status()).isEqualTo(1);
    assertThat(forced.out()).contains("web (web): moved (1 of 1)\n");
    assertThat(forced.err()).contains("1 of 2 VMs are still here");
    assertThat(begun).isEqualTo(1);
    assertThat(here.changes())
        .as("what should stay for its processors stays")
        .noneMatch(call -> call.contains("force"));
  }

  /** Each of them alone would fit. */
  private void assertOnlyOneFits(String obstacle) throws IOException {
    Terminal.Result result = evacuate();
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.out())
        .contains("web (web): can move\n", "db (db): cannot move\n  " + obstacle, "force=true");
    assertThat(result.err()).contains("1 of 2 VMs cannot move, and nothing has begun");
    assertThat(here.changes()).isEmpty();

    ends(List.of());
    Terminal.Result forced = evacuate("force=true");
    assertThat(forced.out()).contains("web (web): moved (1 of 1)\n");
    assertThat(forced.err()).contains("1 of 2 VMs are still here");
    assertThat(begun).isEqualTo(1);
  }

  private static Migrations.Needs needs(long bytes, long brought) {
    return new Migrations.Needs(
        10,
        Map.of("OpaqueRef:SR-large", bytes),
        Map.of("OpaqueRef:SR-large", brought),
        Map.of("OpaqueRef:SR-large", Set.of("first")));
  }

  /** Sparse disks of more bytes than there are, each of which has room for all that it may take. */
  @Test
  void whatSparseDisksMayTakeSomeDayIsNotTakenFromOthers() throws IOException {
    memoryThere(64, 20);
    terminal.needs = needs(85, 10);
    assertThat(evacuate("dry-run=true").status()).isZero();
    terminal.needs = needs(86, 10);
    assertThat(evacuate("dry-run=true").status()).isEqualTo(1);
  }

  private void memoryThere(long total, long free) {
    there.add("host", "h2", "hostname", "two.example", "metrics", "OpaqueRef:host_metrics-m");
    there.add("host_metrics", "m", "memory_total", total);
    there.answer("host.compute_free_memory", p -> Value.of(free));
  }

  @Test
  void whatTogetherHasNoRoomInTheMemoryDoesNotBegin() throws IOException {
    memoryThere(64, 13);
    terminal.needs = needs(1, 1);
    assertOnlyOneFits("HOST_NOT_ENOUGH_FREE_MEMORY (destination): The VM has 10 bytes of memory");
  }

  @Test
  void whatTogetherHasNoRoomInAnSrDoesNotBegin() throws IOException {
    memoryThere(64, 20);
    terminal.needs = needs(48, 48);
    assertOnlyOneFits("SR_FULL (destination): 48 bytes would come to an SR");
  }

  /** What they bring is less than they occupy here, and only they themselves find out how much. */
  @Test
  void whatTheDestinationMayHaveCopiesOfGoes() throws IOException {
    memoryThere(64, 20);
    terminal.needs = needs(48, 48);
    String sr = "OpaqueRef:SR-large";
    there.add("VDI", "other", "SR", sr, "sm_config", Map.of("xenferry-lineage", "another"));
    there.add(
        "VDI",
        "elsewhere",
        "SR",
        "OpaqueRef:SR-small",
        "sm_config",
        Map.of("xenferry-lineage", "first"));
    assertThat(evacuate("dry-run=true").status()).isEqualTo(1);
    there.add("VDI", "older", "SR", sr, "sm_config", Map.of("xenferry-lineage", "first"));
    Terminal.Result result = evacuate("dry-run=true");
    assertThat(result.status()).isZero();
    assertThat(result.out())
        .contains(
            "db (db): can move\n  warning: target-sr-full (destination): 48 bytes would come");
    ends(List.of());
    assertThat(evacuate().err()).isEmpty();
    assertThat(begun).isEqualTo(2);
  }

  /** To the byte; and where the destination does not tell how much there is. */
  @Test
  void whatTogetherHasRoomGoes() throws IOException {
    memoryThere(64, 20);
    terminal.needs = needs(47, 47);
    assertThat(evacuate("dry-run=true").status()).isZero();
    memoryThere(0, 0);
    assertThat(evacuate("dry-run=true").status()).isZero();
    there.fail("host.compute_free_memory", "MESSAGE_METHOD_UNKNOWN", "host.compute_free_memory");
    assertThat(evacuate("dry-run=true").status()).isZero();
  }

  @Test
  void aDryRunOnlyLooks() throws IOException {
    terminal.obstacles.add(obstacle(false));
    Terminal.Result result = evacuate("dry-run=true");
    assertThat(result.status()).isZero();
    assertThat(result.out()).contains("web (web): can move\n  warning: SR_FULL");
    assertThat(here.changes()).isEmpty();
    terminal.obstacles.add(obstacle(true));
    assertThat(evacuate("dry-run=true").status()).isEqualTo(1);
    assertThat(here.changes()).isEmpty();
  }

  @Test
  void theDestinationsPoolChoosesTheNetworkUnlessItIsNamed() throws IOException {
    there.add("pool", "q", "other_config", Map.of("xenferry:network", "fast"));
    ends(List.of());
    evacuate();
    assertThat(there.changes())
        .allMatch(call ->
            call.startsWith("host.migrate_receive(OpaqueRef:host-h2, OpaqueRef:network-fast, "));
    evacuate("remote-network=management");
    assertThat(there.changes().getLast()).contains("OpaqueRef:network-n");
    there.add("pool", "q", "other_config", Map.of("xenferry:network", "gone"));
    Terminal.Result result = evacuate();
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.err()).contains("The destination's pool has no network 'gone'");
  }

  @Test
  void withoutAnotherServerThePoolIsAsked() throws IOException {
    Terminal.Result result = terminal.xe("host-evacuate", "host=one", "batch-size=2");
    assertThat(result.err()).isEmpty();
    assertThat(here.changes())
        .containsExactly("host.evacuate(OpaqueRef:host-h1, OpaqueRef:NULL, 2)");
    assertThat(terminal.xe("host-evacuate", "remote-master=10.0.0.2").err())
        .contains("remote-username");
  }

  @Test
  void aBatchOfFewerThanNoneIsRefused() throws IOException {
    for (String size : List.of("-1", "many")) {
      Terminal.Result refused = terminal.xe("host-evacuate", "host=one", "batch-size=" + size);
      assertThat(refused.status()).isEqualTo(1);
      assertThat(refused.err()).contains("batch-size", size);
    }
    assertThat(here.changes()).isEmpty();
  }

  /** The options are those of vm-migrate. */
  @Test
  void allGoWhenTheyAreToAndOnWhatIsThere() throws IOException {
    ends(List.of());
    assertThat(evacuate("cutover=hold", "base=auto").err()).isEmpty();
    assertThat(here.changes())
        .filteredOn(call -> call.startsWith("Async.VM.migrate_send("))
        .hasSize(2)
        .allMatch(call -> call.contains("cutover: hold") && call.contains("base: auto"));
  }

  @Test
  void anEmptyHostNeedsNoDestination() throws IOException {
    vm("web", Calls.NULL);
    vm("db", Calls.NULL);
    Terminal.Result result = evacuate();
    assertThat(result.status()).isZero();
    assertThat(result.out()).contains("No VM runs on this host.");
    assertThat(terminal.connected).isEmpty();
  }
}
