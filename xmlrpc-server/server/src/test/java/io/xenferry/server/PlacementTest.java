package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Where VMs can run, in a pool of one host. */
class PlacementTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static String host;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    host = root.only("host");
    sr = root.sr(server.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static List<String> possible(String vm) throws Exception {
    return TestServer.texts(root.call("VM.get_possible_hosts", vm));
  }

  @Test
  void whatStandsAgainstAStartIsSaid() throws Exception {
    String vm = root.vm("placed", Map.of());
    root.vbd(vm, root.vdi(sr, "disk", 1 << 20), 0);
    root.call("VM.assert_can_boot_here", vm, host);
    assertThat(possible(vm)).containsExactly(host);
    root.call("host.disable", host);
    assertThat(
            assertCode("HOST_DISABLED", () -> root.call("VM.assert_can_boot_here", vm, host))
                .params())
        .containsExactly(host);
    assertThat(possible(vm)).isEmpty();
    root.call("host.enable", host);
    String pbd = TestServer.texts(root.call("SR.get_PBDs", sr)).getFirst();
    root.call("PBD.unplug", pbd);
    assertThat(
            assertCode("VM_REQUIRES_SR", () -> root.call("VM.assert_can_boot_here", vm, host))
                .params())
        .containsExactly(vm, sr);
    root.call("PBD.plug", pbd);
    long all = Long.parseLong(root.text("host.compute_free_memory", host));
    root.call("VM.set_memory_static_max", vm, all + 1);
    assertThat(
            assertCode(
                    "HOST_NOT_ENOUGH_FREE_MEMORY",
                    () -> root.call("VM.assert_can_boot_here", vm, host))
                .params())
        .containsExactly(Long.toString(all + 1), Long.toString(all));
    assertCode("HANDLE_INVALID", () -> root.call("VM.assert_can_boot_here", vm, "nonsense"));
    assertCode("HANDLE_INVALID", () -> root.call("VM.get_possible_hosts", "nonsense"));
  }

  @Test
  void vmsThatRunCannotLeave() throws Exception {
    String vm = root.vm("stays", Map.of());
    root.call("host.assert_can_evacuate", host);
    root.call("host.evacuate", host);
    assertThat(root.call("host.get_vms_which_prevent_evacuation", host))
        .isEqualTo(TestServer.value(Map.of()));
    root.call("VM.start", vm, false, false);
    assertThat(root.call("host.get_vms_which_prevent_evacuation", host))
        .isEqualTo(TestServer.value(Map.of(vm, List.of("NO_HOSTS_AVAILABLE", vm))));
    assertThat(
            assertCode("CANNOT_EVACUATE_HOST", () -> root.call("host.assert_can_evacuate", host))
                .params())
        .containsExactly("NO_HOSTS_AVAILABLE," + vm);
    assertCode("NO_HOSTS_AVAILABLE", () -> root.call("host.evacuate", host));
    assertThat(possible(vm)).containsExactly(host);
    root.call("VM.hard_shutdown", vm);
    root.call("host.evacuate", host);
  }

  @Test
  void anSrTellsItsHosts() throws Exception {
    String other = root.sr(server.directory.resolve("other"));
    assertThat(root.call("SR.get_live_hosts", other)).isEqualTo(TestServer.value(List.of(host)));
    root.call("PBD.unplug", TestServer.texts(root.call("SR.get_PBDs", other)).getFirst());
    assertThat(root.call("SR.get_live_hosts", other)).isEqualTo(Value.EMPTY_ARRAY);
  }
}
