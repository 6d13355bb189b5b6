package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.server.config.IscsiConfig;
import io.xenferry.server.config.ToolstackConfig;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The destination's SR fills up while disks arrive: a file system of its own, and small. */
class FullDestinationTest {
  private static final int MEBIBYTES = 12;

  /** To each disk: what fills up in one of them ends them all. */
  private static final int SESSIONS = 3;

  /** What the kernel allows root to do, on most machines. */
  static void mount(Path at) throws Exception {
    Process mount =
        new ProcessBuilder(
                "mount", "-t", "tmpfs", "-o", "size=" + MEBIBYTES + "m", "none", at.toString())
            .redirectErrorStream(true)
            .start();
    String words = new String(mount.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    Assumptions.assumeTrue(mount.waitFor() == 0, "no file system may be mounted here: " + words);
  }

  static void unmount(Path at) throws Exception {
    assertThat(new ProcessBuilder("umount", "--lazy", at.toString()).start().waitFor()).isZero();
  }

  static void fill(Path file) throws IOException {
    byte[] some = new byte[64 << 10];
    try (OutputStream out = Files.newOutputStream(file)) {
      while (true) {
        out.write(some);
      }
    } catch (IOException e) {
      assertThat(e).hasMessageContaining("No space left");
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = ToolstackConfig.Targets.class,
      names = {"EMBEDDED", "TGTD"})
  void aMoveIntoItEndsAsSrFullAndMayBeTriedAgain(ToolstackConfig.Targets targets) throws Exception {
    if (targets == ToolstackConfig.Targets.TGTD
        && !"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(Files.isExecutable(Path.of("/usr/sbin/tgtd")), "there is no tgtd");
    }
    Path small = Files.createTempDirectory("xenferry");
    mount(small);
    try (TwoHosts hosts =
        TwoHosts.start(config ->
            config.with(
                ToolstackConfig.defaults()
                    .withTargets(targets)
                    .withIscsi(new IscsiConfig(SESSIONS, true))))) {
      movesInto(hosts, small);
    } finally {
      unmount(small);
    }
  }

  private static void movesInto(TwoHosts hosts, Path small) throws Exception {
    String sr = hosts.destination.sr(small.resolve("sr"));
    Traveller t = hosts.traveller("filler", 1);
    t.start();
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    String task =
        hosts.source.text(
            "Async.VM.migrate_send",
            t.arguments(hosts.token(), sr, Map.of("bandwidth", Integer.toString(1 << 20))));
    hosts.awaitCopying(t);
    Path filler = small.resolve("filler");
    fill(filler);
    hosts.awaitStatus(task, "failure");
    List<String> error = TestServer.texts(hosts.source.call("task.get_error_info", task));
    assertThat(error).as("why the move ended: %s", hosts.movesOf(t)).hasSize(3);
    assertThat(error.getFirst()).isEqualTo("SR_FULL");
    assertThat(Long.parseLong(error.get(1))).isBetween(1L << 20, TwoHosts.SIZE);
    assertThat(Long.parseLong(error.get(2))).isLessThan(1L << 20);
    assertThat(t.powerState()).isEqualTo("Running");
    hosts.awaitNothingLeft(t, before);

    Files.delete(filler);
    Value token = hosts.token();
    String moved = hosts.source.text("VM.migrate_send", t.arguments(token, sr, Map.of()));
    String vbd = TestServer.texts(hosts.destination.call("VM.get_VBDs", moved)).getFirst();
    String vdi = hosts.destination.text("VBD.get_VDI", vbd);
    Path image =
        StorageTest.image(small.resolve("sr"), hosts.destination.text("VDI.get_uuid", vdi));
    hosts.destination.call("VM.hard_shutdown", moved);
    t.assertNothingLost(List.of(image));
  }
}
