package io.xenferry.block;

import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Real programs that tests hold us against. */
public final class ExternalTools {
  private ExternalTools() {}

  /** Skips the test where a program is missing, or fails it when XENFERRY_REQUIRE_TOOLS=true. */
  public static void require(String... programs) {
    for (String program : programs) {
      boolean present =
          Stream.concat(
                  Stream.of(System.getenv("PATH").split(File.pathSeparator)),
                  Stream.of("/usr/sbin", "/sbin"))
              .anyMatch(dir -> new File(dir, program).canExecute());
      if (!present && "true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
        fail(program + " is not installed, and XENFERRY_REQUIRE_TOOLS=true");
      }
      assumeTrue(present, program + " is not installed");
    }
  }

  /** Runs a program to its end and answers its output, standard error included. */
  public static String run(String... command) throws IOException, InterruptedException {
    Outcome outcome = attempt(command);
    if (outcome.status != 0) {
      fail(List.of(command) + " ended with " + outcome.status + ":\n" + outcome.output);
    }
    return outcome.output;
  }

  /** Runs a program that may fail. */
  public static Outcome attempt(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    var output = new java.util.concurrent.CompletableFuture<String>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            output.complete(
                new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
          } catch (IOException e) {
            output.complete("");
          }
        });
    if (!process.waitFor(60, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      fail(List.of(command) + " does not end");
    }
    return new Outcome(process.exitValue(), output.join());
  }

  public record Outcome(int status, String output) {}
}
