package io.xenferry.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Layouts against captured output, and what is said and called. */
class CliSessionTest {
  private static final String WEB = "2b4d7f0a-5c7e-4f3c-9b1d-0a1b2c3d4e5f";
  private static final String DB = "9e107d9d-372b-4b6d-b5b5-3f0a4d5e6f70";

  private final Terminal terminal = new Terminal();
  private final FakeXenApi api = terminal.api;

  @BeforeEach
  void twoVms() {
    vm(WEB, "web,01", "Running");
    vm(DB, "db", "Halted");
  }

  private String vm(String uuid, String name, String power) {
    SequencedMap<String, String> params = new LinkedHashMap<>();
    params.put("weight", "256");
    params.put("cap", "0");
    return api.add(
        "VM",
        uuid,
        "name_label",
        name,
        "power_state",
        power,
        "is_a_template",
        false,
        "is_control_domain",
        false,
        "is_a_snapshot",
        false,
        "allowed_operations",
        List.of("start", "clone", "copy"),
        "VCPUs_params",
        params,
        "blocked_operations",
        Map.of(),
        "PV_args",
        "line1\nline2",
        "HVM_shadow_multiplier",
        1.0,
        "parent",
        Calls.NULL,
        "snapshots",
        List.of(),
        "VBDs",
        List.of(),
        "suspend_VDI",
        Calls.NULL,
        "other_config",
        Map.of("a", "1"),
        "tags",
        List.of("red", "blue"));
  }

  @Test
  void aListLooksAsCaptured() throws IOException {
    Terminal.Result result = terminal.xe("vm-list");
    assertThat(result.out())
        .isEqualTo(
            """
            uuid ( RO)           : 2b4d7f0a-5c7e-4f3c-9b1d-0a1b2c3d4e5f
                 name-label ( RW): web,01
                power-state ( RO): running


            uuid ( RO)           : 9e107d9d-372b-4b6d-b5b5-3f0a4d5e6f70
                 name-label ( RW): db
                power-state ( RO): halted


            """);
    assertThat(result.status()).isZero();
    assertThat(api.calls).contains("session.logout()");
  }

  @Test
  void fieldsAreShownAsTheyAreMeant() throws IOException {
    Terminal.Result result =
        terminal.xe(
            "vm-list",
            "params=PV-args,parent,VCPUs-params,allowed-operations,memory-target,uuid,HVM-shadow-multiplier,"
                + "blocked-operations,tags,start-time,nonsense",
            "name-label=db");
    assertThat(result.out())
        .contains(
            "(SRO): start; clone; copy\n",
            "VCPUs-params (MRW): weight: 256; cap: 0\n",
            "blocked-operations (MRW): \n",
            "PV-args ( RW): line1\nline2\n",
            "memory-target ( RO): <expensive field>\n",
            "HVM-shadow-multiplier ( RW): 1.000\n",
            "tags (SRW): red, blue\n",
            "<not in database>\n")
        .doesNotContain("nonsense")
        .startsWith("uuid ( RO) ");
  }

  @Test
  void minimalJoinsFirstFieldsAndEscapes() throws IOException {
    assertThat(terminal.xe("vm-list", "--minimal").out()).isEqualTo(WEB + "," + DB + "\n");
    assertThat(terminal.xe("vm-list", "--minimal", "params=name-label").out())
        .isEqualTo("web\\,01,db\n");
    assertThat(terminal.xe("vm-list", "--minimal", "name-label=x").out()).isEqualTo("\n");
    assertThat(terminal.xe("vm-list", "name-label=x").out()).isEmpty();
  }

  @Test
  void theLatestOfSeveralMinimalResultsComesFirst() throws IOException {
    java.io.ByteArrayOutputStream out = new java.io.ByteArrayOutputStream();
    ClientChannel client =
        new ClientChannel(
            java.io.InputStream.nullInputStream(), out, () -> {}, ClientChannel.Deadlines.DEFAULT);
    Printer printer = new Printer(client, true);
    printer.list(List.of("a,b\\c", "d"));
    printer.list(List.of("e"));
    printer.flush();
    assertThat(out.toString(java.nio.charset.StandardCharsets.UTF_8)).endsWith("e,a\\,b\\\\c,d");
  }

