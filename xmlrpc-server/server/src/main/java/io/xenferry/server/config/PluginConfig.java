package io.xenferry.server.config;

import java.nio.file.Path;
import java.time.Duration;

/**
 * Programs of this host's administrator that clients call by name.
 *
 * @param directory where they lie; where published servers have them
 * @param deadline of one call; updates of a host take many minutes
 * @param atOnce calls that run at the same time; more are refused
 * @param answerBytes of one program's answer
 */
public record PluginConfig(Path directory, Duration deadline, int atOnce, int answerBytes) {

  public static PluginConfig defaults() {
    return new PluginConfig(Path.of("/etc/xapi.d/plugins"), Duration.ofHours(1), 16, 4 << 20);
  }
}
