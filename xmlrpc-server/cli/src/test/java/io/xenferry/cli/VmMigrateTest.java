package io.xenferry.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The calls that vm-migrate makes on either side. */
class VmMigrateTest {
  private static final String[] REMOTE = {
    "vm-migrate",
    "vm=web",
    "remote-master=10.0.0.2:8443",
    "remote-username=root",
    "remote-password=secret"
  };

  private final Terminal terminal = new Terminal();
  private final FakeXenApi here = terminal.api;
  private final FakeXenApi there = terminal.remote;

  @BeforeEach
  void twoPools() {
    here.add("host", "h1", "name_label", "one");
    here.add(
        "VM",
        "v",
        "name_label",
        "web",
        "is_a_template",
        false,
        "is_control_domain",
        false,
        "VBDs",
        List.of("OpaqueRef:VBD-b1", "OpaqueRef:VBD-b2", "OpaqueRef:VBD-cd"));
    here.add("VBD", "b1", "empty", false, "VDI", "OpaqueRef:VDI-d1");
    here.add("VBD", "b2", "empty", false, "VDI", "OpaqueRef:VDI-d2");
    here.add("VBD", "cd", "empty", true, "VDI", Calls.NULL);
    here.add("VDI", "d1");
    here.add("VDI", "d2");
    here.add("VIF", "i");
    here.answer("VM.migrate_send", p -> Value.of("OpaqueRef:VM-new"));
    String host = there.add("host", "h2", "name_label", "two", "hostname", "two.example");
    there.add("PIF", "p", "host", host, "management", true, "network", "OpaqueRef:network-n");
    there.add("network", "n", "name_label", "management");
    there.add("VM", "new");
    for (String sr : List.of("small", "large", "iso", "unseen")) {
      String ref =
          there.add(
              "SR",
              sr,
              "shared",
              false,
              "content_type",
              sr.equals("iso") ? "iso" : "user",
              "physical_size",
              sr.equals("small") ? 10 : 100,
              "physical_utilisation",
              5);
      there.add("PBD", sr, "host", host, "SR", ref, "currently_attached", !sr.equals("unseen"));
    }
    there.answer("host.migrate_receive", p -> Value.ofTexts(Map.of("session_id", "token")));
  }

  private static String[] with(String... more) {
    String[] all = java.util.Arrays.copyOf(REMOTE, REMOTE.length + more.length);
    System.arraycopy(more, 0, all, REMOTE.length, more.length);
    return all;
  }

  @Test
  void disksWithoutAPlaceGoToTheLargestSr() throws IOException {
    there.fingerprint = Optional.of("abcd");
    Terminal.Result result =
        terminal.xe(
            with("vdi:d1=small", "vif:i=n", "live=true", "strategy=mirror", "max-downtime=300"));
    assertThat(result.err())
        .isEqualTo(
            "First contact with 10.0.0.2:8443: its certificate is trusted from now on, SHA-256 abcd\n");
    assertThat(result.status()).isZero();
    assertThat(result.out())
        .contains(
            "VDI d1 -> SR small\nVDI d2 -> SR large\n", "To host two, over network management");
    assertThat(terminal.connected).containsExactly("10.0.0.2:8443");
    assertThat(there.changes())
        .containsExactly(
            "host.migrate_receive(OpaqueRef:host-h2, OpaqueRef:network-n, "
                + "force: false; live: true; copy: false; strategy: mirror; max-downtime: 300)");
    assertThat(here.changes())
        .containsExactly(
            "VM.migrate_send(OpaqueRef:VM-v, session_id: token, true, "
                + "OpaqueRef:VDI-d1: OpaqueRef:SR-small; OpaqueRef:VDI-d2: OpaqueRef:SR-large, "
                + "OpaqueRef:VIF-i: OpaqueRef:network-n, "
                + "force: false; live: true; copy: false; strategy: mirror; max-downtime: 300, , )");
    assertThat(there.calls).contains("session.logout()");
    assertThat(there.closed).isTrue();
  }

