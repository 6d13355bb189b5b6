package io.xenferry.xe.client;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The user's terminal in raw mode; closing puts it back as it was. */
final class Terminal implements AutoCloseable {
  private final String before;

  private Terminal(String before) {
    this.before = before;
  }

  /**
   * @throws ClientException where the user has none
   */
  static void require() throws ClientException {
    if (System.console() == null || !System.console().isTerminal()) {
      throw ClientException.failed("A console needs a terminal.");
    }
  }

  static Terminal raw() throws IOException {
    Terminal terminal = new Terminal(stty("-g").strip());
    stty("raw", "-echo");
    return terminal;
  }

  @Override
  public void close() throws IOException {
    stty(before);
  }

  private static String stty(String... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of("stty"));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command)
            .redirectInput(ProcessBuilder.Redirect.INHERIT)
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      String answer =
          new String(process.getInputStream().readNBytes(4096), StandardCharsets.US_ASCII);
      if (!process.waitFor(5, TimeUnit.SECONDS) || process.exitValue() != 0) {
        throw new IOException("stty failed");
      }
      return answer;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    } finally {
      process.destroy();
    }
  }
}
