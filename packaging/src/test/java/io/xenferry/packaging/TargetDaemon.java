package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import org.junit.jupiter.api.Assumptions;

/** The tgtd that a site's server has started, if it has one. */
final class TargetDaemon {
  private TargetDaemon() {}

  private static Path note(Site site) {
    return site.stateDirectory().resolve("tgtd").resolve("tgtd.properties");
  }

  private static String noted(Path note, String key) throws IOException {
    Properties properties = new Properties();
    try (var in = Files.newInputStream(note)) {
      properties.load(in);
    }
    return properties.getProperty(key, "");
  }

  /** Kills it, and waits until its watchdog has brought it back. */
  static void kill(Site site) throws Exception {
    Path note = note(site);
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(Files.exists(note), "tgtd is not installed");
    }
    assertThat(note).as("the site's own tgtd").exists();
    long pid = Long.parseLong(noted(note, "pid"));
    ProcessHandle daemon = ProcessHandle.of(pid).orElseThrow();
    assertThat(daemon.info().command().orElse("")).endsWith("tgtd");
    daemon.destroyForcibly();
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> !noted(note, "pid").equals(Long.toString(pid)));
  }

  /** Of the one that runs. */
  static long pid(Site site) throws Exception {
    Path note = note(site);
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(Files.exists(note), "tgtd is not installed");
    }
    return Long.parseLong(noted(note, "pid"));
  }

  /** It serves no target and knows no account. */
  static void assertIdle(Site site) throws Exception {
    Path note = note(site);
    if (Files.exists(note)) {
      String control = noted(note, "control");
      assertThat(tgtadm(control, "target")).as("targets of " + site.name()).isEmpty();
      assertThat(tgtadm(control, "account").replace("Account list:", "").strip())
          .as("accounts of " + site.name())
          .isEmpty();
    }
  }

  private static String tgtadm(String control, String mode) throws Exception {
    Process tgtadm =
        new ProcessBuilder(
                "tgtadm", "-C", control, "--lld", "iscsi", "--mode", mode, "--op", "show")
            .redirectErrorStream(true)
            .start();
    String out = new String(tgtadm.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(tgtadm.waitFor()).as(out).isZero();
    return out.strip();
  }
}