  /** Another SR, seen by the host, as large as the large one. */
  private String sr(String name, int used, String format, boolean shared) {
    String sr =
        there.add(
            "SR",
            name,
            "name_label",
            name,
            "shared",
            shared,
            "content_type",
            "user",
            "physical_size",
            100,
            "physical_utilisation",
            used);
    there.add(
        "PBD",
        name,
        "host",
        "OpaqueRef:host-h2",
        "SR",
        sr,
        "currently_attached",
        true,
        "device_config",
        format.isEmpty() ? Map.of() : Map.of("image-format", format));
    return sr;
  }

  private String places() throws IOException {
    String out = terminal.xe(with("dry-run=true")).out();
    return out.replaceAll("(?s).*?VDI d1 -> SR (\\w+)\nVDI d2 -> SR (\\w+)\n.*", "$1 $2");
  }

  @Test
  void whatIsFreeJustNowDoesNotDecide() throws IOException {
    here.add("VDI", "d2", "sm_config", Map.of("image-format", "qcow2"), "virtual_size", 20);
    sr("alike", 4, "", false);
    sr("layers", 30, "qcow2", false);
    // "large" has no name here, which comes before any.
    assertThat(places()).as("the disk's format, then the name").isEqualTo("large layers");
    sr("layers", 81, "qcow2", false);
    assertThat(places()).as("where it fits").isEqualTo("large large");
    sr("alike", 4, "", true);
    assertThat(places()).as("shared before local").isEqualTo("alike alike");
    there.add("pool", "q", "default_SR", "OpaqueRef:SR-small");
    assertThat(places()).as("the default SR only if it fits").isEqualTo("alike alike");
    there.add("pool", "q", "default_SR", "OpaqueRef:SR-layers");
    sr("layers", 80, "qcow2", false);
    assertThat(places()).as("the default SR before all others").isEqualTo("layers layers");
  }

  @Test
  void anImageFormatThatIsAskedForChoosesToo() throws IOException {
    sr("layers", 30, "qcow2", false);
    assertThat(terminal.xe(with("image-format:d1=qcow2")).out())
        .contains("VDI d1 -> SR layers\nVDI d2 -> SR large\n");
  }

  /** Not as if it moved: it does not. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "Running | live=true        | the guest is asked to give it back; it stays here, and the"
            + " drive is empty there.",
        "Halted  | live=true        | it stays here, and the drive is empty there.",
        "Halted  | copy=true        | stays in it; that of the copy is empty.",
        "Running | keep-source=7d   | the guest is asked to give it back; it stays here, and the"
            + " drive is empty there; the VM that is kept has it in its drive.",
        "Running | vdi:c=large      | the guest is asked to give it back; it stays here, and the"
            + " drive is empty there."
      })
  void whatBecomesOfACdIsTold(String state, String option, String fate) throws IOException {
    here.add(
        "VM",
        "v",
        "name_label",
        "web",
        "power_state",
        state,
        "is_a_template",
        false,
        "is_control_domain",
        false,
        "VBDs",
        List.of("OpaqueRef:VBD-b1", "OpaqueRef:VBD-full"));
    here.add(
        "VBD", "full", "empty", false, "type", "CD", "userdevice", "3", "VDI", "OpaqueRef:VDI-c");
    here.add("VDI", "c", "name_label", "tools.iso");
    Terminal.Result result = terminal.xe(with(option));
    assertThat(result.err()).isEmpty();
    assertThat(result.out())
        .contains("VDI d1 -> SR large\nCD c (tools.iso) in drive 3: " + fate + "\n")
        .doesNotContain("VDI c ->");
    assertThat(here.changes().getFirst()).doesNotContain("VDI-c");
  }

  @Test
  void withinOneServerACdStaysInItsDrive() throws IOException {
    here.add("host", "h2");
    here.add(
        "VBD", "b2", "empty", false, "type", "CD", "userdevice", "3", "VDI", "OpaqueRef:VDI-c");
    here.add("VDI", "c", "name_label", "tools.iso");
    assertThat(terminal.xe(REMOTE).out()).contains("CD c (tools.iso) in drive 3: stays in it.\n");
  }

  /** A token is good for one move. */
  @Test
  void ofSeveralVmsEachHasATokenAndAPlaceForItsDisks() throws IOException {
    AtomicInteger tokens = new AtomicInteger();
    there.answer(
        "host.migrate_receive",
        p -> Value.ofTexts(Map.of("session_id", "token" + tokens.incrementAndGet())));
    here.add(
        "VM",
        "v2",
        "name_label",
        "web",
        "is_a_template",
        false,
        "is_control_domain",
        false,
        "VBDs",
        List.of("OpaqueRef:VBD-b3"));
    here.add("VBD", "b3", "empty", false, "VDI", "OpaqueRef:VDI-d3");
    here.add("VDI", "d3");
    assertThat(terminal.xe(with("--multiple")).out())
        .contains("VDI d1 -> SR large\n", "VDI d3 -> SR large\n");
    assertThat(here.changes()).hasSize(2);
    assertThat(here.changes().getFirst())
        .startsWith("VM.migrate_send(OpaqueRef:VM-v, session_id: token1,");
    assertThat(here.changes().getLast())
        .startsWith("VM.migrate_send(OpaqueRef:VM-v2, session_id: token2,");
  }

