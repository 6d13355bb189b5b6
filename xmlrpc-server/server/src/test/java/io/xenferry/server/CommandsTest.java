package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.xe.client.Xe;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Commands of xe from its client to what they do: nothing in between is a fake. */
class CommandsTest {
  private static TestServer server;
  private static TestServer.Calls root;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private record Result(String out, String err, int status) {}

  private static Result run(String input, String... words) throws IOException {
    List<String> args = new ArrayList<>(List.of(words));
    args.addAll(List.of("-s", "localhost", "--nossl", "-p", "" + server.httpPort()));
    args.addAll(List.of("-u", "root", "-pw", server.password));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int status =
        new Xe(Map.of(), new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)), out, err)
            .run(args);
    return new Result(
        out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8), status);
  }

  /** What a command prints that must not fail, without the line's end. */
  private static String xe(String... words) throws IOException {
    Result result = run("", words);
    assertThat(result.err()).as(String.join(" ", words)).isEmpty();
    assertThat(result.status()).as(String.join(" ", words)).isZero();
    return result.out().strip();
  }

  private static String refused(String... words) throws IOException {
    Result result = run("", words);
    assertThat(result.status()).as(String.join(" ", words)).isEqualTo(1);
    assertThat(result.out()).as(String.join(" ", words)).isEmpty();
    return result.err();
  }

  private static String sr(String name) throws IOException {
    return xe(
        "sr-create",
        "name-label=" + name,
        "type=file",
        "device-config:location=" + server.directory.resolve(name));
  }

  @Test
  void messagesAreMadeAndDismissed() throws Exception {
    String pool = xe("pool-list", "--minimal");
    xe("message-create", "name=FULL", "priority=4", "body=nearly", "pool-uuid=" + pool);
    String full = xe("message-list", "name=FULL", "--minimal");
    assertThat(xe("message-param-get", "uuid=" + full, "param-name=obj-uuid")).isEqualTo(pool);
    xe("message-create", "name=FULLER", "priority=4", "body=nearly", "pool-uuid=" + pool);
    assertThat(refused("message-create", "name=X", "priority=4", "body=")).contains("pool-uuid");
    assertThat(refused("message-destroy")).contains("uuid");
    xe("message-destroy", "uuids=" + full + "," + xe("message-list", "name=FULLER", "--minimal"));
    assertThat(xe("message-list", "priority=4", "--minimal")).isEmpty();
    xe("message-create", "name=OLD", "priority=4", "body=", "pool-uuid=" + pool);
    xe("message-destroy-all", "priority=4", "before=20200101T00:00:00Z");
    assertThat(xe("message-list", "name=OLD", "--minimal")).isNotEmpty();
    xe("message-destroy-all", "priority=4");
    assertThat(xe("message-list", "name=OLD", "--minimal")).isEmpty();
  }

  @Test
  void theServerTellsOfItself() throws Exception {
    assertThat(xe("diagnostic-gc-stats")).contains("live_words", "major_collections");
    xe("diagnostic-compact");
    assertThat(xe("diagnostic-db-stats")).contains("avgtime");
    assertThat(xe("diagnostic-net-stats", "method=GET", "uri=/blob", "params=method,uri"))
        .isEqualTo("GET /blob");
    String host = xe("host-list", "--minimal");
    assertThat(xe("host-get-thread-diagnostics", "uuid=" + host)).contains("RUNNABLE");
    xe("host-sync-data");
    xe("pool-sync-database");
    assertThat(xe("pool-certificate-list")).isEmpty();
    assertThat(xe("pool-crl-list")).isEmpty();
    Path dump = server.directory.resolve("dump.xml");
    xe("pool-dump-database", "file-name=" + dump);
    assertThat(dump).content().contains("<table name=\"pool\">").endsWith("</database>");
  }

  /** The group of the user that runs the tests is on every host. */
  @Test
  void subjectsAreAddedAndGivenRoles() throws Exception {
    String me = System.getProperty("user.name");
    assertThat(refused("subject-add", "subject-name=" + me)).isNotEmpty();
    xe("pool-enable-external-auth", "auth-type=PAM", "service-name=this host");
    String subject = xe("subject-add", "subject-name=" + me);
    assertThat(xe("subject-list", "--minimal")).isEqualTo(subject);
    xe("subject-role-add", "uuid=" + subject, "role-name=vm-operator");
    String role = xe("role-list", "name=read-only", "--minimal");
    xe("subject-role-add", "uuid=" + subject, "role-uuid=" + role);
    assertThat(xe("subject-param-get", "uuid=" + subject, "param-name=roles"))
        .contains("vm-operator", "read-only");
    xe("subject-role-remove", "uuid=" + subject, "role-uuid=" + role);
    assertThat(refused("subject-role-remove", "uuid=" + subject, "role-uuid=" + role)).isNotEmpty();
    assertThat(refused("subject-role-add", "uuid=" + subject, "role-name=king")).contains("king");
    assertThat(refused("subject-role-add", "uuid=" + subject)).contains("role-name");
    assertThat(xe("session-subject-identifier-list")).isEmpty();
    xe("session-subject-identifier-logout", "subject-identifier=nobody");
    xe("session-subject-identifier-logout-all");
    xe("subject-remove", "subject-uuid=" + subject);
    assertThat(xe("subject-list", "--minimal")).isEmpty();
    xe("pool-disable-external-auth");
  }

  @Test
  void storageIsMadePluggedScannedAndDestroyed() throws Exception {
    String host = xe("host-list", "--minimal");
    String sr = sr("commands");
    assertThat(xe("sr-list", "name-label=commands", "--minimal")).isEqualTo(sr);
    String pbd = xe("pbd-list", "sr-uuid=" + sr, "--minimal");
    xe("pbd-unplug", "uuid=" + pbd);
    assertThat(xe("pbd-param-get", "uuid=" + pbd, "param-name=currently-attached"))
        .isEqualTo("false");
    assertThat(refused("sr-scan", "uuid=" + sr)).isNotEmpty();
    xe("pbd-destroy", "uuid=" + pbd);
    Path location = server.directory.resolve("commands");
    pbd =
        xe(
            "pbd-create",
            "host-uuid=" + host,
            "sr-uuid=" + sr,
            "device-config:location=" + location);
    xe("pbd-plug", "uuid=" + pbd);
    assertThat(xe("pbd-list", "params=currently-attached", "uuid=" + pbd, "--minimal"))
        .isEqualTo("true");
    xe("sr-scan", "uuid=" + sr);

    String vdi = xe("vdi-create", "sr-uuid=" + sr, "name-label=d", "virtual-size=4MiB");
    xe("vdi-resize", "uuid=" + vdi, "disk-size=8MiB");
    assertThat(xe("vdi-param-get", "uuid=" + vdi, "param-name=virtual-size")).isEqualTo("8388608");
    assertThat(refused("vdi-resize", "uuid=" + vdi, "disk-size=1MiB")).contains("8388608");
    assertThat(refused("vdi-create", "sr-uuid=" + sr, "name-label=d", "virtual-size=-4"))
        .contains("'-4'");
    assertThat(refused("sr-destroy", "uuid=" + sr)).isNotEmpty();
    xe("vdi-destroy", "uuid=" + vdi);
    xe("sr-destroy", "uuid=" + sr);
    assertThat(xe("sr-list", "uuid=" + sr)).isEmpty();
    assertThat(refused("sr-create", "name-label=x", "type=file", "device-config:location=/none/x"))
        .contains("/none does not exist");
    assertThat(xe("sr-probe-ext", "type=file", "device-config:location=" + location))
        .contains("location", location.toString());
    assertThat(refused("sr-probe-ext", "type=unheard-of")).contains("unheard-of");
  }

  @Test
  void disksOfASnapshotAreListed() throws Exception {
    String vdi =
        xe("vdi-create", "sr-uuid=" + sr("snapshots"), "name-label=kept", "virtual-size=4MiB");
    String vm = xe("vm-create", "name-label=listed");
    xe("vbd-create", "vm-uuid=" + vm, "vdi-uuid=" + vdi, "device=0");
    String snapshot = xe("vm-snapshot", "uuid=" + vm, "new-name-label=then");
    assertThat(xe("snapshot-disk-list", "uuid=" + snapshot))
        .contains("Disk 0 VBD:", "Disk 0 VDI:", "kept", "4194304")
        .doesNotContain(vdi);
    assertThat(xe("snapshot-disk-list", "snapshot-uuid=" + snapshot, "vdi-params=name-label"))
        .doesNotContain("4194304");
    assertThat(refused("snapshot-disk-list", "uuid=" + vm)).contains("not a snapshot");
    assertThat(xe("diagnostic-vm-status", "uuid=" + vm))
        .contains("Disk 0 VDI:", vdi, xe("host-list", "params=name-label", "--minimal"), "OK");
  }

  @Test
  void vmsOfAnApplianceStartAndStopTogether() throws Exception {
    String appliance = xe("appliance-create", "name-label=shop", "name-description=two VMs");
    assertThat(xe("appliance-list", "name-label=shop", "--minimal")).isEqualTo(appliance);
    String first = xe("vm-create", "name-label=first");
    String second = xe("vm-create", "name-label=second");
    for (String vm : List.of(first, second)) {
      xe("vm-param-set", "uuid=" + vm, "appliance=" + appliance);
      assertThat(xe("vm-param-get", "uuid=" + vm, "param-name=appliance")).isEqualTo(appliance);
    }
    xe("appliance-start", "uuid=" + appliance, "paused=true");
    assertThat(xe("vm-param-get", "uuid=" + first, "param-name=power-state")).isEqualTo("paused");
    xe("appliance-shutdown", "uuid=" + appliance, "--force");
    assertThat(xe("vm-param-get", "uuid=" + second, "param-name=power-state")).isEqualTo("halted");
    assertThat(refused("appliance-shutdown", "uuid=" + appliance)).contains("clean_shutdown");
    xe("appliance-start", "uuid=" + appliance);
    xe("appliance-shutdown", "uuid=" + appliance);
    assertThat(xe("appliance-param-get", "uuid=" + appliance, "param-name=allowed-operations"))
        .isEqualTo("start");
    xe("vm-param-clear", "uuid=" + first, "param-name=appliance");
    assertThat(xe("appliance-param-get", "uuid=" + appliance, "param-name=VMs")).isEqualTo(second);
    xe("appliance-destroy", "uuid=" + appliance);
    assertThat(xe("vm-param-get", "uuid=" + second, "param-name=appliance"))
        .isEqualTo("<not in database>");
  }

  @Test
  void aDiskIsCopiedIntoAnother() throws Exception {
    String sr = sr("copied");
    String vdi = xe("vdi-create", "sr-uuid=" + sr, "name-label=from", "virtual-size=2MiB");
    String base = xe("vdi-create", "sr-uuid=" + sr, "name-label=base", "virtual-size=2MiB");
    String into = xe("vdi-create", "sr-uuid=" + sr, "name-label=into", "virtual-size=2MiB");
    Path directory = server.directory.resolve("copied");
    byte[] content = new byte[2 << 20];
    content[17] = 1;
    Files.write(StorageTest.image(directory, base), content);
    content[(1 << 20) + 17] = 2;
    Files.write(StorageTest.image(directory, vdi), content);
    String to = "into-vdi-uuid=" + into;

    assertThat(xe("vdi-copy", "uuid=" + vdi, to, "base-vdi-uuid=" + base)).isEqualTo(into);

    byte[] copied = Files.readAllBytes(StorageTest.image(directory, into));
    assertThat(copied[17]).as("the same as in the base").isZero();
    assertThat(copied[(1 << 20) + 17]).isEqualTo((byte) 2);
    assertThat(xe("vdi-copy", "uuid=" + vdi, to)).isEqualTo(into);
    assertThat(Files.readAllBytes(StorageTest.image(directory, into))).isEqualTo(content);
    String made = xe("vdi-copy", "uuid=" + vdi, "sr-uuid=" + sr);
    assertThat(Files.readAllBytes(StorageTest.image(directory, made))).isEqualTo(content);
    assertThat(refused("vdi-copy", "uuid=" + vdi)).contains("sr-uuid or into-vdi-uuid");
    assertThat(refused("vdi-copy", "uuid=" + vdi, to, "sr-uuid=" + sr)).contains("Give either");
  }

  @Test
  void aForgottenDiskComesBack() throws Exception {
    String sr = sr("introduced");
    String vdi = xe("vdi-create", "sr-uuid=" + sr, "name-label=d", "virtual-size=2MiB");
    String location = xe("vdi-param-get", "uuid=" + vdi, "param-name=location");
    xe("vdi-forget", "uuid=" + vdi);
    String back =
        xe(
            "vdi-introduce",
            "uuid=" + vdi,
            "sr-uuid=" + sr,
            "type=user",
            "location=" + location,
            "name-label=back",
            "other-config:k=v");
    assertThat(back).isEqualTo(vdi);
    assertThat(xe("vdi-param-get", "uuid=" + vdi, "param-name=name-label")).isEqualTo("back");
    assertThat(xe("vdi-param-get", "uuid=" + vdi, "param-name=virtual-size")).isEqualTo("2097152");
    assertThat(xe("vdi-param-get", "uuid=" + vdi, "param-name=other-config", "param-key=k"))
        .isEqualTo("v");
  }

  @Test
  void aVmIsToldOfItsMachine() throws Exception {
    String vm = xe("vm-create", "name-label=told");
    assertThat(xe("vm-is-bios-customized", "uuid=" + vm)).contains("not");
    root.call(
        "VM.set_bios_strings", root.text("VM.get_by_uuid", vm), Map.of("bios-vendor", "Yard"));
    assertThat(xe("vm-is-bios-customized", "uuid=" + vm)).doesNotContain("not");
    assertThat(
            refused(
                "vm-copy-bios-strings", "uuid=" + vm, "host-uuid=" + xe("host-list", "--minimal")))
        .isNotEmpty();
    assertThat(refused("vm-reset-powerstate", "uuid=" + vm)).contains("--force");
    xe("vm-reset-powerstate", "uuid=" + vm, "--force");
  }

  @Test
  void aHostIsTakenOutOfUseAndTellsOfItself() throws Exception {
    String host = xe("host-list", "--minimal");
    xe("host-disable", "uuid=" + host);
    assertThat(xe("host-param-get", "uuid=" + host, "param-name=enabled")).isEqualTo("false");
    xe("host-param-set", "uuid=" + host, "other-config:MAINTENANCE_MODE=true");
    xe("host-enable", "uuid=" + host);
    assertThat(xe("host-param-get", "uuid=" + host, "param-name=enabled")).isEqualTo("true");
    assertThat(xe("host-param-get", "uuid=" + host, "param-name=other-config"))
        .doesNotContain("MAINTENANCE_MODE");
    assertThat(xe("host-cpu-info")).contains("cpu_count");
    assertThat(xe("host-license-view", "host-uuid=" + host)).contains("restrict_pooling");
    assertThat(xe("host-is-in-emergency-mode")).isEqualTo("false");
    xe("host-apply-edition", "edition=free");
    assertThat(refused("host-apply-edition", "edition=gold")).contains("gold");
    xe("host-license-remove");
    assertThat(refused("host-call-plugin", "host-uuid=" + host, "plugin=none", "fn=x", "args:a=b"))
        .contains("none");
  }

  @Test
  void thePoolAnswersToItsCommands() throws Exception {
    String host = xe("host-list", "--minimal");
    xe("pool-sync-database");
    xe("pool-designate-new-master", "host-uuid=" + host);
    assertThat(xe("pool-recover-slaves")).isEmpty();
    xe("pool-apply-edition", "edition=free");
    xe("pool-disable-redo-log");
    for (String missing :
        List.of(
            "pool-ha-enable",
            "pool-ha-disable",
            "pool-retrieve-wlb-configuration",
            "pool-deconfigure-wlb",
            "pool-secret-rotate")) {
      assertThat(refused(missing)).as(missing).isNotEmpty().doesNotContain("not available");
    }
  }

  @Test
  void whatIsKeptWithThePoolIsMade() throws Exception {
    String secret = xe("secret-create", "value=hush");
    assertThat(xe("secret-param-get", "uuid=" + secret, "param-name=value")).isEqualTo("hush");
    String group = xe("vm-group-create", "name-label=apart", "placement=anti_affinity");
    assertThat(xe("vm-group-param-get", "uuid=" + group, "param-name=placement"))
        .isEqualTo("anti_affinity");
    String vm = xe("vm-create", "name-label=spoken of");
    xe("message-create", "name=note", "priority=3", "body=text", "vm-uuid=" + vm);
    String message = xe("message-list", "obj-uuid=" + vm, "--minimal");
    assertThat(xe("message-param-get", "uuid=" + message, "param-name=body")).isEqualTo("text");
    xe("message-destroy", "uuids=" + message);
    assertThat(xe("message-list", "obj-uuid=" + vm)).isEmpty();
    assertThat(refused("message-create", "name=n", "priority=3", "body=b")).contains("vm-uuid");
    assertThat(xe("vm-compute-maximum-memory", "uuid=" + vm, "total=1GiB")).isEqualTo("1073741824");
    xe("vm-param-set", "uuid=" + vm, "is-a-template=true");
    assertThat(refused("template-uninstall", "template-uuid=" + secret, "--force")).isNotEmpty();
    xe("template-uninstall", "template-uuid=" + vm, "--force");
    assertThat(xe("template-list", "uuid=" + vm)).isEmpty();
    assertThat(refused("user-password-change", "old=wrong", "new=")).isNotEmpty();
  }

  @Test
  void aScheduleIsMadeAndChanged() throws Exception {
    String schedule =
        xe(
            "vmss-create",
            "name-label=weekend",
            "type=snapshot",
            "frequency=weekly",
            "schedule:days=Saturday,Sunday",
            "schedule:hour=4");
    assertThat(xe("vmss-param-get", "uuid=" + schedule, "param-name=schedule", "param-key=days"))
        .isEqualTo("Saturday,Sunday");
    assertThat(xe("vmss-param-get", "uuid=" + schedule, "param-name=retained-snapshots"))
        .isEqualTo("7");
    xe("vmss-param-set", "uuid=" + schedule, "schedule:min=45", "enabled=false");
    assertThat(xe("vmss-param-get", "uuid=" + schedule, "param-name=schedule", "param-key=min"))
        .isEqualTo("45");
    assertThat(refused("vmss-param-set", "uuid=" + schedule, "schedule:min=7")).contains("7");
    assertThat(xe("vmss-param-get", "uuid=" + schedule, "param-name=schedule", "param-key=min"))
        .as("what is refused leaves what was there")
        .isEqualTo("45");
    assertThat(refused("vmss-create", "name-label=x", "type=image", "frequency=daily"))
        .contains("checkpoint");
    assertThat(
            refused(
                "vmss-create",
                "name-label=x",
                "type=snapshot",
                "frequency=daily",
                "retained-snapshots=some"))
        .contains("some");
    String vm = xe("vm-create", "name-label=weekly");
    xe("vm-param-set", "uuid=" + vm, "snapshot-schedule=" + schedule);
    assertThat(refused("vmss-destroy", "uuid=" + schedule)).isNotEmpty();
    xe("vm-param-clear", "uuid=" + vm, "param-name=snapshot-schedule");
    xe("vmss-destroy", "uuid=" + schedule);
    assertThat(xe("vmss-list", "--minimal")).isEmpty();
  }

  @Test
  void aVmGetsItsDevicesRunsAndGoes() throws Exception {
    String sr = sr("devices");
    String vdi = xe("vdi-create", "sr-uuid=" + sr, "name-label=d", "virtual-size=1MiB");
    String iso = xe("vdi-create", "sr-uuid=" + sr, "name-label=cd", "virtual-size=1MiB");
    String vm = xe("vm-create", "name-label=made");
    String vbd = xe("vbd-create", "vm-uuid=" + vm, "device=0", "vdi-uuid=" + vdi);
    String cd = xe("vbd-create", "vm-uuid=" + vm, "device=3", "type=CD", "mode=RO");
    xe("vbd-insert", "uuid=" + cd, "vdi-uuid=" + iso);
    assertThat(xe("vbd-list", "uuid=" + cd, "params=vdi-uuid", "--minimal")).isEqualTo(iso);
    xe("vbd-eject", "uuid=" + cd);
    assertThat(xe("vbd-list", "uuid=" + cd, "params=empty", "--minimal")).isEqualTo("true");
    xe("vbd-destroy", "uuid=" + cd);

    String network = xe("network-create", "name-label=first");
    String other = xe("network-create", "name-label=second");
    String vif = xe("vif-create", "vm-uuid=" + vm, "device=0", "network-uuid=" + network);
    xe("vif-move", "uuid=" + vif, "network-uuid=" + other);
    assertThat(xe("vif-list", "vm-uuid=" + vm, "params=network-uuid", "--minimal"))
        .isEqualTo(other);

    String vtpm = xe("vtpm-create", "vm-uuid=" + vm);
    assertThat(xe("vtpm-list", "vm-uuid=" + vm, "--minimal")).isEqualTo(vtpm);
    xe("vtpm-destroy", "uuid=" + vtpm, "--force");

    xe("vm-start", "uuid=" + vm);
    assertThat(xe("vm-list", "name-label=made", "params=power-state", "--minimal"))
        .isEqualTo("running");
    xe("event-wait", "class=vm", "uuid=" + vm, "power-state=running");
    assertThat(refused("vdi-destroy", "uuid=" + vdi)).contains("vdi: " + vdi + " (d)");
    assertThat(refused("vm-destroy", "uuid=" + vm)).contains("actual: running");
    for (String device : List.of("vbd", "vif")) {
      String it = "uuid=" + (device.equals("vbd") ? vbd : vif);
      assertThat(xe(device + "-list", it, "params=currently-attached", "--minimal"))
          .isEqualTo("true");
      xe(device + "-unplug", it);
      assertThat(xe(device + "-list", it, "params=currently-attached", "--minimal"))
          .isEqualTo("false");
      xe(device + "-plug", it);
      assertThat(xe(device + "-list", it, "params=currently-attached", "--minimal"))
          .isEqualTo("true");
    }
    xe("vm-shutdown", "uuid=" + vm, "--force");
    xe("vm-start", "uuid=" + vm);
    xe("vm-shutdown", "uuid=" + vm);
    xe("event-wait", "class=vm", "uuid=" + vm, "power-state=/=running");
    xe("vif-destroy", "uuid=" + vif);
    xe("vbd-destroy", "uuid=" + vbd);
    xe("vm-destroy", "uuid=" + vm);
    assertThat(xe("vm-list", "uuid=" + vm)).isEmpty();
    xe("vdi-destroy", "uuid=" + vdi);
    xe("vdi-destroy", "uuid=" + iso);
    xe("network-destroy", "uuid=" + network);
    xe("sr-destroy", "uuid=" + sr);
  }

  private static String isos(String name, String... files) throws IOException {
    Path directory = Files.createDirectory(server.directory.resolve(name));
    for (String file : files) {
      Files.write(directory.resolve(file), new byte[4096]);
    }
    return xe(
        "sr-create",
        "name-label=" + name,
        "type=iso",
        "device-config:location=" + directory,
        "device-config:legacy_mode=true");
  }

  @Test
  void cdsAreListedAddedInsertedEjectedAndRemoved() throws Exception {
    String isos = isos("isos", "one disc.iso", "two.ISO", "notes.txt");
    assertThat(xe("sr-param-get", "uuid=" + isos, "param-name=content-type")).isEqualTo("iso");
    String one = xe("vdi-list", "name-label=one disc.iso", "--minimal");
    String two = xe("vdi-list", "name-label=two.ISO", "--minimal");
    assertThat(xe("cd-list", "--minimal").split(",")).containsExactlyInAnyOrder(one, two);
    assertThat(xe("cd-list")).contains("( RO)", one, "name-label ( RW): two.ISO");
    assertThat(xe("cd-list", "params=location", "--minimal")).contains("one disc.iso");
    assertThat(refused("vdi-create", "sr-uuid=" + isos, "name-label=x", "virtual-size=1MiB"))
        .contains("VDI.create");
    assertThat(refused("vdi-destroy", "uuid=" + one)).contains("VDI.destroy");

    String vm = xe("vm-create", "name-label=with cds");
    String it = "uuid=" + vm;
    assertThat(refused("vm-cd-eject", it)).contains("0 CD drives that are not empty");
    assertThat(refused("vm-cd-add", it, "cd-name=notes.txt", "device=3")).contains("notes.txt");
    assertThat(xe("vm-cd-add", it, "cd-name=one disc.iso", "device=3")).isEmpty();
    assertThat(xe("vm-cd-list", it)).contains("CD 0 VBD:", "CD 0 VDI:", one);
    xe("vm-start", it);
    assertThat(xe("vbd-list", "vm-uuid=" + vm, "params=currently-attached", "--minimal"))
        .isEqualTo("true");
    assertThat(refused("vm-cd-insert", it, "cd-name=two.ISO")).contains("0 CD drives");
    xe("vm-cd-eject", it);
    assertThat(xe("vm-cd-list", it)).contains("empty").doesNotContain("CD 0 VDI:");
    xe("vm-cd-insert", it, "cd-name=two.ISO");
    assertThat(xe("vbd-list", "vm-uuid=" + vm, "params=vdi-uuid", "--minimal")).isEqualTo(two);
    String pbd = xe("pbd-list", "sr-uuid=" + isos, "--minimal");
    assertThat(refused("pbd-unplug", "uuid=" + pbd)).isNotEmpty();

    // A second drive of a running VM is there after its next reboot.
    assertThat(xe("vm-cd-add", it, "cd-name=one disc.iso", "device=2")).contains("vm-reboot");
    String second = xe("vbd-list", "vm-uuid=" + vm, "vdi-uuid=" + one, "--minimal");
    xe("vm-reboot", it, "--force");
    assertThat(xe("vbd-param-get", "uuid=" + second, "param-name=currently-attached"))
        .isEqualTo("true");
    assertThat(refused("vm-cd-remove", it, "cd-name=none.iso")).contains("none.iso");
    xe("vm-shutdown", it, "--force");
    xe("vm-cd-remove", it, "cd-name=one disc.iso");
    xe("vm-cd-remove", it, "cd-name=two.ISO");
    assertThat(xe("vbd-list", "vm-uuid=" + vm, "--minimal")).isEmpty();

    Files.delete(server.directory.resolve("isos").resolve("two.ISO"));
    xe("sr-scan", "uuid=" + isos);
    assertThat(xe("cd-list", "--minimal")).isEqualTo(one);
    xe("pbd-unplug", "uuid=" + pbd);
    xe("sr-forget", "uuid=" + isos);
    assertThat(xe("cd-list", "--minimal")).isEmpty();
    assertThat(server.directory.resolve("isos").resolve("one disc.iso")).exists();
    xe("vm-destroy", it);
  }

  @Test
  void aVmIsInstalledChangedAndUninstalledOnlyWithAYes() throws Exception {
    String sr = sr("install");
    String vm =
        xe(
            "vm-install",
            "new-name-label=installed",
            "template-name-label=Other install media",
            "sr-uuid=" + sr);
    xe("vm-param-set", "uuid=" + vm, "name-description=words", "other-config:a=b");
    assertThat(xe("vm-param-get", "uuid=" + vm, "param-name=name-description")).isEqualTo("words");
    xe("vm-param-add", "uuid=" + vm, "param-name=tags", "param-key=t");
    assertThat(xe("vm-list", "tags:contains=t", "--minimal")).isEqualTo(vm);
    xe("vm-param-remove", "uuid=" + vm, "param-name=tags", "param-key=t");
    xe("vm-param-clear", "uuid=" + vm, "param-name=other-config");
    assertThat(xe("vm-param-get", "uuid=" + vm, "param-name=other-config")).isEmpty();
    assertThat(run("no\n", "vm-uninstall", "uuid=" + vm).status()).isZero();
    assertThat(xe("vm-list", "uuid=" + vm, "--minimal")).isEqualTo(vm);
    assertThat(run("YES\n", "vm-uninstall", "uuid=" + vm).status()).isZero();
    assertThat(xe("vm-list", "uuid=" + vm)).isEmpty();
    assertThat(refused("sr-forget", "uuid=" + sr)).contains("sr: " + sr + " (install)");
    xe("pbd-unplug", "uuid=" + xe("pbd-list", "sr-uuid=" + sr, "--minimal"));
    xe("sr-forget", "uuid=" + sr);
    assertThat(xe("sr-list", "uuid=" + sr)).isEmpty();
  }

  @Test
  void tasksHostsPoolsAndHelp() throws Exception {
    String task = root.text("task.get_uuid", root.text("task.create", "mine", ""));
    assertThat(xe("task-list", "name-label=mine", "--minimal")).isEqualTo(task);
    xe("task-cancel", "uuid=" + task);
    assertThat(xe("task-list", "uuid=" + task, "params=status", "--minimal"))
        .isEqualTo("cancelled");
    assertThat(refused("task-cancel", "uuid=none")).contains("uuid: none");
    assertThat(xe("pool-list", "params=master", "--minimal"))
        .isEqualTo(xe("host-list", "--minimal"));
    assertThat(xe("migration-list")).isEmpty();
    assertThat(xe("role-list", "params=name", "--minimal").split(","))
        .contains("pool-admin", "read-only");
    assertThat(xe("role-list")).contains("description ( RO)");
    assertThat(xe("help")).contains("vm-migrate");
    assertThat(xe("help", "vm-migrate")).contains("remote-master", "destination-sr-uuid");
  }

  @Test
  void figuresAreListedAskedForgottenAndKept() throws Exception {
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> xe("host-data-source-list", "--minimal").contains("memory_total_kib"));
    assertThat(xe("host-data-source-list")).contains(": loadavg", "units: KiB");
    assertThat(Double.parseDouble(xe("host-data-source-query", "data-source=memory_total_kib")))
        .isPositive();
    xe("host-data-source-forget", "data-source=loadavg");
    assertThat(xe("host-data-source-list")).contains("enabled: false");
    xe("host-data-source-record", "data-source=loadavg");
    assertThat(xe("host-data-source-list")).doesNotContain("enabled: false");
    assertThat(refused("host-data-source-query", "data-source=none")).contains("none");
    String vm = xe("vm-create", "name-label=figures");
    xe("vm-start", "uuid=" + vm);
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> xe("vm-data-source-list", "uuid=" + vm, "--minimal").contains("memory"));
    assertThat(Double.parseDouble(xe("vm-data-source-query", "uuid=" + vm, "data-source=memory")))
        .isPositive();
    assertThat(xe("host-cpu-list", "params=number", "--minimal")).contains("0");
    xe("vm-shutdown", "uuid=" + vm, "--force");
    xe("vm-destroy", "uuid=" + vm);
  }
}