  @Test
  void anUnknownUuidIsASentenceAndItsParameters() throws IOException {
    Terminal.Result result = terminal.xe("vm-param-list", "uuid=nonsense");
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.err())
        .isEqualTo("No object of this type has this uuid.\ntype: VM\nuuid: nonsense\n");
  }

  @Test
  void commandLinesThatMakeNoSenseAreRefusedBeforeAnyLogin() throws IOException {
    assertThat(terminal.xe("no-such").err()).startsWith("Unknown command: no-such\n");
    assertThat(terminal.xe("vm-param-list").err())
        .startsWith("Required parameter not found: uuid\n");
    assertThat(terminal.xe("a=b").err()).startsWith("Syntax error: ");
    assertThat(terminal.xe("vm-list", "-x").err()).startsWith("Syntax error: ");
    assertThat(
            terminal
                .xe("pool-join", "master-address=a", "master-username=b", "master-password=c")
                .err())
        .isEqualTo("Error: The command 'pool-join' is not available on this server\n");
    assertThat(api.calls).isEmpty();
  }

  /** The value may be a secret: only the name is told. */
  @Test
  void anArgumentThatIsNotUtf8IsRefusedByName() throws IOException {
    byte[] body = "vm-list\nx=secret@\nusername=root".getBytes(StandardCharsets.US_ASCII);
    body["vm-list\nx=secret".length()] = (byte) 0xe9;
    Terminal.Result result = terminal.raw(body);
    assertThat(result.err()).contains("Invalid UTF-8 string in parameter", ": x\n");
    assertThat(result.err()).doesNotContain("secret");
    assertThat(result.status()).isEqualTo(1);
    assertThat(api.calls).isEmpty();
  }

  @Test
  void aWrongPasswordIsTold() throws IOException {
    Terminal.Result result = terminal.raw(List.of("vm-list", "username=root", "password=no"));
    assertThat(result.err()).startsWith("Authentication failed\n");
    assertThat(result.status()).isEqualTo(1);
  }

  @Test
  void theUnixSocketNeedsNoPasswordOfRoot() throws IOException {
    terminal.preAuthenticated = true;
    assertThat(terminal.raw(List.of("vm-list", "username=root", "password=null")).status())
        .isZero();
    assertThat(terminal.raw(List.of("vm-list", "username=eve", "password=null")).status())
        .isEqualTo(1);
  }

  @Test
  void aSessionThatIsHandedOverStaysOpen() throws IOException {
    Terminal.Result result =
        terminal.raw(
            List.of("session_id=" + FakeXenApi.SESSION, "vm-list", "username=x", "password=y"));
    assertThat(result.status()).isZero();
    assertThat(api.calls).noneMatch(c -> c.startsWith("session."));
  }

  @Test
  void aMemberSendsToTheCoordinator() throws IOException {
    terminal.coordinator = java.util.Optional.of("10.0.0.1");
    assertThat(terminal.xe("vm-list").err()).contains("Master IP address: 10.0.0.1\n");
  }

  @Test
  void parametersAreReadSetAddedRemovedAndCleared() throws IOException {
    assertThat(terminal.xe("vm-param-get", "uuid=" + DB, "param-name=name-label").out())
        .isEqualTo("db\n");
    assertThat(
            terminal
                .xe("vm-param-get", "uuid=" + DB, "param-name=VCPUs-params", "param-key=cap")
                .out())
        .isEqualTo("0\n");
    assertThat(terminal.xe("vm-param-get", "uuid=" + DB, "param-name=nope").err())
        .isEqualTo("Error code: Missing parameter\nError parameters: nope\n");
    assertThat(
            terminal
                .xe(
                    "vm-param-set",
                    "uuid=" + DB,
                    "name-label=new",
                    "is-a-template=true",
                    "other-config:a=2",
                    "other-config-b=3",
                    "memory-static-max=1GiB")
                .err())
        .isEmpty();
    terminal.xe("vm-param-add", "uuid=" + DB, "param-name=tags", "param-key=green");
    terminal.xe("vm-param-add", "uuid=" + DB, "param-name=other-config", "k=v");
    terminal.xe("vm-param-remove", "uuid=" + DB, "param-name=tags", "param-key=red");
    assertThat(
            terminal.xe("vm-param-remove", "uuid=" + DB, "param-name=tags", "param-key=x").status())
        .isEqualTo(1);
    terminal.xe("vm-param-clear", "uuid=" + DB, "param-name=PV-args");
    String vm = "OpaqueRef:VM-" + DB;
    assertThat(api.changes())
        .containsExactly(
            "VM.set_name_label(" + vm + ", new)",
            "VM.set_is_a_template(" + vm + ", true)",
            "VM.set_memory_static_max(" + vm + ", 1073741824)",
            "VM.remove_from_other_config(" + vm + ", a)",
            "VM.add_to_other_config(" + vm + ", a, 2)",
            "VM.add_to_other_config(" + vm + ", b, 3)",
            "VM.add_tags(" + vm + ", green)",
            "VM.add_to_other_config(" + vm + ", k, v)",
            "VM.remove_tags(" + vm + ", red)",
            "VM.set_PV_args(" + vm + ", )");
  }

  @Test
  void selectorsChooseAndMultipleIsAskedFor() throws IOException {
    assertThat(terminal.xe("vm-pause").err()).startsWith("Error: 2 VMs match");
    assertThat(terminal.xe("vm-pause", "vm=none").err())
        .isEqualTo("Error: No matching VMs found\n");
    assertThat(terminal.xe("vm-pause", "colour=red").err())
        .isEqualTo("Error: Unknown field 'colour'\n");
    assertThat(terminal.xe("vm-pause", "vm=db").status()).isZero();
    assertThat(terminal.xe("vm-pause", "power-state=running", "tags:contains=red").status())
        .isZero();
    assertThat(api.changes())
        .containsExactly("VM.pause(OpaqueRef:VM-" + DB + ")", "VM.pause(OpaqueRef:VM-" + WEB + ")");
    api.fail("VM.pause", "VM_BAD_POWER_STATE", "OpaqueRef:VM-" + DB, "running", "halted");
    Terminal.Result result = terminal.xe("vm-pause", "--multiple");
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.out())
        .contains(
            "operation failed on "
                + DB
                + ": The VM is not in the right power state for this.\n"
                + "vm: "
                + DB
                + " (db)\nexpected: running\nactual: halted\n");
  }

  @Test
  void aStartIsATaskThatIsAwaitedAndRemoved() throws IOException {
    api.add("task", "t", "status", "pending", "progress", 0.5, "error_info", List.of());
    api.answer("Async.VM.start", p -> Value.of("OpaqueRef:task-t"));
    api.answer(
        "event.from",
        p -> {
          api.add(
              "task",
              "t",
              "status",
              "failure",
              "progress",
              1.0,
              "error_info",
              List.of("SR_HAS_NO_PBDS", "sr1"));
          return Value.ofTexts(Map.of("token", "1"));
        });
    Terminal.Result result = terminal.xe("vm-start", "vm=db", "--progress");
    assertThat(result.err())
        .isEqualTo(
            "\r  50% - "
                + "#".repeat(35)
                + "\n"
                + "\r 100% | "
                + "#".repeat(70)
                + "\n"
                + "No host is connected to the SR.\nsr: sr1\n");
    assertThat(result.status()).isEqualTo(1);
    assertThat(api.changes()).contains("task.destroy(OpaqueRef:task-t)");
  }

  @Test
  void anUninstallAsksFirst() throws IOException {
    String vdi = api.add("VDI", "d", "name_label", "disk");
    api.add("VBD", "b", "VDI", vdi, "other_config", Map.of("owner", ""));
    api.add(
        "VM",
        "u",
        "name_label",
        "u",
        "power_state",
        "Running",
        "is_a_template",
        false,
        "is_control_domain",
        false,
        "snapshots",
        List.of(),
        "VBDs",
        List.of("OpaqueRef:VBD-b"),
        "suspend_VDI",
        Calls.NULL);
    terminal.type("no");
    Terminal.Result no = terminal.xe("vm-uninstall", "uuid=u");
    assertThat(no.status()).isZero();
    assertThat(no.out()).contains("VDI: d (disk)", "Aborted");
    assertThat(api.changes()).isEmpty();
    terminal.type(" YES ");
    terminal.xe("vm-uninstall", "uuid=u");
    assertThat(api.changes())
        .containsExactly(
            "VM.hard_shutdown(OpaqueRef:VM-u)",
            "VM.destroy(OpaqueRef:VM-u)",
            "VDI.destroy(OpaqueRef:VDI-d)");
  }

  @Test
  void anSrIsCreatedOnTheOnlyHostWithAFileOfTheClient() throws IOException {
    String host = api.add("host", "h");
    api.add("pool", "p", "master", host);
    String sr = api.add("SR", "s");
    api.answer("SR.create", p -> Value.of(sr));
    terminal.file("content");
    Terminal.Result result =
        terminal.xe(
            "sr-create",
            "name-label=n",
            "type=file",
            "device-config:location=/x",
            "device-config:key-filename=f",
            "physical-size=1KiB");
    assertThat(result.out()).endsWith("s\n");
    assertThat(api.changes())
        .containsExactly(
            "SR.create(" + host + ", location: /x; key: content, 1024, n, , file, , false, )");
  }

  @Test
  void disksAndDevicesAreMade() throws IOException {
    api.add("SR", "s");
    api.add("network", "n", "MTU", 1500);
    api.add("VDI", "d");
    api.answer("VDI.create", p -> Value.of("OpaqueRef:VDI-d"));
    api.add("VBD", "b");
    api.answer("VBD.create", p -> Value.of("OpaqueRef:VBD-b"));
    api.add("VIF", "v");
    api.answer("VIF.create", p -> Value.of("OpaqueRef:VIF-v"));
    assertThat(terminal.xe("vdi-create", "sr-uuid=s", "name-label=l", "virtual-size=4GiB").out())
        .isEqualTo("d\n");
    assertThat(
            terminal.xe("vbd-create", "vm-uuid=" + DB, "device=0", "vdi-uuid=d", "mode=rw").out())
        .isEqualTo("b\n");
    assertThat(
            terminal
                .xe("vif-create", "vm-uuid=" + DB, "device=0", "network-uuid=n", "mac=random")
                .out())
        .isEqualTo("v\n");
    assertThat(terminal.xe("vdi-resize", "uuid=d", "disk-size=5GiB", "online=true").status())
        .isZero();
    assertThat(terminal.xe("vdi-create", "sr-uuid=s", "name-label=l", "virtual-size=big").err())
        .startsWith("Error: Parameter 'virtual-size' takes a size");
    assertThat(api.changes().get(0)).contains("virtual_size: 4294967296", "type: user");
    assertThat(api.changes().get(1))
        .contains("mode: RW", "type: Disk", "empty: false", "userdevice: 0");
    assertThat(api.changes().get(2)).containsPattern("MAC: [0-9a-f][26ae]:");
    assertThat(api.changes().get(3)).isEqualTo("VDI.resize_online(OpaqueRef:VDI-d, 5368709120)");
  }

  @Test
  void migrationsInDoubtAreListedAndDecided() throws IOException {
    String both =
        "uuid ( RO)     : m1\n    state ( RO): COMMITTING\n\n\n"
            + "uuid ( RO)     : m2\n    state ( RO): GIVEN\n\n\n";
    assertThat(terminal.xe("migration-list", "params=uuid,state").out()).isEqualTo(both);
    assertThat(terminal.xe("migration-list", "uuid=m1").out())
        .contains("uuid ( RO)", ": m1\n", ": vm-m1\n", ": COMMITTING\n")
        .doesNotContain("m2", "outcome");
    assertThat(terminal.xe("migration-list", "params=all", "uuid=m1").out()).contains("outcome");
    assertThat(terminal.xe("migration-list", "state=given", "--minimal").out()).isEqualTo("m2\n");
    assertThat(terminal.xe("migration-list", "vm-uuid=vm-m2", "params=state", "--minimal").out())
        .isEqualTo("GIVEN\n");
    assertThat(terminal.xe("migration-list", "uuid=none").out()).isEmpty();
    assertThat(terminal.xe("migration-list", "colour=red").err()).contains("'colour'");
    assertThat(terminal.xe("migration-list", "uuid=m1", "--all", "--minimal").out())
        .isEqualTo("m1,m2\n");
    assertThat(terminal.xe("migration-param-list", "uuid=m1").err()).startsWith("Unknown command");
    assertThat(terminal.xe("help", "migration-list").out()).contains("vm-uuid", "state, phase");
    terminal.xe("migration-force-commit", "uuid=m1");
    terminal.xe("migration-force-resume", "uuid=m2");
    terminal.xe("migration-release", "uuid=m3");
    assertThat(terminal.xe("migration-release").status()).isNotZero();
    terminal.xe("migration-accept-restored-ledger");
    assertThat(terminal.forced).containsExactly("commit m1", "resume m2", "release m3", "accept");
  }

  @Test
  void aMoveUnderWayIsSteered() throws IOException {
    terminal.xe("migration-pause", "uuid=m1");
    terminal.xe("migration-resume", "uuid=m1");
    terminal.xe("migration-cut-over", "uuid=m1");
    terminal.xe("migration-param-set", "uuid=m1", "bandwidth=0", "cutover=hold");
    assertThat(terminal.xe("migration-param-set", "uuid=m1").err())
        .contains("bandwidth, disk-bandwidth, max-downtime, cutover, paused, strategy");
    assertThat(terminal.xe("migration-param-set", "uuid=m1", "bandwidth=0", "frob=1").err())
        .contains("Unknown parameter 'frob'", "uuid, bandwidth, disk-bandwidth, max-downtime");
    assertThat(terminal.xe("migration-param-set", "uuid=m1", "bandwidth=0", "bandwidth=1").err())
        .contains("'bandwidth' is given twice");
    assertThat(terminal.xe("migration-cancel", "uuid=m1", "force-commit=true").status())
        .isNotZero();
    terminal.xe("migration-cancel", "uuid=m1");
    assertThat(terminal.xe("migration-report", "uuid=m1").out())
        .isEqualTo("seconds              : 12.500\n    copying the disks: 10.000 s\n\n\n");
    assertThat(terminal.forced)
        .containsExactly(
            "steer m1 {paused=true}",
            "steer m1 {paused=false}",
            "steer m1 {cutover=now, paused=false}",
            "steer m1 {bandwidth=0, cutover=hold}",
            "cancel m1");
  }

  @Test
  void eventWaitEndsWhenTheWishIsGranted() throws IOException {
    int[] round = new int[1];
    api.answer(
        "event.from",
        p -> {
          String power = round[0]++ == 0 ? "Running" : "Halted";
          Value event =
              new Value.Struct(
                  new LinkedHashMap<>(
                      Map.of(
                          "ref",
                          Value.of("r"),
                          "snapshot",
                          Value.Struct.of(
                              Map.of("uuid", Value.of("u"), "power_state", Value.of(power))))));
          return Value.Struct.of(
              Map.of("token", Value.of("" + round[0]), "events", new Value.Array(List.of(event))));
        });
    assertThat(terminal.xe("event-wait", "class=vm", "uuid=u", "power-state=/=running").status())
        .isZero();
    assertThat(round[0]).isEqualTo(2);
    assertThat(terminal.xe("event-wait", "class=vm", "colour=red").status()).isEqualTo(1);
  }

  @Test
  void helpNeedsNoLogin() throws IOException {
    String out = terminal.xe("help").out();
    assertThat(out)
        .containsPattern(" vm-checkpoint,?\\s+vm-clone,?\\s")
        .doesNotContain("vm-create");
    assertThat(out.lines().mapToInt(String::length).max().orElse(0)).isLessThanOrEqualTo(80);
    assertThat(terminal.xe("help", "vm-clone").out())
        .startsWith(
            """
            command name            : vm-clone
                    reqd params     : new-name-label
                    optional params : new-name-description, <vm-selectors>
                    description     : \
            """);
    assertThat(terminal.xe("help", "nope").out()).startsWith("Unknown command 'nope'\n");
    Terminal.Result minimal = terminal.xe("help", "nope", "vm-clone", "--minimal");
    assertThat(minimal.out().strip()).isEqualTo("vm-clone");
    assertThat(minimal.err()).isEqualTo("Unknown command 'nope'\n");
    assertThat(minimal.status()).isZero();
    assertThat(terminal.xe("help", "vm-migrate").out())
        .contains("bandwidth is in bytes a second", "max-downtime in milliseconds");
    assertThat(terminal.xe("help", "--all").out()).contains("vm-migrate", "task-list");
    assertThat(api.calls).isEmpty();
  }

  @Test
  void everyRecordClassCanBeListedAndEveryFieldShown() throws IOException {
    for (RecordClass type : RecordClass.all()) {
      api.add(type.apiClass(), "x-" + type.name());
      assertThat(terminal.xe(type.name() + "-list", "params=all", "--all").err())
          .as(type.name())
          .isEmpty();
      if (type.listedOnly()) {
        continue;
      }
      assertThat(terminal.xe(type.name() + "-param-list", "uuid=x-" + type.name()).err())
          .as(type.name())
          .isEmpty();
    }
  }
}