  @Test
  void aDestinationSrIsForWhatTheMapLeavesOpen() throws IOException {
    assertThat(terminal.xe(with("vdi:d1=large", "destination-sr-uuid=small")).out())
        .contains("VDI d1 -> SR large\nVDI d2 -> SR small\n");
  }

  /** Every option of the published command, and the server's own, where the call has it. */
  @Test
  void everyOptionGoesWhereItBelongs() throws IOException {
    here.add("VGPU", "g");
    there.add("GPU_group", "gg");
    there.add("network", "fast", "name_label", "fast", "bridge", "xenbr7");
    there.add("host", "h3", "name_label", "three", "hostname", "three.example");
    assertThat(
            terminal
                .xe(
                    with(
                        "host-name=three.example",
                        "remote-network=xenbr7",
                        "vdi:d1=large",
                        "vdi:d2=small",
                        "vif:i=fast",
                        "vgpu:g=gg",
                        "image-format:d1=raw",
                        "compress=true",
                        "force=true",
                        "live=true",
                        "strategy=log-dirty",
                        "bandwidth=1000000",
                        "keep-source=true",
                        "verify=true"))
                .err())
        .isEmpty();
    String options =
        "compress: true; force: true; live: true; copy: false; strategy: log-dirty;"
            + " bandwidth: 1000000; keep-source: true; verify: true";
    assertThat(there.changes())
        .containsExactly(
            "host.migrate_receive(OpaqueRef:host-h3, OpaqueRef:network-fast, " + options + ")");
    assertThat(here.changes())
        .containsExactly(
            "VM.migrate_send(OpaqueRef:VM-v, session_id: token, true, "
                + "OpaqueRef:VDI-d1: OpaqueRef:SR-large; OpaqueRef:VDI-d2: OpaqueRef:SR-small, "
                + "OpaqueRef:VIF-i: OpaqueRef:network-fast, "
                + options
                + ", OpaqueRef:VGPU-g: OpaqueRef:GPU_group-gg, OpaqueRef:VDI-d1: raw)");
  }

