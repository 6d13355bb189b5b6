package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.server.config.IscsiConfig;
import io.xenferry.server.config.LimitsConfig;
import io.xenferry.server.config.ListenConfig;
import io.xenferry.server.config.PluginConfig;
import io.xenferry.server.config.ProductConfig;
import io.xenferry.server.config.RemoteServersConfig;
import io.xenferry.server.config.SessionConfig;
import io.xenferry.server.config.ToolstackConfig;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** The defaults, recorded: whoever changes one changes it here, too. */
class ConfigDefaultsTest {

  @Test
  void defaults() {
    assertThat(ListenConfig.defaults())
        .isEqualTo(new ListenConfig("127.0.0.1", 443, OptionalInt.empty(), Optional.empty()));
    assertThat(LimitsConfig.defaults())
        .isEqualTo(
            new LimitsConfig(
                307_200,
                204_800,
                2000,
                500,
                Duration.ofSeconds(60),
                Duration.ofSeconds(30),
                Duration.ofSeconds(60)));
    assertThat(SessionConfig.defaults())
        .isEqualTo(
            new SessionConfig(
                Duration.ofHours(24),
                Duration.ofMinutes(10),
                500,
                400,
                Duration.ofSeconds(5),
                210_000));
    assertThat(ProductConfig.defaults())
        .isEqualTo(
            new ProductConfig(
                "XenServer", "8.4.0", "XCP", "3.4.0", "1.20", "xenferry", "", "xenferry"));
    assertThat(ToolstackConfig.defaults())
        .isEqualTo(
            new ToolstackConfig(
                "simulated",
                ToolstackConfig.Targets.AUTO,
                new IscsiConfig(1, false),
                0,
                Duration.ofMillis(300),
                Duration.ofMinutes(5),
                List.of(java.nio.file.Path.of("/boot")),
                "server",
                67_108_864));
    assertThat(PluginConfig.defaults())
        .isEqualTo(
            new PluginConfig(
                java.nio.file.Path.of("/etc/xapi.d/plugins"), Duration.ofHours(1), 16, 4_194_304));
    assertThat(RemoteServersConfig.defaults())
        .isEqualTo(
            new RemoteServersConfig(
                false, Duration.ofSeconds(10), Duration.ofSeconds(120), 33_554_432));
  }
}
