package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/**
 * A guest goes on with the machine that it was started with, there and back, whatever is set
 * meanwhile; the next start is by what is set then.
 */
class MachineOptionsMoveTest extends BetweenHosts {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static JsonNode machine(TestServer server, String uuid) throws Exception {
    Path spec = server.directory.resolve("guests").resolve(uuid).resolve("spec.json");
    return JSON.readTree(spec.toFile()).path("machine");
  }

  private static String options(TestServer server, String uuid) throws Exception {
    return machine(server, uuid).path("options").asText();
  }

  private static Map<String, String> map(TestServer.Calls host, String getter, String vm)
      throws XenApiException {
    Map<String, String> map = new LinkedHashMap<>();
    ((Value.Struct) host.call(getter, vm))
        .members()
        .forEach((key, value) -> map.put(key, TestServer.text(value)));
    return map;
  }

  private static void set(TestServer.Calls host, String vm, String key, String value)
      throws XenApiException {
    host.call("VM.remove_from_platform", vm, key);
    host.call("VM.add_to_platform", vm, key, value);
  }

  /** Without the keys by which the simulated guest works, and those of this server. */
  private static void forget(TestServer.Calls host, String vm) throws XenApiException {
    Map<String, String> kept = new LinkedHashMap<>(map(host, "VM.get_platform", vm));
    kept.keySet().removeIf(key -> !key.startsWith("xenferry:") || key.endsWith("serial-ports"));
    kept.put("vga", "std");
    host.call("VM.set_platform", vm, kept);
  }

  private static Traveller unusual(String name) throws Exception {
    Traveller t = hosts.traveller(name, 1);
    set(source, t.vm(), "vga", "cirrus");
    set(source, t.vm(), "hpet", "false");
    set(source, t.vm(), "nic_type", "e1000");
    set(source, t.vm(), "xenferry:serial-ports", "2");
    t.start();
    t.awaitWrites();
    assertThat(options(hosts.here, t.uuid())).isEqualTo("hpet=off,nic_type=e1000,vga=cirrus");
    return t;
  }

  @Test
  void aRunningOneKeepsItsMachineThereAndBack() throws Exception {
    Traveller t = unusual("unusual");
    forget(source, t.vm());
    set(source, t.vm(), "videoram", "many");
    String there = t.move();

    assertThat(options(hosts.there, t.uuid())).isEqualTo("hpet=off,nic_type=e1000,vga=cirrus");
    assertThat(machine(hosts.there, t.uuid()).path("serialPorts").asInt()).isEqualTo(2);
    assertThat(map(destination, "VM.get_platform", there)).containsEntry("vga", "std");
    assertThat(map(destination, "VM.get_other_config", there).keySet())
        .noneMatch(key -> key.startsWith("xenferry:migration"));

    String back = destination.text("VM.migrate_send", hosts.argumentsBack(there));
    assertThat(options(hosts.here, t.uuid())).isEqualTo("hpet=off,nic_type=e1000,vga=cirrus");

    // Which would end a machine and not make another.
    assertInvalid("videoram", "many", () -> source.call("VM.hard_reboot", back));
    assertThat(source.text("VM.get_power_state", back)).isEqualTo("Running");
    set(source, back, "videoram", "32");
    source.call("VM.hard_reboot", back);
    assertThat(options(hosts.here, t.uuid())).isEqualTo("videoram=32");
    source.call("VM.hard_shutdown", back);
  }

  @Test
  void aSuspendedOneKeepsIt() throws Exception {
    Traveller t = unusual("asleep");
    source.call("VM.set_suspend_SR", t.vm(), from);
    source.call("VM.suspend", t.vm());
    String image = source.text("VDI.get_uuid", source.text("VM.get_suspend_VDI", t.vm()));
    assertThat(magic(hosts.image(image))).as("which older servers leave alone").endsWith("2");
    forget(source, t.vm());
    set(source, t.vm(), "videoram", "many");
    String there = t.move();

    destination.call("VM.resume", there, false, false);
    assertThat(options(hosts.there, t.uuid())).isEqualTo("hpet=off,nic_type=e1000,vga=cirrus");
    destination.call("VM.hard_shutdown", there);
    assertInvalid("videoram", "many", () -> destination.call("VM.start", there, false, false));
    set(destination, there, "videoram", "");
    destination.call("VM.start", there, false, false);
    assertThat(options(hosts.there, t.uuid())).isEmpty();
    destination.call("VM.hard_shutdown", there);
  }

  @Test
  void theUsualOneIsKnownToOlderServersToo() throws Exception {
    Traveller t = hosts.traveller("usual", 1);
    source.call("VM.set_suspend_SR", t.vm(), from);
    t.start();
    source.call("VM.suspend", t.vm());
    String image = source.text("VDI.get_uuid", source.text("VM.get_suspend_VDI", t.vm()));
    assertThat(magic(hosts.image(image))).isEqualTo("XFSUSP01");
    set(source, t.vm(), "vga", "cirrus");
    source.call("VM.resume", t.vm(), false, false);
    assertThat(options(hosts.here, t.uuid())).isEmpty();
    t.end();
  }

  @Test
  void oneThatBootsThereIsMadeByWhatIsSet() throws Exception {
    Traveller t = unusual("warm");
    set(source, t.vm(), "vga", "voodoo");
    assertInvalid("vga", "voodoo", () -> t.move("mode", "warm"));
    assertThat(t.powerState()).as("it was not shut down for that").isEqualTo("Running");
    set(source, t.vm(), "vga", "std");
    set(source, t.vm(), "timeoffset", "soon");
    assertInvalid("timeoffset", "soon", () -> t.move("mode", "warm"));
    set(source, t.vm(), "timeoffset", "0");
    set(source, t.vm(), "cores-per-socket", "none");
    assertInvalid("cores-per-socket", "none", () -> t.move("mode", "warm"));
    set(source, t.vm(), "cores-per-socket", "1");
    assertThat(t.powerState()).isEqualTo("Running");
    String there = t.move("mode", "warm");
    assertThat(options(hosts.there, t.uuid())).isEqualTo("hpet=off,nic_type=e1000");
    destination.call("VM.hard_shutdown", there);
  }

  @Test
  void whoeverDemandsSecureBootDoesNotGetLess() throws Exception {
    String vm = source.vm("secure", Map.of("secureboot", "true"));
    source.call("VM.set_HVM_boot_policy", vm, "BIOS order");
    source.call("VM.set_HVM_boot_params", vm, Map.of("firmware", "uefi"));
    assertInvalid("secureboot", "true", () -> source.call("VM.start", vm, false, false));
    // BIOS has none, and nobody takes it for more.
    source.call("VM.set_HVM_boot_params", vm, Map.of("firmware", "bios"));
    source.call("VM.start", vm, false, false);
    source.call("VM.hard_shutdown", vm);
    source.call("VM.destroy", vm);
  }

  private static void assertInvalid(String key, String value, Wire call) {
    assertThatThrownBy(call::run)
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> {
              assertThat(e.code()).isEqualTo("INVALID_VALUE");
              assertThat(e.params()).containsExactly("platform:" + key, value);
            });
  }

  @FunctionalInterface
  private interface Wire {
    void run() throws Exception;
  }

  private static String magic(Path image) throws Exception {
    byte[] magic = new byte[8];
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "r")) {
      file.readFully(magic);
    }
    return new String(magic, StandardCharsets.US_ASCII);
  }
}