  @Test
  void whatTheDestinationDoesNotHaveIsNamed() throws IOException {
    assertThat(terminal.xe(with("host-uuid=none")).err()).contains("'none'");
    assertThat(terminal.xe(with("remote-network=none")).err()).contains("'none'");
    assertThat(terminal.xe(with("vdi:none=small")).status()).isEqualTo(1);
    assertThat(terminal.xe(with("vdi:d1=none")).err()).contains("No SR 'none' at the destination");
    assertThat(terminal.xe(with("destination-sr-uuid=none")).err())
        .contains("No SR 'none' at the destination");
    assertThat(terminal.xe(with("vif:i=none")).err())
        .contains("No network 'none' at the destination");
    assertThat(terminal.xe(with("colour=red")).err()).contains("'colour'");
    assertThat(here.changes()).isEmpty();
    assertThat(there.changes()).isEmpty();
  }

  /** The first login would tell the other server already, and leave a session there. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "strategy=sometimes              | strategy",
        "strategy=auto strategy=mirror   | 'strategy' is given twice, with different values",
        "host-uuid=h2 host-name=two      | 'host' is given twice, with different values",
        "vdi:d1=small vdi:d1=large       | 'vdi:d1' is given twice",
        "strateg=mirror                  | Unknown field 'strateg'",
        "dry-run=maybe                   | 'dry-run' takes true or false, not 'maybe'",
        "copy=                           | 'copy' takes true or false, not ''",
        "live=perhaps                    | 'live' takes true or false, not 'perhaps'",
        "vdi=d1                          | 'vdi' takes pairs: vdi:UUID=VALUE",
        "vif:i=                          | 'vif:i' has no value",
        "vdi:none=small                  | none",
        "image-format:none=raw           | none",
      })
  void whatMakesNoSenseIsRefusedBeforeTheDestinationIsTouched(String words, String complaint)
      throws IOException {
    Terminal.Result result = terminal.xe(with(words.split(" ")));
    assertThat(result.err()).contains(complaint);
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.out()).isEmpty();
    assertThat(terminal.connected).isEmpty();
  }

  @Test
  void aValueThatNoMoveCanHaveIsNamedWithWhatIsAllowed() throws IOException {
    for (String[] words :
        List.of(with("strategy=sometimes"), words("host=one", "strategy=sometimes"))) {
      assertThat(terminal.xe(words).err())
          .endsWith("\nfield: strategy\nvalue: sometimes (allowed: always)\n");
    }
    assertThat(here.changes()).isEmpty();
  }

  private static String[] words(String... more) {
    return Stream.concat(Stream.of("vm-migrate", "vm=web"), Stream.of(more)).toArray(String[]::new);
  }

  /** As it may be where a client has defaults of its own. */
  @Test
  void whatIsSaidTwiceAlikeIsNoContradiction() throws IOException {
    assertThat(terminal.xe(with("live=true", "live=true", "username=root")).status()).isZero();
  }

  @Test
  void severalVmsAreFoundBeforeTheDestinationIsTouched() throws IOException {
    here.add("VM", "v2", "name_label", "web", "is_a_template", false, "is_control_domain", false);
    assertThat(terminal.xe(REMOTE).err()).contains("2 VMs match");
    assertThat(terminal.xe(with("name-label=other")).err()).contains("No matching VMs found");
    assertThat(terminal.connected).isEmpty();
  }

  @Test
  void aCopyPrintsTheNewUuidAndAFingerprintIsHandedOn() throws IOException {
    assertThat(terminal.xe(with("copy=true", "remote-fingerprint=aa:bb", "--minimal")).out())
        .isEqualTo("new\n");
    assertThat(terminal.connected).containsExactly("10.0.0.2:8443 aa:bb");
  }

  @Test
  void credentialsAreNeededAndTheSessionEndsWhenItFails() throws IOException {
    assertThat(terminal.xe("vm-migrate", "vm=web", "vdi:d1=small").err())
        .startsWith("Required parameter not found: remote-master\n");
    here.fail("VM.migrate_send", "VM_MIGRATE_FAILED", "OpaqueRef:VM-v", "a", "b", "why");
    Terminal.Result result = terminal.xe(REMOTE);
    assertThat(result.status()).isEqualTo(1);
    assertThat(result.err())
        .isEqualTo("The migration failed.\nvm: v (web)\nsource: a\ndestination: b\nmsg: why\n");
    assertThat(there.calls).contains("session.logout()");
  }

  @Test
  void insideThePoolItIsOneCall() throws IOException {
    assertThat(terminal.xe("vm-migrate", "vm=web").err())
        .isEqualTo("Error: No destination host specified\n");
    assertThat(terminal.xe("vm-migrate", "vm=web", "host=one", "copy=true").err())
        .contains("'copy'");
    assertThat(terminal.xe("vm-migrate", "vm=web", "host=one", "--live").status()).isZero();
    assertThat(here.changes())
        .containsExactly(
            "VM.pool_migrate(OpaqueRef:VM-v, OpaqueRef:host-h1, force: false; live: true; copy: false)");
  }

  @Test
  void aDryRunMovesNothingAndTellsEveryObstacle() throws IOException {
    Terminal.Result clear = terminal.xe(with("dry-run=true", "vif:i=n"));
    assertThat(clear.out()).endsWith("Nothing stands against the move.\n");
    assertThat(clear.status()).isZero();
    assertThat(terminal.asked)
        .containsExactly(
            "Move[vm=OpaqueRef:VM-v, dest={session_id=token}, vdis={OpaqueRef:VDI-d1="
                + "OpaqueRef:SR-large, OpaqueRef:VDI-d2=OpaqueRef:SR-large}, vifs={OpaqueRef:VIF-i="
                + "OpaqueRef:network-n}, options={force=false, live=false, copy=false},"
                + " formats={}]");
    terminal.obstacles.add(
        new Migrations.Obstacle(
            false, "clocks-differ", List.of("60"), "source", "They differ.", "Set them."));
    Terminal.Result warned = terminal.xe(with("dry-run=true"));
    assertThat(warned.out())
        .endsWith(
            "warning: clocks-differ (source): They differ.\n    remedy: Set them.\n"
                + "Nothing stands against the move.\n");
    assertThat(warned.status()).isZero();
    terminal.obstacles.clear();
    terminal.obstacles.add(
        new Migrations.Obstacle(
            true, "VDI_NOT_IN_MAP", List.of("OpaqueRef:VDI-d1"), "source", "No SR.", "Name one."));
    terminal.obstacles.add(
        new Migrations.Obstacle(
            true, "SR_FULL", List.of("2", "1"), "destination", "2 do not fit in 1.", "Make room."));
    Terminal.Result refused = terminal.xe(with("dry-run=true"));
    assertThat(refused.status()).isEqualTo(1);
    assertThat(refused.err()).isEmpty();
    assertThat(refused.out())
        .endsWith(
            "VDI_NOT_IN_MAP (source): No SR.\n    vdi: d1 ()\n    remedy: Name one.\n"
                + "SR_FULL (destination): 2 do not fit in 1.\n    requested: 2\n    maximum: 1\n"
                + "    remedy: Make room.\n");
    assertThat(terminal.xe(with("dry-run=true", "--minimal")).out())
        .isEqualTo("VDI_NOT_IN_MAP,SR_FULL\n");
    assertThat(here.changes()).isEmpty();
  }

  @Test
  void aDryRunInsideThePoolMovesNothingEither() throws IOException {
    assertThat(terminal.xe("vm-migrate", "vm=web", "host=one", "dry-run=true").status()).isZero();
    assertThat(terminal.asked)
        .containsExactly(
            "OpaqueRef:VM-v to OpaqueRef:host-h1 {force=false, live=false, copy=false}");
    assertThat(here.changes()).isEmpty();
  }

  @Test
  void aDestinationThatDoesNotAnswerAnyMoreHoldsNobodyUp() throws Exception {
    CountDownLatch over = new CountDownLatch(1);
    there.answer(
        "session.logout",
        p -> {
          try {
            over.await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          return Value.VOID;
        });
    try {
      assertThat(terminal.xe(REMOTE).status()).isZero();
    } finally {
      over.countDown();
    }
  }
}
